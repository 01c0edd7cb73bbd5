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
from sagemaker_jobs.aws import client_of
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


#: What the page needs of a job that has ended.
ACCOUNT = {"job_name", "status", "instance_type", "instance_count", "created_at"}


def jobs_so_far(session: Session, run: Run, problems: list[str]) -> dict[str, list[Mapping[str, Any]]]:
    """The jobs of each stage that has one; `problems` is told in a sentence each what AWS did not say."""
    tasks = {task for step in STEPS for task in (step.submits, step.waits)}
    found = returned_by_instances(session, run, {*tasks, names.MANIFESTS})
    listed = found.get(names.MANIFESTS, {}).get(-1)
    # A plan made anew may list fewer jobs; what the instances of the others returned before stays in the database.
    instances = len(listed) if isinstance(listed, list) else None
    window = int(time.time() / LOOK_SECONDS)
    jobs: dict[str, list[Mapping[str, Any]]] = {}
    for step in STEPS:
        looks = _Looks(run.dag_id, step.kind, window)
        ended = found.get(step.waits, {})
        for index, submitted in sorted(found.get(step.submits, {}).items()):
            if instances is not None and index >= instances:
                continue
            if isinstance(ended.get(index), Mapping) and ended[index].keys() >= ACCOUNT:
                jobs.setdefault(step.stage, []).append(ended[index])
            elif (request := _request(step.kind, submitted)) is not None:
                jobs.setdefault(step.stage, []).append(looks.at(request))
        problems.extend(looks.problems())
    return jobs


def _request(kind: JobKind, submitted: Any) -> Mapping[str, Any] | None:
    """What a task returned that submitted a job; None where it is something else."""
    request = submitted.get(kind.name) if isinstance(submitted, Mapping) else None
    return request if isinstance(request, Mapping) and kind.name_field in request else None


class _Looks:
    """Looks at the jobs of one step: a few, and none after AWS has not answered one."""

    def __init__(self, dag_id: str, kind: JobKind, window: int) -> None:
        self._dag_id, self._kind, self._window = dag_id, kind, window
        self._wanted = 0
        self._silent: str | None = None

    def at(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """The job as it is now, or as it was submitted where AWS does not say."""
        self._wanted += 1
        name = str(request[self._kind.name_field])
        if self._silent is None and self._wanted <= MOST_LOOKS:
            try:
                return _look(self._dag_id, self._kind, name, self._window)
            except UNREADABLE as error:
                log.warning("%s %s cannot be described: %s", self._kind.noun, name, error)
                self._silent = f"How far {name} is cannot be told: {error}"
        resources = self._kind.resources(dict(request))
        return {
            "job_name": name,
            "status": "unknown",
            "created_at": None,
            "instance_type": resources.get("InstanceType"),
            "instance_count": resources.get("InstanceCount"),
        }

    def problems(self) -> Iterator[str]:
        """What the page does not show, and why."""
        if self._silent is not None:
            yield self._silent
        elif self._wanted > MOST_LOOKS:
            yield f"Of {self._wanted:,} jobs that have not ended the first {MOST_LOOKS} are looked at."


@lru_cache(maxsize=LOOKS_KEPT)
def _look(dag_id: str, kind: JobKind, name: str, window: int) -> Mapping[str, Any]:
    """A new look in each window."""
    found = getattr(_client(dag_id, window), kind.describe)(**{kind.name_field: name})
    return job_result(Job(kind=kind, name=name, description=found), frozenset())


@lru_cache(maxsize=1)
def _client(dag_id: str, window: int) -> Any:  # noqa: ARG001 - credentials may be new in each window
    """One client for the jobs that are looked at together: building one takes longer than asking."""
    pipeline = named(dag_id)
    hook_class: Any = SageMakerHook
    return client_of(
        hook_class(aws_conn_id=pipeline.aws_conn_id, region_name=pipeline.region, config=IMPATIENT)
    )
