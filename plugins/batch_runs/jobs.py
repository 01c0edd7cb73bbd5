"""Loads the current state of a run's jobs, from XCom and from SageMaker.

A job that runs is described at most once in `DESCRIBE_INTERVAL_SECONDS`, however many users watch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as AwsConnectionError
from sqlalchemy.orm import Session

from batch_inference.run import handoffs, task_ids
from batch_runs.airflow_state import PipelinePlace, Run, read_mapped_xcoms
from sagemaker_jobs.airflow_compat import AirflowException
from sagemaker_jobs.aws import get_client
from sagemaker_jobs.job.describe import Job
from sagemaker_jobs.job.result import build_job_result
from sagemaker_jobs.kinds import ENDED_STATUSES, PROCESSING, TRANSFORM, JobKind
from sagemaker_jobs.s3 import OUTPUT_SUFFIX, get_s3_client, to_folder_uri
from sagemaker_jobs.waiting.transform_progress import count_objects, count_objects_for_progress

log = logging.getLogger(__name__)

#: Errors of reading: a wrong connection, permission or content, or an error of AWS.
READ_ERRORS = (AirflowException, ClientError, BotoCoreError, ValueError)
#: Errors of an AWS that does not answer in time, or cannot be reached.
NO_ANSWER_ERRORS = (TimeoutError, AwsConnectionError, HTTPClientError)
DESCRIBE_INTERVAL_SECONDS = 3
#: The most jobs of one stage that are described; more would be throttled by AWS.
MAX_DESCRIBED_JOBS = 8
DESCRIBE_CACHE_SIZE = 64
ENDED_CACHE_SIZE = 512
#: A transform writes one object for each of its input, so counting those of a few jobs tells how far they are.
COUNT_INTERVAL_SECONDS, MAX_COUNTED_JOBS = 10, 4
#: Short timeouts, so that a page does not hang when AWS does not respond.
FAST_FAIL_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})


@dataclass(frozen=True, slots=True)
class JobTasks:
    """A stage, the task that waits for its jobs, their kind, and the key of their results.

    `mapped_over` is the task whose value lists the jobs, where there may be several.
    """

    stage: str
    wait_task: str
    kind: JobKind
    result_key: str = handoffs.RETURN_VALUE
    mapped_over: str | None = None

    @property
    def submit_task(self) -> str:
        """The task that submits the jobs."""
        return task_ids.SUBMITTING_TASKS[self.wait_task]


JOB_TASKS = (
    JobTasks("preprocess", task_ids.AWAIT_PREPROCESS, PROCESSING, handoffs.PREPROCESS_JOB[1]),
    JobTasks("transform", task_ids.AWAIT_CANARY, TRANSFORM),
    JobTasks("transform", task_ids.AWAIT_TRIAL, TRANSFORM, mapped_over=task_ids.SELECT_TRIALS),
    JobTasks("transform", task_ids.AWAIT_TRANSFORM, TRANSFORM, mapped_over=task_ids.WRITE_MANIFESTS),
    JobTasks("join", task_ids.AWAIT_JOIN_JOB, PROCESSING),
)


#: Keys that a sensor's XCom must have to be a job result.
RESULT_KEYS = {"job_name", "status", "instance_type", "instance_count", "created_at"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJobs:
    """The jobs of one task as Airflow's database has them, by map index, -1 for a task that is not mapped.

    `results` are of jobs that have completed, `requests` of the others: they run, have failed or were stopped.
    """

    step: JobTasks
    results: Mapping[int, Mapping[str, Any]]
    requests: Mapping[int, Mapping[str, Any]]


def read_stored_jobs(session: Session, run: Run) -> list[StoredJobs]:
    """The jobs of a run's tasks, from XCom; without tasks that have submitted none."""
    keys = {(step.submit_task, handoffs.RETURN_VALUE) for step in JOB_TASKS}
    keys |= {(step.wait_task, step.result_key) for step in JOB_TASKS}
    keys |= {(step.mapped_over, handoffs.RETURN_VALUE) for step in JOB_TASKS if step.mapped_over}
    found = read_mapped_xcoms(session, run, keys)
    stored: list[StoredJobs] = []
    for step in JOB_TASKS:
        ended = found.get((step.wait_task, step.result_key), {})
        listed = found.get((step.mapped_over or "", handoffs.RETURN_VALUE), {}).get(-1)
        # A new plan may have fewer jobs; return values of the surplus instances stay in the database.
        instances = len(listed) if isinstance(listed, list) else None
        results: dict[int, Mapping[str, Any]] = {}
        requests: dict[int, Mapping[str, Any]] = {}
        for index, submitted in sorted(found.get((step.submit_task, handoffs.RETURN_VALUE), {}).items()):
            if instances is not None and index >= instances:
                continue
            if isinstance(ended.get(index), Mapping) and ended[index].keys() >= RESULT_KEYS:
                results[index] = ended[index]
            elif (request := _read_request(step.kind, submitted)) is not None:
                requests[index] = request
        if results or requests:
            stored.append(StoredJobs(step=step, results=results, requests=requests))
    return stored


def describe_jobs(
    place: PipelinePlace | None, stored: Sequence[StoredJobs], problems: list[str]
) -> dict[str, list[Mapping[str, Any]]]:
    """The jobs by stage, without stages that have none; adds a sentence to `problems` for each failure.

    Jobs that have not completed are described; without a `place` they are as their requests have them.
    """
    jobs: dict[str, list[Mapping[str, Any]]] = {}
    for each in stored:
        kind, requests = each.step.kind, list(each.requests.values())
        described = [] if place is None else _describe_jobs(place, kind, requests, problems)
        unknown = [_build_unknown_result(kind, request) for request in requests[len(described) :]]
        results = {**each.results, **dict(zip(each.requests, [*described, *unknown], strict=True))}
        jobs.setdefault(each.step.stage, []).extend(results[index] for index in sorted(results))
    return jobs


