"""Looks up S3 objects and IAM roles by boto3, so that the S3 of another endpoint can be used."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

S3_URI = re.compile(r"(?:https|s3)://([^/]+)/?(.*)", re.DOTALL)


class S3LookupError(RuntimeError):
    """S3 cannot list the prefix; the message is S3's own."""


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Bucket and key (or prefix) of an S3 URI that the model's pattern accepted."""
    match = S3_URI.fullmatch(uri)
    if match is None:
        raise ValueError(f"not an S3 URI: {uri!r}")
    return match[1], match[2]


class AwsClients:
    """boto3 clients by region, created on first use."""

    def __init__(self, s3_endpoint_url: str, endpoint_url: str, environment: Mapping[str, str]) -> None:
        self._endpoints = {"s3": s3_endpoint_url, "iam": endpoint_url}
        self._session = boto3.Session(
            aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=environment.get("AWS_SESSION_TOKEN"),
        )
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def has_objects(self, uri: str, region: str) -> bool:
        """Whether an object's key starts with the prefix of `uri`; keys that end in "/" do not count.

        Raises S3LookupError with S3's message, e.g. for a bucket that is not there.
        """
        bucket, prefix = split_s3_uri(uri)
        pages = self._client("s3", region).get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                if any(not item["Key"].endswith("/") for item in page.get("Contents", [])):
                    return True
        except ClientError as error:
            raise S3LookupError(error.response["Error"]["Message"]) from error
        except BotoCoreError as error:
            raise S3LookupError(str(error)) from error
        return False

    def get_role_trust_policy(self, role_arn: str, region: str) -> dict[str, Any] | None:
        """The trust policy of a role, or None when IAM has no such role."""
        try:
            response = self._client("iam", region).get_role(RoleName=role_arn.rsplit("/", 1)[-1])
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchEntity":
                return None
            raise
        policy = response["Role"]["AssumeRolePolicyDocument"]
        return dict(policy) if isinstance(policy, dict) else {}

    def _client(self, service: str, region: str) -> Any:
        key = (service, region)
        with self._lock:
            if key not in self._clients:
                config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 3})
                self._clients[key] = self._session.client(
                    service,  # type: ignore[call-overload]  # the stubs require a literal name
                    region_name=region,
                    endpoint_url=self._endpoints[service],
                    config=config,
                )
            return self._clients[key]
