"""A run as its tasks see it: what `plan` has decided and frozen, and what the tasks have handed on since.

`plan` alone reads the pipeline's file. What the run does after it follows from plan.json, where the pipeline lies as it
was: a file that is edited meanwhile is the next run's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from pydantic import ValidationError

from include.orchestration import handoffs
from include.orchestration.gate import SkipRest
from include.orchestration.names import PLAN
from include.orchestration.storage import Storage, is_gone
from include.scoring.config import Pipeline
from include.scoring.errors import HandoffError
from include.scoring.naming import RunPaths, name_token
from include.scoring.plan import CONFIG


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run of a task instance: `plan` as it was handed on, and the `pipeline` that it froze."""

    ti: Any
    plan: dict[str, Any]
    pipeline: Pipeline
    storage: Storage

    @classmethod
    def load(cls, ti: Any, *, shape: str | None = None) -> RunContext:
        """The run, with its pipeline read from plan.json. `shape` is the parsed DAG's, see `Pipeline.shape`.

        Raises:
            HandoffError: there is no plan, its document is another plan's, or the DAG has other tasks than planned for.
        """
        plan = handoffs.pull_plan(ti)
        storage = Storage(plan["aws_conn_id"], plan["region"])
        pipeline = read_pipeline(storage, plan["run_prefix"], plan["nonce"])
        # A run by hand that publishes one that was held has done none of the work.
        if shape is not None and shape != pipeline.shape and plan["run_id"] == ti.run_id:
            raise HandoffError(
                f"{pipeline.name}.yaml was changed after this run was planned, so that the DAG has other tasks: "
                f"{shape}; planned was {pipeline.shape}. No further job is started: restore the file and clear this "
                f"task with all that follows it, or clear `plan` with all that follows it"
            )
        return cls(ti, plan, pipeline, storage)

    @property
    def nonce(self) -> str:
        """The mark of all that belongs to this plan."""
        return str(self.plan["nonce"])

    @property
    def paths(self) -> RunPaths:
        """Where the run works."""
        return RunPaths(self.plan["run_prefix"])

    def pull(
        self,
        task_id: str,
        key: str = handoffs.RETURN_VALUE,
        *,
        map_indexes: Iterable[int] | int | None = None,
        is_optional: bool = False,
    ) -> Any:
        """See `handoffs.pull`."""
        return handoffs.pull(self.ti, task_id, key, map_indexes=map_indexes, is_optional=is_optional)

    def of_this_plan(self, task_id: str, values: Iterable[Any] | None) -> list[Any]:
        """See `handoffs.pick`."""
        return handoffs.pick(self.ti, task_id, values)

    def push(self, key: str, value: Mapping[str, Any]) -> None:
        """Hand on a value beside what the task returns."""
        self.ti.xcom_push(key=key, value=handoffs.mark(value, self.nonce))

    def mark(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """A document of the run whose address does not say of which plan it is, with the plan's nonce."""
        marked: dict[str, Any] = handoffs.mark(document, self.nonce)
        return marked

    def read_json(self, uri: str, *, written_by: str) -> Any:
        """Such a document, which the task `written_by` has written; raises as `check_document`, also if it is gone."""
        document = _read(self.storage, uri, written_by)
        self.check_document(document, uri, written_by=written_by)
        return document

    def check_document(self, document: Any, uri: str, *, written_by: str) -> None:
        """Raise HandoffError when a document belongs to another plan."""
        if not handoffs.is_of_plan(document, self.nonce):
            raise HandoffError(
                f"{uri} belongs to another plan than the run's ({self.nonce[:6]}): clear `{written_by}` with all that "
                f"follows it"
            )


def read_pipeline(
    storage: Storage, run_prefix: str, nonce: str | None = None, *, job_name: str = ""
) -> Pipeline:
    """The pipeline as the plan below `run_prefix` froze it: the plan of this nonce, or of the job of this name.

    Raises:
        HandoffError: the plan is gone, or it is another one, or of another version of this package.
    """
    uri = RunPaths(run_prefix).plan
    document = _read(storage, uri, PLAN)
    if document["nonce"] != nonce and name_token(document["nonce"]) not in job_name:
        raise HandoffError(
            f"{uri} is another plan ({document['nonce'][:6]}) than this task's"
            f"{'' if nonce is None else f' ({nonce[:6]})'}: `plan` has run again; clear `plan` with all that follows it"
        )
    try:
        return Pipeline.model_validate(document[CONFIG])
    except (KeyError, ValidationError) as error:
        raise HandoffError(
            f"{uri} was written by another version of this package, which this one cannot carry on with "
            f"({type(error).__name__}): clear `plan` with all that follows it, or start a new run"
        ) from error


def _read(storage: Storage, uri: str, written_by: str) -> Any:
    try:
        return storage.read_json(uri)
    except ClientError as error:
        if is_gone(error):
            raise HandoffError(
                f"{uri} is gone, which `{written_by}` wrote: clear `{written_by}` with all that follows it, or start "
                f"a new run"
            ) from error
        raise


def with_run(function: Callable[..., Any]) -> Callable[..., Any]:
    """A task's body: called with the RunContext of its task instance, and its value marked with the plan's nonce.

    Airflow calls it with the pipeline's name and, for tasks before the publishing, the shape of the parsed DAG.
    """

    @functools.wraps(function)
    def body(pipeline: str, *args: Any, ti: Any, shape: str | None = None, **kwargs: Any) -> Any:  # noqa: ARG001 - in the plan
        run = RunContext.load(ti, shape=shape)
        value = function(run, *args, **kwargs)
        if isinstance(value, SkipRest):
            return SkipRest(handoffs.mark(value.value, run.nonce), value.reason, value.until)
        return handoffs.mark(value, run.nonce)

    return body
