"""Marks that are left on a job in AWS, where every later process can read them."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.aws import call, client_of, is_transient

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

log = logging.getLogger(__name__)

STOPPED_TAG = "airflow:stopped-because"
REPORTED_TAG = "airflow:end-reported"
_VALUE_LIMIT = 256
#: AWS takes letters, spaces, digits and `_ . : / = + - @`.
_REFUSED = re.compile(r"[^\w\s.:/=+\-@]|[\t\r\n\f\v]")
_PATIENCE_SECONDS = 15.0


def tags_of(hook: SageMakerHook, arn: str) -> dict[str, str]:
    """The job's tags; {} if the role may not list them."""
    try:
        # At most 50 tags on a resource: one page.
        found = call(client_of(hook).list_tags, {"ResourceArn": arn, "MaxResults": 100})
    except ClientError as error:
        if is_transient(error):
            raise
        log.warning("The tags of %s could not be read: %s", arn, error)
        return {}
    return {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}


def try_to_tag(hook: SageMakerHook, arn: str, tags: dict[str, str]) -> None:
    """Add tags; a role that may not is warned about, since stopping a job matters more than marking it."""
    entries = tag_list(tags)
    try:
        call(client_of(hook).add_tags, {"ResourceArn": arn, "Tags": entries}, patience=_PATIENCE_SECONDS)
    except (ClientError, BotoCoreError, OSError) as error:
        log.warning("%s could not be tagged with %s: %s", arn, tags, error)


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags in AWS's form."""
    return [{"Key": key, "Value": tag_value(value)} for key, value in tags.items()]


def tag_value(text: str) -> str:
    """Text as a tag's value: cut to what AWS takes, and characters that it refuses, such as commas, as spaces."""
    return _REFUSED.sub(" ", text)[:_VALUE_LIMIT].strip()
