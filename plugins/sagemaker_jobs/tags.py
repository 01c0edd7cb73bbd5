"""Reads and writes tags on SageMaker jobs, which every later process can read."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.aws import call_with_retries, get_client, is_transient_error

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

log = logging.getLogger(__name__)

STOPPED_TAG = "airflow:stopped-because"
REPORTED_TAG = "airflow:end-reported"
_VALUE_LIMIT = 256
#: AWS takes letters, spaces, digits and `_ . : / = + - @`.
_REFUSED = re.compile(r"[^\w\s.:/=+\-@]|[\t\r\n\f\v]")
_PATIENCE_SECONDS = 15.0


def read_tags(hook: SageMakerHook, arn: str) -> dict[str, str]:
    """The job's tags; {} if the role may not list them."""
    try:
        # At most 50 tags on a resource: one page.
        found = call_with_retries(get_client(hook).list_tags, {"ResourceArn": arn, "MaxResults": 100})
    except ClientError as error:
        if is_transient_error(error):
            raise
        log.warning("Cannot read the tags of %s: %s", arn, error)
        return {}
    return {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}


def try_to_tag(hook: SageMakerHook, arn: str, tags: dict[str, str]) -> None:
    """Add tags; only warns on failure, since stopping a job matters more than tagging it."""
    entries = to_tag_list(tags)
    try:
        call_with_retries(
            get_client(hook).add_tags, {"ResourceArn": arn, "Tags": entries}, retry_seconds=_PATIENCE_SECONDS
        )
    except (ClientError, BotoCoreError, OSError) as error:
        log.warning("Cannot tag %s with %s: %s", arn, tags, error)


def to_tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as AWS's list of Key and Value."""
    return [{"Key": key, "Value": to_tag_value(value)} for key, value in tags.items()]


def to_tag_value(text: str) -> str:
    """A text as a tag value: cut to AWS's limit, with forbidden characters such as commas replaced by spaces."""
    return _REFUSED.sub(" ", text)[:_VALUE_LIMIT].strip()
