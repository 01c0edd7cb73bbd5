"""Marks that are left on a job in AWS, where every later process can read them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.aws import call

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

log = logging.getLogger(__name__)

STOPPED_TAG = "airflow:stopped-because"
REPORTED_TAG = "airflow:end-reported"
_VALUE_LIMIT = 256
_PATIENCE_SECONDS = 15.0


def tags_of(hook: SageMakerHook, arn: str) -> dict[str, str]:
    """The job's tags; {} if the role may not list them."""
    try:
        pages = hook.conn.get_paginator("list_tags").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page.get("Tags", [])}
    except (ClientError, BotoCoreError, OSError) as error:
        log.warning("The tags of %s could not be read: %s", arn, error)
        return {}


def try_to_tag(hook: SageMakerHook, arn: str, tags: dict[str, str]) -> None:
    """Add tags; a role that may not is warned about, since stopping a job matters more than marking it."""
    entries = tag_list(tags)
    try:
        call(hook.conn.add_tags, patience=_PATIENCE_SECONDS, ResourceArn=arn, Tags=entries)
    except (ClientError, BotoCoreError, OSError) as error:
        log.warning("%s could not be tagged with %s: %s", arn, tags, error)


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags in AWS's form, values cut to what AWS takes."""
    return [{"Key": key, "Value": value[:_VALUE_LIMIT]} for key, value in tags.items()]
