"""Resumes a transform that failed part-way: writes a manifest of the objects that have no output yet.

SageMaker writes an object's output completely or not at all, continues with the other objects when one fails, and then
ends the job as Failed. The outputs so far have been paid for. Only outputs below the prefixes of this job's own
attempts count, so stale outputs never do: a request whose S3OutputPath lacks ``{job_name}`` is run again in full.

An output's name below S3OutputPath is its object's name below the folder of S3Uri, plus ``.out``: ``a.csv.out`` for
``s3://b/in/a.csv``, whether S3Uri is ``s3://b/in`` or ``s3://b/in/``, as recordings of AWS show. Cases without a
recording are run again in full: a prefix that is both a folder and the beginning of other names, and a job with outputs
that match none of its objects.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from sagemaker_jobs.aws import call_with_retries
from sagemaker_jobs.job.compare import find_job_differences
from sagemaker_jobs.kinds import TRANSFORM
from sagemaker_jobs.s3 import (
    OUTPUT_SUFFIX,
    get_s3_client,
    list_objects,
    read_manifest,
    to_bucket_and_key,
    to_folder_uri,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.job.describe import Job
    from sagemaker_jobs.job.spec import JobSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RemainingInput:
    """The input of a further attempt: its DataSource and its number of objects.

    ``instance_limit``: the most instances that it needs, if that is known to be fewer than its objects.
    """

    data_source: dict[str, Any]
    object_count: int
    instance_limit: int | None = None

    @property
    def max_instance_count(self) -> int:
        """The most instances with an object each: an instance without one is billed too."""
        limits = (self.object_count, self.instance_limit)
        return min(limit for limit in limits if limit is not None)


@dataclass(frozen=True, slots=True)
class AttemptInput:
    """The input of one attempt: names of objects relative to ``folder_uri``, which ends in ``/``.

    ``is_full_input``: whether it is the input of the original request.
    """

    folder_uri: str
    object_names: tuple[str, ...]
    is_full_input: bool


def prepare_resumed_input(
    hook: SageMakerHook, spec: JobSpec, earlier_jobs: Sequence[Job]
) -> RemainingInput | None:
    """Write the manifest of the objects that none of ``earlier_jobs`` has completed; return the input that reads it.

    None if the attempt is not resumed and gets the full input. Each attempt of a chain gets what the one before left,
    so only the last one is read. The manifest is next to the attempt's output prefix. If every object has its output
    although the job failed, the last object is run again: AWS runs no job without input.
    """
    chain = select_resume_chain(spec, earlier_jobs) if can_resume(spec) else []
    if not chain:
        return None
    last_job = chain[-1]
    last_input = read_attempt_input(hook, spec, last_job)
    names, completed_names = last_input.object_names, list_completed_objects(hook, last_job)
    remaining_names = [name for name in names if name not in completed_names]
    if names and not completed_names.issubset(names):
        log.warning(
            "%s wrote %s.out, which matches none of its objects: all of them are run again.",
            last_job.name,
            min(completed_names.difference(names)),
        )
        return None
    if not names or (last_input.is_full_input and len(remaining_names) == len(names)):
        return None
    attempt = len(earlier_jobs) + 1
    log.info("Attempt %d resumes: %d of %d objects remain.", attempt, len(remaining_names), len(names))
    # A resumed attempt keeps its instance count: it was sized for what remained then.
    cluster = spec.kind.get_cluster_config(last_job.description)
    limit = None if last_input.is_full_input else cluster["InstanceCount"]
    remaining = remaining_names or names[-1:]
    return write_remaining_input(hook, spec, attempt, last_input.folder_uri, remaining, instance_limit=limit)


def read_attempt_input(hook: SageMakerHook, spec: JobSpec, job: Job) -> AttemptInput:
    """The input objects of an attempt of ``spec``."""
    s3 = get_s3_client(hook)
    if _is_resumed(spec, job):
        return _read_manifest(s3, build_resume_manifest_uri(spec, job.attempt or 1), is_full_input=False)
    requested = spec.request["TransformInput"]["DataSource"]["S3DataSource"]
    source = str(requested["S3Uri"])
    if requested["S3DataType"] == "ManifestFile":
        return _read_manifest(s3, source, is_full_input=True)
    return _list_prefix(s3, source)


def list_completed_objects(hook: SageMakerHook, job: Job) -> set[str]:
    """Names of the objects whose output this job has written, relative to its input folder."""
    s3 = get_s3_client(hook)
    return {
        key.removeprefix(S3Hook.parse_s3_url(folder)[1]).removesuffix(OUTPUT_SUFFIX)
        for folder in map(to_folder_uri, job.kind.list_output_uris(job.description))
        for key in _list_keys(s3, folder)
        if key.endswith(OUTPUT_SUFFIX)
    }


def write_remaining_input(
    hook: SageMakerHook,
    spec: JobSpec,
    attempt: int,
    folder_uri: str,
    object_names: Sequence[str],
    *,
    instance_limit: int | None = None,
) -> RemainingInput:
    """Write the manifest of the objects ``object_names`` below ``folder_uri``; the input that reads it."""
    manifest = build_resume_manifest_uri(spec, attempt)
    body = json.dumps([{"prefix": folder_uri}, *object_names]).encode()
    call_with_retries(
        get_s3_client(hook).put_object,
        {**to_bucket_and_key(manifest), "Body": body, "ContentType": "application/json"},
    )
    log.info("Wrote %d objects below %s to manifest %s.", len(object_names), folder_uri, manifest)
    return RemainingInput(_manifest_source(manifest), len(object_names), instance_limit)


def select_resume_chain(spec: JobSpec, jobs: Sequence[Job]) -> list[Job]:
    """The last attempts of ``jobs`` whose outputs form one set.

    Starts at the last attempt that had the full input; each one after it had the remaining input. Empty if the last
    attempt differs from this spec.
    """
    chain: list[Job] = []
    for job in reversed(jobs):
        if find_job_differences(spec, job):
            break
        chain.insert(0, job)
        if not _is_resumed(spec, job):
            return chain
    return []


def list_resumed_jobs(spec: JobSpec, earlier_jobs: Sequence[Job], job: Job) -> list[Job]:
    """Those of the earlier attempts whose outputs ``job`` completed."""
    return select_resume_chain(spec, [*earlier_jobs, job])[:-1] if can_resume(spec) else []


def can_resume(spec: JobSpec) -> bool:
    """Whether the spec allows it, its input is a prefix or manifest, and each attempt has its own output prefix."""
    if not spec.resume or spec.kind is not TRANSFORM:
        return False
    source = spec.request["TransformInput"]["DataSource"].get("S3DataSource", {})
    first, second = (TRANSFORM.list_output_uris(spec.build_request(attempt)) for attempt in (1, 2))
    return source.get("S3DataType") in ("S3Prefix", "ManifestFile") and first != second


def build_resume_manifest_uri(spec: JobSpec, attempt: int) -> str:
    """The URI of a resumed attempt's manifest: next to its output prefix, not below it."""
    return f"{TRANSFORM.list_output_uris(spec.build_request(attempt))[0].rstrip('/')}-manifest.json"


