"""OpenLineage: which data a job read and wrote, told by the task that saw the job's end.

The provider's operators tell it when they return, which is at submission unless they wait, and from attributes that
they may not have; its sensors tell nothing. Here it is told by whoever waited. Names are OpenLineage's for S3: the
bucket as namespace, the key as name, without a trailing slash, as others name folders.

OpenLineage's classes are imported when it asks: the package needs none of them.
"""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.aws import call, client_of, sibling
from sagemaker_jobs.ensuring import attempts_of
from sagemaker_jobs.kinds import PROCESSING
from sagemaker_jobs.resuming import can_resume, chain_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.jobs import Job
    from sagemaker_jobs.spec import JobSpec

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 5.0  # OpenLineage gives all of a task's lineage ten seconds by default
_MANIFEST_HEAD = re.compile(r'\s*\[\s*\{\s*"prefix"\s*:\s*("(?:[^"\\]|\\.)*")')
_HEAD_BYTES = 4096


def lineage_of(hook: SageMakerHook, job: Job | None, spec: JobSpec | None, *, completed: bool) -> Any:
    """An ``OperatorLineage``: inputs, outputs if the job completed, and the job's ARN as a run facet.

    Empty without a job: a task that only submits has read and written nothing yet. What AWS does not tell is left out,
    with a line in the log, since lineage is no reason for a task to fail.
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
        inputs=datasets(inputs_of(hook, job, spec)),
        outputs=datasets(iter(outputs_of(hook, job, spec))) if completed else [],
        # OpenLineage adds the error by itself; its message has AWS's reason.
        run_facets={"externalQuery": ExternalQueryRunFacet(externalQueryId=job.arn, source="aws.sagemaker")},
    )


def inputs_of(hook: SageMakerHook, job: Job, spec: JobSpec | None) -> Iterator[str]:
    """URIs of what the job read: its data, and its model's artefacts, of every container.

    A resumed transform read what was asked for in the first place, part of it in another attempt.
    """
    asked = job.description if spec is None else spec.request_for(job.attempt or 1)
    if job.kind is PROCESSING:
        for each in asked.get("ProcessingInputs", []):
            # An input may be an Athena or Redshift query instead.
            if "S3Input" in each:
                yield _data(hook, each["S3Input"]["S3DataType"], each["S3Input"]["S3Uri"])
        return
    source = asked["TransformInput"]["DataSource"].get("S3DataSource")
    if source is not None:
        yield _data(hook, source["S3DataType"], source["S3Uri"])
    model = spec.model if spec is not None and spec.model is not None else _described_model(hook, job)
    yield from artefacts_of(hook, model)


def outputs_of(hook: SageMakerHook, job: Job, spec: JobSpec | None) -> list[str]:
    """URIs below which the job wrote, with those of the attempts that it continued."""
    jobs = [job]
    if spec is not None and can_resume(spec) and (job.attempt or 1) > 1:
        attempts = [each for each in attempts_of(hook, spec) if (each.attempt or 0) < (job.attempt or 1)]
        jobs = chain_of(spec, [*attempts, job]) or jobs
    return [uri for each in jobs for uri in each.kind.output_uris(each.description)]


def artefacts_of(hook: SageMakerHook, model: Mapping[str, Any]) -> Iterator[str]:
    """URIs of the artefacts that the containers of a model load: their own, or their model package's."""
    containers = model.get("Containers") or [model.get("PrimaryContainer", {})]
    for container in containers:
        if "ModelPackageName" in container:
            found = _asked(hook, "describe_model_package", ModelPackageName=container["ModelPackageName"])
            yield from _urls(found.get("InferenceSpecification", {}).get("Containers", []))
        yield from _urls([container])


def _urls(containers: list[dict[str, Any]]) -> Iterator[str]:
    for container in containers:
        sources = (
            container.get("ModelDataUrl"),
            container.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri"),
        )
        yield from (each for each in sources if each)


def _described_model(hook: SageMakerHook, job: Job) -> dict[str, Any]:
    return _asked(hook, "describe_model", ModelName=job.description["ModelName"])


def _asked(hook: SageMakerHook, operation: str, **arguments: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = call(
            getattr(client_of(hook), operation), arguments, patience=_PATIENCE_SECONDS
        )
    except (ClientError, BotoCoreError, OSError) as error:
        log.warning("Lineage lacks the model's artefacts: %s", error)
        return {}
    return found


def _data(hook: SageMakerHook, data_type: str, uri: str) -> str:
    """``uri``, or where it is a manifest the prefix of what the manifest lists, which is what others know."""
    if data_type != "ManifestFile":
        return uri
    bucket, key = S3Hook.parse_s3_url(uri)
    wanted = {"Bucket": bucket, "Key": key, "Range": f"bytes=0-{_HEAD_BYTES - 1}"}
    try:
        answer = call(client_of(sibling(S3Hook, hook)).get_object, wanted, patience=_PATIENCE_SECONDS)
        head = answer["Body"].read().decode("utf-8", "replace")
    except (ClientError, BotoCoreError, OSError) as error:
        log.warning("Lineage names the manifest %s, as it cannot be read: %s", uri, error)
        return uri
    found = _MANIFEST_HEAD.match(head)
    return str(json.loads(found[1])) if found else uri
