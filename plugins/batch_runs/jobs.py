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
from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy.orm import Session

from batch_inference.run import handoffs, task_ids
from batch_runs.airflow_state import PipelinePlace, Run, read_mapped_results, read_pipeline_place
from sagemaker_jobs.airflow_compat import AirflowException
from sagemaker_jobs.aws import get_client
from sagemaker_jobs.job.describe import Job
from sagemaker_jobs.job.result import build_job_result
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM, JobKind

log = logging.getLogger(__name__)

#: Errors of reading: a wrong connection, permission or content, or an error of AWS.
READ_ERRORS = (AirflowException, ClientError, BotoCoreError, ValueError)
DESCRIBE_INTERVAL_SECONDS = 3
#: The most jobs of one stage that are described; more would be throttled by AWS.
MAX_DESCRIBED_JOBS = 8
DESCRIBE_CACHE_SIZE = 64
#: Short timeouts, so that a page does not hang when AWS does not respond.
FAST_FAIL_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})


@dataclass(frozen=True, slots=True)
class JobTasks:
    """A stage, the task that submits its jobs, the task that waits for them, the key of its results, and their kind.

    `mapped_over` is the task whose value lists the jobs, where there may be several.
    """

    stage: str
    submit_task: str
    wait_task: str
    kind: JobKind
    result_key: str = handoffs.RETURN_VALUE
    mapped_over: str | None = None


JOB_TASKS = (
    JobTasks(
        "preprocess", task_ids.PREPROCESS, task_ids.AWAIT_PREPROCESS, PROCESSING, handoffs.PREPROCESS_JOB[1]
    ),
    JobTasks("transform", task_ids.TRANSFORM_CANARY, task_ids.AWAIT_CANARY, TRANSFORM),
    JobTasks(
        "transform",
        task_ids.TRANSFORM_TRIAL,
        task_ids.AWAIT_TRIAL,
        TRANSFORM,
        mapped_over=task_ids.SELECT_TRIALS,
    ),
    JobTasks(
        "transform",
        task_ids.TRANSFORM,
        task_ids.AWAIT_TRANSFORM,
        TRANSFORM,
        mapped_over=task_ids.WRITE_MANIFESTS,
    ),
    JobTasks("join", task_ids.JOIN_JOB, task_ids.AWAIT_JOIN_JOB, PROCESSING),
)


#: Keys that a sensor's XCom must have to be a job result.
RESULT_KEYS = {"job_name", "status", "instance_type", "instance_count", "created_at"}


def load_jobs(session: Session, run: Run, problems: list[str]) -> dict[str, list[Mapping[str, Any]]]:
    """The jobs by stage, without stages that have none; adds a sentence to `problems` for each failure."""
    keys = {step.submit_task: handoffs.RETURN_VALUE for step in JOB_TASKS}
    keys |= {step.wait_task: step.result_key for step in JOB_TASKS}
    keys |= {step.mapped_over: handoffs.RETURN_VALUE for step in JOB_TASKS if step.mapped_over}
    found = read_mapped_results(session, run, keys)
    jobs: dict[str, list[Mapping[str, Any]]] = {}
    for step in JOB_TASKS:
        ended = found.get(step.wait_task, {})
        listed = found.get(step.mapped_over or "", {}).get(-1)
        # A new plan may have fewer jobs; return values of the surplus instances stay in the database.
        instances = len(listed) if isinstance(listed, list) else None
        results: dict[int, Mapping[str, Any]] = {}
        requests: dict[int, Mapping[str, Any]] = {}
        for index, submitted in sorted(found.get(step.submit_task, {}).items()):
            if instances is not None and index >= instances:
                continue
            if isinstance(ended.get(index), Mapping) and ended[index].keys() >= RESULT_KEYS:
                results[index] = ended[index]
            elif (request := _read_request(step.kind, submitted)) is not None:
                requests[index] = request
        described = _describe_jobs(session, run.dag_id, step.kind, list(requests.values()), problems)
        results |= dict(zip(requests, described, strict=True))
        if results:
            jobs.setdefault(step.stage, []).extend(results[index] for index in sorted(results))
    return jobs


def _read_request(kind: JobKind, submitted: Any) -> Mapping[str, Any] | None:
    """The job request in a submitting task's return value; None if there is none."""
    request = submitted.get(kind.name) if isinstance(submitted, Mapping) else None
    return request if isinstance(request, Mapping) and kind.name_field in request else None


def _describe_jobs(
    session: Session,
    dag_id: str,
    kind: JobKind,
    requests: Sequence[Mapping[str, Any]],
    problems: list[str],
) -> list[Mapping[str, Any]]:
    """The current results of the jobs of one task: at most `MAX_DESCRIBED_JOBS`, and none after a failure.

    A job that is not described is as its request has it, with the status "unknown".
    """
    window = int(time.time() / DESCRIBE_INTERVAL_SECONDS)
    results: list[Mapping[str, Any]] = []
    for request in requests[:MAX_DESCRIBED_JOBS]:
        name = str(request[kind.name_field])
        try:
            results.append(_describe_job(read_pipeline_place(session, dag_id), kind, name, window))
        except READ_ERRORS as error:
            log.warning("%s %s cannot be described: %s", kind.noun, name, error)
            problems.append(f"The state of {name} is unknown: {error}")
            break
    else:
        if len(requests) > MAX_DESCRIBED_JOBS:
            problems.append(
                f"Of {len(requests):,} active jobs, {MAX_DESCRIBED_JOBS} are shown with their current state."
            )
    return [*results, *(_build_unknown_result(kind, request) for request in requests[len(results) :])]


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
    where: Any = {"aws_conn_id": place.aws_conn_id, "region_name": place.region}
    return get_client(SageMakerHook(**where, config=FAST_FAIL_CONFIG))  # type: ignore[no-untyped-call]
