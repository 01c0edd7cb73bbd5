"""Counts a transform's input and output objects to show its progress."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.kinds import TRANSFORM
from sagemaker_jobs.s3 import get_s3_client, list_objects, read_manifest

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.job.describe import Job

log = logging.getLogger(__name__)

MAX_COUNTED_OBJECTS = 5000  # five S3 calls; beyond that a count costs more than it is worth
PROGRESS_INTERVAL_SECONDS = 60.0
_PATIENCE_SECONDS = 5.0


def count_objects_for_progress(hook: SageMakerHook, job: Job) -> int | None:
    """The number of input objects of a transform; None if it, or the number of outputs, cannot be counted cheaply.

    Outputs are counted only below a prefix that contains the job's name: elsewhere those of other jobs would count.
    """
    outputs = job.kind.list_output_uris(job.description)
    if job.kind is not TRANSFORM or not outputs or job.name not in outputs[0]:
        return None
    source = job.description["TransformInput"]["DataSource"].get("S3DataSource", {})
    try:
        s3 = get_s3_client(hook)
        if source.get("S3DataType") == "ManifestFile":
            prefix, names = read_manifest(s3, source["S3Uri"], retry_seconds=_PATIENCE_SECONDS)
            return len(names) if names else count_objects(s3, prefix, suffix="")
        return count_objects(s3, source["S3Uri"], suffix="")
    except (ClientError, BotoCoreError, OSError, KeyError, ValueError) as error:
        log.info("Cannot count the input of %s, so its progress is not shown: %s", job.name, error)
        return None


def count_objects(s3: Any, uri_prefix: str, *, suffix: str) -> int | None:
    """The number of objects with prefix ``uri_prefix`` and ``suffix``, without folders; None if there are too many."""
    count = 0
    for seen, item in enumerate(list_objects(s3, uri_prefix, retry_seconds=_PATIENCE_SECONDS), start=1):
        if seen > MAX_COUNTED_OBJECTS:
            return None
        count += item["Key"].endswith(suffix) and not item["Key"].endswith("/")
    return count


def format_progress(done_count: int, total_count: int, started_at: float | None) -> str:
    """Text such as "12 of 20 objects done, about 40 s left"; assumes that all objects take equally long."""
    text = f"{done_count} of {total_count} objects done"
    if started_at is None or not 0 < done_count < total_count:
        return text
    return f"{text}, about {(time.time() - started_at) / done_count * (total_count - done_count):.0f} s left"
