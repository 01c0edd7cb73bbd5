"""How far a transform is: output objects that exist, of input objects that there are."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.aws import call, client_of, sibling
from sagemaker_jobs.kinds import TRANSFORM

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.jobs import Job

log = logging.getLogger(__name__)

MOST_OBJECTS = 5000  # five calls of S3; beyond that a count is not worth what it costs
EVERY_SECONDS = 60.0
OUT = ".out"
_PATIENCE_SECONDS = 5.0


def folder_of(uri: str) -> str:
    """An output's S3 URI with a slash at its end: without it, the outputs of ``job-10`` would count as ``job-1``'s."""
    return f"{uri.rstrip('/')}/"


def objects_to_do(hook: SageMakerHook, job: Job) -> int | None:
    """The number of input objects of a transform; None where it, or its progress, cannot be told cheaply.

    Progress shows only where the job writes below a prefix with its own name: elsewhere outputs of other jobs
    would count.
    """
    outputs = job.kind.output_uris(job.description)
    if job.kind is not TRANSFORM or not outputs or job.name not in outputs[0]:
        return None
    source = job.description["TransformInput"]["DataSource"].get("S3DataSource", {})
    try:
        s3 = client_of(sibling(S3Hook, hook))
        if source.get("S3DataType") == "ManifestFile":
            bucket, key = S3Hook.parse_s3_url(source["S3Uri"])
            answer = call(s3.get_object, {"Bucket": bucket, "Key": key}, patience=_PATIENCE_SECONDS)
            prefix, *names = json.load(answer["Body"])
            return len(names) if names else count_objects(s3, prefix["prefix"], suffix="")
        return count_objects(s3, source["S3Uri"], suffix="")
    except (ClientError, BotoCoreError, OSError, KeyError, ValueError) as error:
        log.info("Progress is not shown, as the input of %s cannot be counted: %s", job.name, error)
        return None


def count_objects(s3: Any, uri: str, *, suffix: str) -> int | None:
    """Objects whose keys begin as ``uri`` and end in ``suffix``, folders aside; None if there are too many."""
    bucket, prefix = S3Hook.parse_s3_url(uri)
    wanted: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
    count: int = 0
    seen = 0
    while True:
        page = call(s3.list_objects_v2, wanted, patience=_PATIENCE_SECONDS)
        keys: list[str] = [item["Key"] for item in page.get("Contents", [])]
        seen += len(keys)
        count += sum(key.endswith(suffix) and not key.endswith("/") for key in keys)
        if seen > MOST_OBJECTS:
            return None
        if not page.get("IsTruncated"):
            return count
        wanted["ContinuationToken"] = page["NextContinuationToken"]


def progress_text(done: int, total: int, started_at: float | None) -> str:
    """Such as "12 of 20 objects done, about 40 s left"; the estimate assumes that objects take alike."""
    text = f"{done} of {total} objects done"
    if started_at is None or not 0 < done < total:
        return text
    return f"{text}, about {(time.time() - started_at) / done * (total - done):.0f} s left"
