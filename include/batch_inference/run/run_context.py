"""The context of a task instance: the run's plan, its pipeline as planned, and access to XCom and S3.

Only `plan` reads the pipeline's file. Later tasks read the pipeline from plan.json, so an edit of the file takes effect
in the next run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from pydantic import ValidationError

from batch_inference.aws.s3 import Storage, is_not_found
from batch_inference.common.errors import HandoffError
from batch_inference.common.names import InputLayoutPaths, RunPaths, build_name_token
from batch_inference.config.pipeline import Pipeline
from batch_inference.planning.plan import PIPELINE_KEY, Plan, build_version_error
from batch_inference.publishing.earlier_runs import read_runs_before
from batch_inference.run import handoffs
from batch_inference.run.task_ids import PLAN


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run of a task instance: its plan, and the `pipeline` as it was planned."""

    ti: Any
    plan: Plan
    pipeline: Pipeline
    storage: Storage

    @classmethod
    def load(cls, ti: Any, *, shape: str | None = None) -> RunContext:
        """The run, with its pipeline read from plan.json. `shape` is the parsed DAG's, see `Pipeline.dag_shape`.

        Raises:
            HandoffError: there is no plan, plan.json is of another plan, or the DAG's tasks are not those planned for.
        """
        plan = handoffs.pull_plan(ti)
        storage = Storage(plan.aws_conn_id, plan.region)
        _, pipeline = read_plan(storage, plan.run_prefix, plan.nonce)
        # A run that releases a held run has the plan of that run.
        if shape is not None and shape != pipeline.dag_shape and plan.run_id == ti.run_id:
            raise HandoffError(
                f"{pipeline.name}.yaml was changed after this run was planned, so that the DAG has other tasks: "
                f"{shape}; planned was {pipeline.dag_shape}. No further job is started: restore the file and clear "
                f"this task with all that follows it, or clear `plan` with all that follows it"
            )
        return cls(ti, plan, pipeline, storage)

    @property
    def nonce(self) -> str:
        """The plan's nonce, which marks everything that belongs to the plan."""
        return self.plan.nonce

    @property
    def paths(self) -> RunPaths:
        """The S3 paths of the run."""
        return self.plan.paths

    @property
    def layout_paths(self) -> InputLayoutPaths:
        """The S3 paths of the plan's input layout, without `preprocess`."""
        return self.paths.build_layout_paths(self.nonce)

    def pull(self, task_id: str, key: str = handoffs.RETURN_VALUE, **options: Any) -> Any:
        """See `handoffs.pull`."""
        return handoffs.pull(self.ti, task_id, key, nonce=self.nonce, **options)

    def filter_by_plan(self, task_id: str, values: Iterable[Any] | None) -> list[Any]:
        """See `handoffs.filter_by_plan`."""
        return handoffs.filter_by_plan(self.ti, task_id, values, self.nonce)

    def push(self, key: str, value: Mapping[str, Any]) -> None:
        """Push an XCom value with the plan's nonce, in addition to the task's return value."""
        self.ti.xcom_push(key=key, value=self.add_nonce(value))

    def add_nonce(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Add the plan's nonce to a document whose URI does not depend on the plan."""
        return {**document, handoffs.NONCE_KEY: self.nonce}

    def read_json(self, uri: str, *, written_by: str) -> Any:
        """Read a document that the task `written_by` wrote; raises as `check_document`, also if it is missing."""
        document = _read(self.storage, uri, written_by)
        self.check_document(document, uri, written_by=written_by)
        return document

    def read_previous_runs(self, limit: int) -> list[dict[str, Any]]:
        """The last runs published before this one, at most `limit`, see `read_runs_before`."""
        return read_runs_before(
            self.storage,
            self.pipeline,
            data_time=self.plan.data_time,
            run_id=self.plan.run_id,
            limit=limit,
        )

    def check_document(self, document: Any, uri: str, *, written_by: str) -> None:
        """Raise HandoffError when a document belongs to another plan."""
        if not handoffs.is_of_plan(document, self.nonce):
            raise HandoffError(
                f"{uri} belongs to another plan than the run's ({self.nonce[:6]}): clear `{written_by}` with all that "
                f"follows it"
            )


def read_plan(
    storage: Storage, run_prefix: str, nonce: str | None = None, *, job_name: str = ""
) -> tuple[Plan, Pipeline]:
    """plan.json below `run_prefix`, which must be the plan of this nonce, or of the job of this name.

    Raises:
        HandoffError: the plan is missing, is another one, or was written by another version of this package.
    """
    uri = RunPaths(run_prefix).plan
    document = _read(storage, uri, PLAN)
    if document["nonce"] != nonce and build_name_token(document["nonce"]) not in job_name:
        raise HandoffError(
            f"{uri} is another plan ({document['nonce'][:6]}) than this task's"
            f"{'' if nonce is None else f' ({nonce[:6]})'}: `plan` has run again; clear `plan` with all that follows it"
        )
    try:
        return Plan.from_document(document, uri), Pipeline.model_validate(document[PIPELINE_KEY])
    except (KeyError, ValidationError) as error:
        raise build_version_error(uri, error) from error


def _read(storage: Storage, uri: str, written_by: str) -> Any:
    try:
        return storage.read_json(uri)
    except ClientError as error:
        if is_not_found(error):
            raise HandoffError(
                f"{uri}, which `{written_by}` wrote, no longer exists: clear `{written_by}` with all that follows "
                f"it, or start a new run"
            ) from error
        raise
