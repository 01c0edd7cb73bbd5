"""Counts a transform's input and output objects to show its progress."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.aws import build_sibling_hook, call_with_retries, get_client
from sagemaker_jobs.kinds import TRANSFORM

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.job.describe import Job

log = logging.getLogger(__name__)

MAX_COUNTED_OBJECTS = 5000  # five S3 calls; beyond that a count costs more than it is worth
PROGRESS_INTERVAL_SECONDS = 60.0
OUTPUT_SUFFIX = ".out"
_PATIENCE_SECONDS = 5.0


def to_folder_uri(uri: str) -> str:
    """An S3 URI with a trailing slash: without it, the outputs of ``job-10`` would count as those of ``job-1``."""
    return f"{uri.rstrip('/')}/"


def count_input_objects(hook: SageMakerHook, job: Job) -> int | None:
    """The number of input objects of a transform; None if it, or the number of outputs, cannot be counted cheaply.

    Outputs are counted only below a prefix that contains the job's name: elsewhere those of other jobs would count.
    """
    outputs = job.kind.list_output_uris(job.description)
    if job.kind is not TRANSFORM or not outputs or job.name not in outputs[0]:
        return None
    source = job.description["TransformInput"]["DataSource"].get("S3DataSource", {})
    try:
        s3 = get_client(build_sibling_hook(S3Hook, hook))
        if source.get("S3DataType") == "ManifestFile":
            bucket, key = S3Hook.parse_s3_url(source["S3Uri"])
            answer = call_with_retries(
                s3.get_object, {"Bucket": bucket, "Key": key}, retry_seconds=_PATIENCE_SECONDS
            )
            prefix, *names = json.load(answer["Body"])
            return len(names) if names else count_objects(s3, prefix["prefix"], suffix="")
        return count_objects(s3, source["S3Uri"], suffix="")
    except (ClientError, BotoCoreError, OSError, KeyError, ValueError) as error:
        log.info("Cannot count the input of %s, so its progress is not shown: %s", job.name, error)
        return None


def count_objects(s3: Any, uri: str, *, suffix: str) -> int | None:
    """The number of objects with prefix ``uri`` and ``suffix``, without folders; None if there are too many."""
    bucket, prefix = S3Hook.parse_s3_url(uri)
    wanted: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
    count: int = 0
    seen = 0
    while True:
        page = call_with_retries(s3.list_objects_v2, wanted, retry_seconds=_PATIENCE_SECONDS)
        keys: list[str] = [item["Key"] for item in page.get("Contents", [])]
        seen += len(keys)
        count += sum(key.endswith(suffix) and not key.endswith("/") for key in keys)
        if seen > MAX_COUNTED_OBJECTS:
            return None
        if not page.get("IsTruncated"):
            return count
        wanted["ContinuationToken"] = page["NextContinuationToken"]


def format_progress(done_count: int, total_count: int, started_at: float | None) -> str:
    """Text such as "12 of 20 objects done, about 40 s left"; assumes that all objects take equally long."""
    text = f"{done_count} of {total_count} objects done"
    if started_at is None or not 0 < done_count < total_count:
        return text
    return f"{text}, about {(time.time() - started_at) / done_count * (total_count - done_count):.0f} s left"
