"""Continue a transform that failed part-way: a manifest of the objects that have no output yet.

SageMaker writes an object's output whole or not at all, goes on with the other objects when one is bad, and
then calls the job Failed. What is there has been paid for. Outputs count only below the prefixes of this
job's own attempts, so nothing stale is ever taken for done: a request whose S3OutputPath lacks ``{job_name}``
is not resumed but run again.

An output's name below S3OutputPath is that of its object below the folder that S3Uri names, with a slash at its end or
without, and ``.out``: ``a.csv.out`` for ``s3://b/in/a.csv``, whether S3Uri is ``s3://b/in`` or ``s3://b/in/``, as
recordings of AWS show. Where none does, nothing rests on a guess: a prefix that is a folder and goes on in the middle
of a name too, and a job with outputs that none of its objects explains, are run again whole.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from sagemaker_jobs.aws import call, client_of, sibling
from sagemaker_jobs.kinds import TRANSFORM
from sagemaker_jobs.matching import job_differences
from sagemaker_jobs.progress import OUT, folder_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.jobs import Job
    from sagemaker_jobs.spec import JobSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Remainder:
    """What a further transform works on: the DataSource that names it, and how many objects that is.

    ``instances``: the most that it needs, where that is known to be fewer than it has objects.
    """

    source: dict[str, Any]
    objects: int
    instances: int | None = None

    @property
    def most_instances(self) -> int:
        """An instance without an object is billed all the same."""
        return self.objects if self.instances is None else min(self.objects, self.instances)


@dataclass(frozen=True, slots=True)
class Given:
    """The input of one attempt: names of objects relative to ``folder``, an S3 URI that ends in ``/``.

    ``whole`` says that it was the input of the request itself.
    """

    folder: str
    names: tuple[str, ...]
    whole: bool


def left_to_do(hook: SageMakerHook, spec: JobSpec, earlier: Sequence[Job]) -> Remainder | None:
    """The objects that no attempt of ``earlier`` has finished; None to run all of them.

    Each attempt of a chain was given what the one before had left, so only the last one is looked at. Writes
    the manifest beside the attempt's output prefix. When every object is done and the job failed all the same,
    the last object is done again: AWS runs no job without input.
    """
    chain = chain_of(spec, earlier) if can_resume(spec) else []
    if not chain:
        return None
    was = given(hook, spec, chain[-1])
    done = answered(hook, chain[-1])
    left = [name for name in was.names if name not in done]
    if was.names and not done.issubset(was.names):
        log.warning(
            "%s wrote %s.out, which is of none of its objects: all of them are run again.",
            chain[-1].name,
            min(done.difference(was.names)),
        )
        return None
    if not was.names or (was.whole and len(left) == len(was.names)):
        return None
    attempt = len(earlier) + 1
    log.info(
        "Attempt %d goes on where others ended: %d of %d objects are left.",
        attempt,
        len(left),
        len(was.names),
    )
    # One that went on for others was sized for what was left then, however many objects that is.
    instances = None if was.whole else int(spec.kind.resources(chain[-1].description)["InstanceCount"])
    return remainder_of(hook, spec, attempt, was.folder, left or was.names[-1:], instances=instances)


def given(hook: SageMakerHook, spec: JobSpec, job: Job) -> Given:
    """What an attempt of ``spec`` was given to work on."""
    s3 = client_of(sibling(S3Hook, hook))
    if _is_resumed(spec, job):
        return _read_manifest(s3, manifest_uri(spec, job.attempt or 1), whole=False)
    asked = spec.request["TransformInput"]["DataSource"]["S3DataSource"]
    source = str(asked["S3Uri"])
    if asked["S3DataType"] == "ManifestFile":
        return _read_manifest(s3, source, whole=True)
    return _given_prefix(s3, source)


def answered(hook: SageMakerHook, job: Job) -> set[str]:
    """Names of the objects whose output this job has written, relative to its input."""
    s3 = client_of(sibling(S3Hook, hook))
    return {
        key.removeprefix(folder).removesuffix(OUT)
        for uri in job.kind.output_uris(job.description)
        for bucket, folder in [S3Hook.parse_s3_url(folder_of(uri))]
        for key in _keys(s3, bucket, folder)
        if key.endswith(OUT)
    }


def remainder_of(
    hook: SageMakerHook,
    spec: JobSpec,
    attempt: int,
    folder: str,
    names: Sequence[str],
    *,
    instances: int | None = None,
) -> Remainder:
    """A Remainder of the objects ``names`` below ``folder``, once their manifest is written."""
    manifest = manifest_uri(spec, attempt)
    bucket, key = S3Hook.parse_s3_url(manifest)
    body = json.dumps([{"prefix": folder}, *names]).encode()
    s3 = client_of(sibling(S3Hook, hook))
    call(s3.put_object, {"Bucket": bucket, "Key": key, "Body": body, "ContentType": "application/json"})
    log.info("%d objects below %s are named in %s.", len(names), folder, manifest)
    return Remainder(_manifest_source(manifest), len(names), instances)


def chain_of(spec: JobSpec, jobs: Sequence[Job]) -> list[Job]:
    """The attempts at the end of ``jobs`` whose outputs together are one set.

    From the last one that was given the whole input, to the end: each of those after it was given what was
    left. Empty where the last of them is not of this request.
    """
    chain: list[Job] = []
    for job in reversed(jobs):
        if job_differences(spec, job):
            break
        chain.insert(0, job)
        if not _is_resumed(spec, job):
            return chain
    return []


def can_resume(spec: JobSpec) -> bool:
    """Whether the spec asks for it, its input can be told by prefix or manifest, and its attempts write apart."""
    if not spec.resume or spec.kind is not TRANSFORM:
        return False
    source = spec.request["TransformInput"]["DataSource"].get("S3DataSource", {})
    apart = TRANSFORM.output_uris(spec.request_for(1)) != TRANSFORM.output_uris(spec.request_for(2))
    return source.get("S3DataType") in ("S3Prefix", "ManifestFile") and apart


def manifest_uri(spec: JobSpec, attempt: int) -> str:
    """Where the manifest of a resumed attempt lies: beside its output prefix, not below it."""
    return f"{TRANSFORM.output_uris(spec.request_for(attempt))[0].rstrip('/')}-manifest.json"


def _is_resumed(spec: JobSpec, job: Job) -> bool:
    source = job.description["TransformInput"]["DataSource"]
    return bool(source == _manifest_source(manifest_uri(spec, job.attempt or 1)))


def _manifest_source(uri: str) -> dict[str, Any]:
    return {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": uri}}


def _read_manifest(s3: Any, uri: str, *, whole: bool) -> Given:
    bucket, key = S3Hook.parse_s3_url(uri)
    prefix, *names = json.load(call(s3.get_object, {"Bucket": bucket, "Key": key})["Body"])
    if not names:
        return _given_prefix(s3, str(prefix["prefix"]))
    return Given(str(prefix["prefix"]), tuple(names), whole=whole)


def _given_prefix(s3: Any, uri: str) -> Given:
    """The objects whose keys begin as ``uri``: below the folder of this name or, if none is, as one file or several.

    Without names where some are below it and some are not: their outputs' names are not known.
    """
    bucket, prefix = S3Hook.parse_s3_url(uri)
    folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    keys = sorted(_keys(s3, bucket, prefix))
    below = [key for key in keys if key.startswith(folder)]
    if below and len(below) < len(keys):
        return Given(f"s3://{bucket}/{folder}", (), whole=True)
    if not below:
        folder = prefix[: prefix.rfind("/") + 1]
    return Given(f"s3://{bucket}/{folder}", tuple(key.removeprefix(folder) for key in keys), whole=True)


def _keys(s3: Any, bucket: str, prefix: str) -> Iterator[str]:
    """Keys that begin as ``prefix``, which is mere text; those of folders aside."""
    wanted: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
    while True:
        page = call(s3.list_objects_v2, wanted)
        yield from (item["Key"] for item in page.get("Contents", []) if not item["Key"].endswith("/"))
        if not page.get("IsTruncated"):
            return
        wanted["ContinuationToken"] = page["NextContinuationToken"]