def _is_resumed(spec: JobSpec, job: Job) -> bool:
    source = job.description["TransformInput"]["DataSource"]
    return bool(source == _manifest_source(build_resume_manifest_uri(spec, job.attempt or 1)))


def _manifest_source(uri: str) -> dict[str, Any]:
    return {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": uri}}


def _read_manifest(s3: Any, uri: str, *, is_full_input: bool) -> AttemptInput:
    prefix, names = read_manifest(s3, uri)
    if not names:
        return _list_prefix(s3, prefix)
    return AttemptInput(prefix, names, is_full_input=is_full_input)


def _list_prefix(s3: Any, uri: str) -> AttemptInput:
    """The objects with prefix ``uri``: those below the folder of this name or, if there are none, files that start so.

    Without names if there are both: then the names of their outputs are unknown.
    """
    bucket, prefix = S3Hook.parse_s3_url(uri)
    folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    keys = sorted(_list_keys(s3, uri))
    below = [key for key in keys if key.startswith(folder)]
    if below and len(below) < len(keys):
        return AttemptInput(f"s3://{bucket}/{folder}", (), is_full_input=True)
    if not below:
        folder = prefix[: prefix.rfind("/") + 1]
    names = tuple(key.removeprefix(folder) for key in keys)
    return AttemptInput(f"s3://{bucket}/{folder}", names, is_full_input=True)


def _list_keys(s3: Any, uri: str) -> Iterator[str]:
    return (item["Key"] for item in list_objects(s3, uri) if not item["Key"].endswith("/"))
