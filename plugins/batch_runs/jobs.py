"""The jobs of a run that has not ended, as they are now.

While a job runs SageMaker is asked about it, at most once in `LOOK_SECONDS` however many people look.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.sdk.exceptions import AirflowException
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy.orm import Session

from batch_runs.airflow_state import Run, returned_by_instances
from include.orchestration import names
from include.orchestration.pipelines import named
from include.scoring.errors import PipelineError
from sagemaker_jobs.jobs import Job
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM, JobKind
from sagemaker_jobs.result import job_result

log = logging.getLogger(__name__)

#: What reading may end in: the pipeline's file, the connection, the permissions, AWS, or the content may be at fault.
UNREADABLE = (PipelineError, AirflowException, ClientError, BotoCoreError, ValueError)
LOOK_SECONDS = 3
#: Jobs of one stage that are asked about; more would only meet AWS's limit of calls a second.
MOST_LOOKS = 8
LOOKS_KEPT = 64
#: A page does not wait for an AWS that does not answer.
IMPATIENT = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})


@dataclass(frozen=True, slots=True)
class Step:
    """A task that submits jobs of a stage, the one that waits for them, and their kind."""

    stage: str
    submits: str
    waits: str
    kind: JobKind


STEPS = (
    Step("preprocess", names.PREPROCESS, names.PREPROCESSED, PROCESSING),
    Step("transform", names.CANARY, names.CANARIED, TRANSFORM),
    Step("transform", names.TRANSFORM, names.TRANSFORMED, TRANSFORM),
    Step("join", names.JOIN_JOB, names.JOIN_JOB_DONE, PROCESSING),
)


def jobs_so_far(session: Session, run: Run, problems: list[str]) -> dict[str, list[Mapping[str, Any]]]:
    """The jobs of each stage that has one; `problems` is told in a sentence each what AWS did not say."""
    found = returned_by_instances(
        session, run, {task for step in STEPS for task in (step.submits, step.waits)}
    )
    jobs: dict[str, list[Mapping[str, Any]]] = {}
    for step in STEPS:
        of_step = list(_jobs_of(run.dag_id, step, found, problems))
        if of_step:
            jobs.setdefault(step.stage, []).extend(of_step)
    return jobs


def _jobs_of(
    dag_id: str, step: Step, found: Mapping[str, Mapping[int, Any]], problems: list[str]
) -> Iterator[Mapping[str, Any]]:
    """The jobs of one step in the order of their tasks' map indexes."""
    ended, looks = found.get(step.waits, {}), 0
    for index, submitted in sorted(found.get(step.submits, {}).items()):
        if isinstance(ended.get(index), Mapping):
            yield ended[index]
        elif isinstance(submitted, Mapping):
            looks += 1
            if looks <= MOST_LOOKS:
                yield _described(dag_id, step.kind, submitted[step.kind.name], problems)
            else:
                yield _submitted(step.kind, submitted[step.kind.name])
    if looks > MOST_LOOKS:
        problems.append(f"Of {looks:,} jobs that have not ended the first {MOST_LOOKS} are looked at.")


def _submitted(kind: JobKind, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is known of a job without asking AWS."""
    resources = kind.resources(dict(request))
    return {
        "job_name": str(request[kind.name_field]),
        "status": "unknown",
        "created_at": None,
        "instance_type": resources.get("InstanceType"),
        "instance_count": resources.get("InstanceCount"),
    }


def _described(
    dag_id: str, kind: JobKind, request: Mapping[str, Any], problems: list[str]
) -> Mapping[str, Any]:
    """The job as it is now, or as it was submitted where AWS does not say."""
    name = str(request[kind.name_field])
    try:
        return _look(dag_id, kind, name, int(time.time() / LOOK_SECONDS))
    except UNREADABLE as error:
        log.warning("%s %s cannot be described: %s", kind.noun, name, error)
        problems.append(f"How far {name} is cannot be told: {error}")
        return _submitted(kind, request)


@lru_cache(maxsize=LOOKS_KEPT)
def _look(dag_id: str, kind: JobKind, name: str, window: int) -> Mapping[str, Any]:
    found = getattr(_client(dag_id, window), kind.describe)(**{kind.name_field: name})
    return job_result(Job(kind=kind, name=name, description=found), frozenset())


@lru_cache(maxsize=1)
def _client(dag_id: str, window: int) -> Any:  # noqa: ARG001 - credentials may be new in each window
    """One client for the jobs that are looked at together: building one takes longer than asking."""
    pipeline = named(dag_id)
    hook_class: Any = SageMakerHook
    return hook_class(
        aws_conn_id=pipeline.aws_conn_id, region_name=pipeline.region, config=IMPATIENT
    ).get_conn()