def _read_request(kind: JobKind, submitted: Any) -> Mapping[str, Any] | None:
    """The job request in a submitting task's return value; None if there is none."""
    request = submitted.get(kind.name) if isinstance(submitted, Mapping) else None
    return request if isinstance(request, Mapping) and kind.name_field in request else None


def _describe_jobs(
    place: PipelinePlace, kind: JobKind, requests: Sequence[Mapping[str, Any]], problems: list[str]
) -> list[Mapping[str, Any]]:
    """The current results of the first jobs of one task: at most `MAX_DESCRIBED_JOBS`, and none after a failure."""
    window = int(time.time() / DESCRIBE_INTERVAL_SECONDS)
    results: list[Mapping[str, Any]] = []
    for request in requests[:MAX_DESCRIBED_JOBS]:
        name = str(request[kind.name_field])
        try:
            results.append(_ENDED_JOBS.get((place, name)) or _describe_job(place, kind, name, window))
        except READ_ERRORS as error:
            log.warning("%s %s cannot be described: %s", kind.noun, name, error)
            problems.append(f"The state of {name} is unknown: {error}")
            break
        if results[-1]["status"] in ENDED_STATUSES:
            _remember_ended_job(place, name, results[-1])
    else:
        if len(requests) > MAX_DESCRIBED_JOBS:
            problems.append(
                f"Of {len(requests):,} active jobs, {MAX_DESCRIBED_JOBS} are shown with their current state."
            )
    return results


#: Jobs that have ended, which do not change any more; the oldest are forgotten.
_ENDED_JOBS: dict[tuple[PipelinePlace, str], Mapping[str, Any]] = {}


def _remember_ended_job(place: PipelinePlace, name: str, result: Mapping[str, Any]) -> None:
    _ENDED_JOBS[place, name] = result
    for key in list(_ENDED_JOBS)[:-ENDED_CACHE_SIZE]:
        _ENDED_JOBS.pop(key, None)


def _build_unknown_result(kind: JobKind, request: Mapping[str, Any]) -> Mapping[str, Any]:
    resources = kind.get_cluster_config(dict(request))
    return {
        "job_name": str(request[kind.name_field]),
        "status": "unknown",
        "created_at": None,
        "instance_type": resources.get("InstanceType"),
        "instance_count": resources.get("InstanceCount"),
    }


@lru_cache(maxsize=DESCRIBE_CACHE_SIZE)
def _describe_job(place: PipelinePlace, kind: JobKind, name: str, window: int) -> Mapping[str, Any]:
    """The result of describing a job, cached for one time window."""
    description = getattr(_client(place, window), kind.describe_method)(**{kind.name_field: name})
    return build_job_result(Job(kind=kind, name=name, description=description), frozenset())


@lru_cache(maxsize=1)
def _client(place: PipelinePlace, window: int) -> Any:  # noqa: ARG001 - credentials may be new in each window
    """One client for all jobs of a time window: building a client takes longer than a call."""
    return get_client(_build_hook(place))


def _build_hook(place: PipelinePlace) -> SageMakerHook:
    where: Any = {"aws_conn_id": place.aws_conn_id, "region_name": place.region}
    return SageMakerHook(**where, config=FAST_FAIL_CONFIG)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCount:
    """How many of the objects of running transform jobs are done."""

    done: int
    total: int


def count_objects_of_transforms(
    place: PipelinePlace, jobs: Sequence[Mapping[str, Any]]
) -> ObjectCount | None:
    """The objects of the transform jobs that run; None without such a job, or where they cannot be counted cheaply."""
    running = [
        (str(job["job_name"]), str(job["output_uri"]))
        for job in jobs
        if job["status"] == "InProgress" and job.get("started_at") and job.get("output_uri")
    ]
    if not 0 < len(running) <= MAX_COUNTED_JOBS:
        return None
    window = int(time.time() / COUNT_INTERVAL_SECONDS)
    try:
        counts = [(_count_outputs(place, uri, window), _count_inputs(place, name)) for name, uri in running]
    except READ_ERRORS as error:
        log.warning("cannot count the objects of %s: %s", running, error)
        return None
    known = [(done, total) for done, total in counts if done is not None and total is not None]
    if len(known) < len(counts):
        return None
    return ObjectCount(done=sum(done for done, _ in known), total=sum(total for _, total in known))


@lru_cache(maxsize=DESCRIBE_CACHE_SIZE)
def _count_inputs(place: PipelinePlace, name: str) -> int | None:
    """The number of input objects of a transform job, which does not change while it runs."""
    hook = _build_hook(place)
    description = get_client(hook).describe_transform_job(TransformJobName=name)
    return count_objects_for_progress(hook, Job(kind=TRANSFORM, name=name, description=description))


@lru_cache(maxsize=DESCRIBE_CACHE_SIZE)
def _count_outputs(place: PipelinePlace, uri: str, window: int) -> int | None:  # noqa: ARG001 - counted anew in each
    """The number of objects that a transform job has written below `uri`."""
    return count_objects(get_s3_client(_build_hook(place)), to_folder_uri(uri), suffix=OUTPUT_SUFFIX)
