"""Reads from S3 what jobs read and write: objects below a prefix, and manifests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from sagemaker_jobs.aws import (
    CALL_RETRY_SECONDS,
    call_with_retries,
    get_sibling_client,
    list_pages,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTPUT_SUFFIX = ".out"


def get_s3_client(hook: Any) -> Any:
    """An S3 client with the connection, region and settings of ``hook``."""
    return get_sibling_client(S3Hook, hook)


def to_folder_uri(uri: str) -> str:
    """An S3 URI with a trailing slash: without it, the outputs of ``job-10`` would count as those of ``job-1``."""
    return f"{uri.rstrip('/')}/"


def to_bucket_and_key(uri: str) -> dict[str, str]:
    """The Bucket and Key of a request for the object at ``uri``."""
    bucket, key = S3Hook.parse_s3_url(uri)
    return {"Bucket": bucket, "Key": key}


def list_objects(s3: Any, uri: str, *, retry_seconds: float = CALL_RETRY_SECONDS) -> Iterator[dict[str, Any]]:
    """The objects whose URIs start with ``uri``, a plain string prefix: Key, Size, ETag and more, folders included."""
    bucket, prefix = S3Hook.parse_s3_url(uri)
    request, tokens = {"Bucket": bucket, "Prefix": prefix}, ("ContinuationToken", "NextContinuationToken")
    for page in list_pages(s3.list_objects_v2, request, *tokens, retry_seconds=retry_seconds):
        yield from page.get("Contents", [])


def read_manifest(
    s3: Any, uri: str, *, retry_seconds: float = CALL_RETRY_SECONDS
) -> tuple[str, tuple[str, ...] | None]:
    """The prefix in a manifest, and the names below it; None for all objects with the prefix."""
    response = call_with_retries(s3.get_object, to_bucket_and_key(uri), retry_seconds=retry_seconds)
    prefix, *names = json.load(response["Body"])
    return str(prefix["prefix"]), tuple(names) or None
