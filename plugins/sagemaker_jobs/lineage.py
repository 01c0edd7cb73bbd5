"""OpenLineage: reports the data that a job read and wrote, from the task that waited for it.

The provider's operators report it when they return, which is at submission unless they wait, and from attributes that
may be missing; its sensors report nothing. Names follow OpenLineage's convention for S3: the bucket as namespace, the
key as name, folders without a trailing slash.

OpenLineage's classes are imported only when OpenLineage calls, so the package does not depend on it.
"""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.aws import call_with_retries, get_client
from sagemaker_jobs.job.result import collect_output_uris
from sagemaker_jobs.job.resume import can_resume, list_resumed_jobs
from sagemaker_jobs.job.submit import list_earlier_attempts
from sagemaker_jobs.kinds import PROCESSING
from sagemaker_jobs.s3 import get_s3_client, to_bucket_and_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.job.describe import Job
    from sagemaker_jobs.job.spec import JobSpec

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 5.0  # OpenLineage gives all of a task's lineage ten seconds by default
_MANIFEST_HEAD = re.compile(r'\s*\[\s*\{\s*"prefix"\s*:\s*("(?:[^"\\]|\\.)*")')
_HEAD_BYTES = 4096


def build_lineage(hook: SageMakerHook, job: Job | None, spec: JobSpec | None, *, completed: bool) -> Any:
    """An ``OperatorLineage``: inputs, outputs if the job completed, and the job's ARN as a run facet.

    Empty without a job: a task that only submits has read and written nothing yet. What AWS does not return is
    omitted and logged: lineage never fails a task.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset, ExternalQueryRunFacet
    from airflow.providers.openlineage.extractors import (  # type: ignore[import-not-found,unused-ignore]
        OperatorLineage,
    )

    if job is None:
        return OperatorLineage()

    def datasets(uris: Iterator[str]) -> list[Any]:
        places = dict.fromkeys(S3Hook.parse_s3_url(uri) for uri in uris)
        return [Dataset(namespace=f"s3://{bucket}", name=key.rstrip("/") or "/") for bucket, key in places]

    return OperatorLineage(
        inputs=datasets(list_input_uris(hook, job, spec)),
        outputs=datasets(iter(list_output_uris(hook, job, spec))) if completed else [],
        # OpenLineage adds the error itself; its message has AWS's reason.
        run_facets={"externalQuery": ExternalQueryRunFacet(externalQueryId=job.arn, source="aws.sagemaker")},
    )


def list_input_uris(hook: SageMakerHook, job: Job, spec: JobSpec | None) -> Iterator[str]:
    """URIs that the job read: its input data, and the model artifacts of every container.

    For a resumed transform the input of the original request, part of which an earlier attempt read.
    """
    request = job.description if spec is None else spec.build_request(job.attempt or 1)
    if job.kind is PROCESSING:
        for each in request.get("ProcessingInputs", []):
            # An input may be an Athena or Redshift query instead.
            if "S3Input" in each:
                yield _resolve_manifest(hook, each["S3Input"]["S3DataType"], each["S3Input"]["S3Uri"])
        return
    source = request["TransformInput"]["DataSource"].get("S3DataSource")
    if source is not None:
        yield _resolve_manifest(hook, source["S3DataType"], source["S3Uri"])
    model = None if spec is None else spec.model
    if model is None:
        model = _describe_or_empty(hook, "describe_model", ModelName=job.description["ModelName"])
    yield from list_model_artifact_uris(hook, model)


def list_output_uris(hook: SageMakerHook, job: Job, spec: JobSpec | None) -> list[str]:
    """Output URIs of the job and of the attempts that it resumed."""
    resumed_jobs: list[Job] = []
    if spec is not None and can_resume(spec):
        resumed_jobs = list_resumed_jobs(spec, list_earlier_attempts(hook, spec, job), job)
    return collect_output_uris(resumed_jobs, job)


def list_model_artifact_uris(hook: SageMakerHook, model: Mapping[str, Any]) -> Iterator[str]:
    """URIs of the artifacts that a model's containers load: their own, or their model package's."""
    containers = model.get("Containers") or [model.get("PrimaryContainer", {})]
    for container in containers:
        if "ModelPackageName" in container:
            package = container["ModelPackageName"]
            found = _describe_or_empty(hook, "describe_model_package", ModelPackageName=package)
            yield from _list_artifact_uris(found.get("InferenceSpecification", {}).get("Containers", []))
        yield from _list_artifact_uris([container])


def _list_artifact_uris(containers: list[dict[str, Any]]) -> Iterator[str]:
    for container in containers:
        sources = (
            container.get("ModelDataUrl"),
            container.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri"),
        )
        yield from (each for each in sources if each)


def _describe_or_empty(hook: SageMakerHook, operation: str, **arguments: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = call_with_retries(
            getattr(get_client(hook), operation), arguments, retry_seconds=_PATIENCE_SECONDS
        )
    except (ClientError, BotoCoreError, OSError) as error:
        log.warning("Lineage lacks the model's artifacts: %s", error)
        return {}
    return found


def _resolve_manifest(hook: SageMakerHook, data_type: str, uri: str) -> str:
    """``uri``; for a manifest the prefix of the objects that it lists, which other jobs' lineage names too."""
    if data_type != "ManifestFile":
        return uri
    request = {**to_bucket_and_key(uri), "Range": f"bytes=0-{_HEAD_BYTES - 1}"}
    try:
        response = call_with_retries(get_s3_client(hook).get_object, request, retry_seconds=_PATIENCE_SECONDS)
        head = response["Body"].read().decode("utf-8", "replace")
    except (ClientError, BotoCoreError, OSError) as error:
        log.warning("Cannot read the manifest %s, so lineage names the manifest itself: %s", uri, error)
        return uri
    found = _MANIFEST_HEAD.match(head)
    return str(json.loads(found[1])) if found else uri
