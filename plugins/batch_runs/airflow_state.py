"""Reads pipelines, runs and tasks from Airflow's database, with a few bounded queries for each page.

How a run ended is in the XCom of its `clean_up` task, so a list of runs reads no object in S3. The number of queries
does not depend on how many pipelines or runs there are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.models.dag import DagModel, DagTag
from airflow.models.dagrun import DagRun
from airflow.models.errors import ParseImportError
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import and_, func, literal, or_, select
from sqlalchemy.orm import Session

from batch_inference.dag.task_docs import TASK_DOCS
from batch_inference.run.task_ids import CLEAN_UP, PIPELINE_TAG
from sagemaker_jobs.airflow_compat import Select

#: Days for which a DAG that Airflow has no file of any more is listed.
GONE_DAYS = 7
#: Final states of a run.
ENDED_STATES = frozenset({"success", "failed"})
#: States of a task instance that nothing follows in this run.
DONE_STATES = frozenset({"success", "skipped", "failed", "upstream_failed", "removed"})
#: Joins a value to the task instance that pushed it.
SAME_TASK_INSTANCE = and_(
    TaskInstance.dag_id == XComModel.dag_id,
    TaskInstance.run_id == XComModel.run_id,
    TaskInstance.task_id == XComModel.task_id,
    TaskInstance.map_index == XComModel.map_index,
)
#: The columns of a `Run`.
_RUN_COLUMNS: tuple[Any, ...] = (
    DagRun.id, DagRun.dag_id, DagRun.run_id, DagRun.run_type, DagRun.state, DagRun.run_after, DagRun.start_date,
    DagRun.end_date,
    # Airflow 3.0 does not keep who has triggered a run.
    DagRun.triggering_user_name if hasattr(DagRun, "triggering_user_name") else literal(None),
)  # fmt: skip
_WAITING_STATES = ("scheduled", "queued")
#: Whether a value is of the current try. Airflow removes an instance's XComs when it starts again, not when it is
#: cleared (`ti_run` in its execution API), so the instance must have started since: it must not wait for a start (NULL
#: is such a state, too) or have ended without one. A deferred instance that waits to be resumed has `next_method`,
#: which a clear removes, and its values are current.
_IS_CURRENT = or_(
    TaskInstance.state.not_in([*_WAITING_STATES, "restarting", "removed", "upstream_failed", "skipped"]),
    and_(TaskInstance.state.in_(_WAITING_STATES), TaskInstance.next_method.is_not(None)),
)


@dataclass(frozen=True, slots=True)
class FileError:
    """Airflow's error of a file. `pipeline_id` is None for a DAG file, and for a pipeline file in a wrong place."""

    bundle_name: str
    file: str
    pipeline_id: str | None
    message: str

    @property
    def is_of_pipeline(self) -> bool:
        """Whether the file is that of a pipeline, and not a DAG file."""
        return self.pipeline_id is not None or self.file.endswith((".yaml", ".yml"))


@dataclass(frozen=True, slots=True)
class PipelineDag:
    """A DAG of a pipeline.

    `bundle_name` and `dag_file` say where the DAG file is; `is_gone` whether Airflow takes the DAG for stale,
    and `file_error` why it cannot parse it any more.
    """

    dag_id: str
    description: str
    is_paused: bool
    next_run_after: datetime | None
    bundle_name: str
    dag_file: str
    is_gone: bool = False
    file_error: FileError | None = None

    @property
    def team(self) -> str:
        """The folders of the pipeline's file, with dots; with a matrix also the file. Empty at the top."""
        return self.dag_id.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class PipelinePlace:
    """Where the jobs and files of a pipeline are: Airflow's connection, the region, and the prefix of all its runs."""

    aws_conn_id: str
    region: str | None
    runs_prefix: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a DAG, from `_RUN_COLUMNS`.

    `dag_run_id` is its primary key in Airflow's database; `triggered_by` the person's name, None where Airflow started
    the run itself or does not know.
    """

    dag_run_id: int
    dag_id: str
    run_id: str
    run_type: str
    state: str
    run_after: datetime
    started_at: datetime | None
    ended_at: datetime | None
    triggered_by: str | None

    @property
    def has_ended(self) -> bool:
        """Whether the run is in a final state."""
        return self.state in ENDED_STATES

    @property
    def duration_seconds(self) -> float | None:
        """The run's duration; None if it has not started or not ended."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """All instances of one task in a run: the most important state, and the time from first start to last end.

    `is_done`: whether none of them does anything any more; one may have failed while others run.
    """

    task_id: str
    state: str
    is_done: bool
    map_index: int
    started_at: datetime | None
    ended_at: datetime | None
    try_number: int
    task_instance_count: int


def list_file_errors(session: Session) -> list[FileError]:
    """The files that Airflow cannot parse; `RefusedDag` names those of pipelines."""
    found = session.execute(
        select(ParseImportError.bundle_name, ParseImportError.filename, ParseImportError.stacktrace)
    )
    errors = []
    for bundle_name, filename, stacktrace in found:
        file, _, pipeline_id = str(filename or "").partition("#")
        message = shorten_traceback(str(stacktrace or ""))
        errors.append(FileError(str(bundle_name or ""), file, pipeline_id or None, message))
    return errors


def shorten_traceback(text: str) -> str:
    """The message of a traceback's last error, with the error's class unless it is that of a refused pipeline file."""
    lines = text.strip().splitlines()
    # The message of an error begins after its class, at the start of a line; frames and further lines are indented.
    starts = [number for number, line in enumerate(lines) if re.match(r"[A-Za-z_][\w.]*: ", line)]
    message = "\n".join(lines[starts[-1] :] if starts else lines)
    return re.sub(r"^(?:[\w.]+\.)?RefusedFileError: ", "", message)


def list_pipeline_dags(
    session: Session, file_errors: Sequence[FileError] = (), *, with_stale: bool = False
) -> dict[str, PipelineDag]:
    """The DAGs tagged as pipelines, by id, sorted.

    Airflow makes a DAG stale when its file is gone or wrong, and drops the error of a wrong file for a moment at each
    refresh. A stale DAG is listed while one of `file_errors` is its own, and `GONE_DAYS` after it was last parsed, and
    any stale DAG if `with_stale`.
    """
    of_pipelines = {(each.bundle_name, each.pipeline_id): each for each in file_errors if each.pipeline_id}
    of_dag_files = {(each.bundle_name, each.file): each for each in file_errors}
    found = session.execute(
        select(
            DagModel.dag_id, func.coalesce(DagModel.description, ""), DagModel.is_paused,
            DagModel.next_dagrun_create_after, DagModel.bundle_name,
            func.coalesce(DagModel.relative_fileloc, DagModel.fileloc, ""), DagModel.is_stale,
            DagModel.last_parsed_time,
        )
        .join(DagTag, DagTag.dag_id == DagModel.dag_id)
        .where(DagTag.name == PIPELINE_TAG)
        .order_by(DagModel.dag_id)
    )  # fmt: skip
    oldest = datetime.now(UTC) - timedelta(days=GONE_DAYS)
    dags = {}
    for row in found:
        dag, parsed_at = PipelineDag(*row[:-1]), row[-1]
        error = of_pipelines.get((dag.bundle_name, dag.dag_id))
        if error is None and dag.is_gone:
            # A file with a matrix that cannot be read at all has no keys: its error is that of all its DAGs.
            error = of_pipelines.get((dag.bundle_name, dag.team))
        error = error or of_dag_files.get((dag.bundle_name, dag.dag_file))
        if (
            with_stale
            or not dag.is_gone
            or error is not None
            or (parsed_at is not None and parsed_at > oldest)
        ):
            dags[dag.dag_id] = replace(dag, file_error=error)
    return dags


def list_dags_of_files(
    session: Session, files: Collection[tuple[str, str]]
) -> dict[tuple[str, str], set[str]]:
    """The ids of all DAGs, also of those that are no pipelines, of DAG files, by bundle name and file."""
    if not files:
        return {}
    found = session.execute(
        select(DagModel.bundle_name, DagModel.relative_fileloc, DagModel.dag_id).where(
            DagModel.relative_fileloc.in_({file for _, file in files})
        )
    )
    dag_ids: dict[tuple[str, str], set[str]] = {}
    for bundle_name, file, dag_id in found:
        if (bundle_name, file or "") in files:
            dag_ids.setdefault((bundle_name, file or ""), set()).add(dag_id)
    return dag_ids


def is_pipeline_dag(session: Session, dag_id: str) -> bool:
    """Whether the DAG is tagged as a pipeline, stale or not."""
    tagged = select(DagTag.dag_id).where(DagTag.dag_id == dag_id, DagTag.name == PIPELINE_TAG)
    return session.scalar(tagged) is not None


def read_pipeline_place(session: Session, dag_id: str) -> PipelinePlace:
    """Where the pipeline's jobs and files are, from the arguments of its `clean_up` in the serialized DAG.

    The api-server may have no DAG files. Unlike an XCom, a DAG is not written by users of Airflow.

    Raises:
        ValueError: Airflow has no such DAG, or one of another version of this package.
    """
    stored = SerializedDagModel.get(dag_id, session=session)
    data: Any = None if stored is None else stored.data
    tasks = [] if data is None else [task["__var"] for task in data["dag"]["tasks"]]
    arguments: dict[str, Any] = next((task["op_kwargs"] for task in tasks if task["task_id"] == CLEAN_UP), {})
    try:
        return PipelinePlace(**{key: arguments[key] for key in PipelinePlace.__slots__})
    except KeyError as error:
        raise ValueError(
            f"the DAG {dag_id} in Airflow's database does not say its {error.args[0]}; it is there when the DAG "
            f"processor has parsed the DAG with this version of the package"
        ) from None


def list_runs(
    session: Session,
    dag_id: str,
    *,
    limit: int,
    offset: int = 0,
    state: str | None = None,
    before: datetime | None = None,
) -> list[Run]:
    """Runs of a DAG, newest first: those in this state, and that were to start before this time."""
    found = session.execute(
        select(*_RUN_COLUMNS)
        .where(*_match_runs(dag_id, state, before))
        .order_by(DagRun.run_after.desc(), DagRun.id.desc())
        .limit(limit)
        .offset(offset)
    )
    return [Run(*row) for row in found]


def list_latest_runs(session: Session, dag_ids: Collection[str], *, limit: int) -> dict[str, list[Run]]:
    """The newest runs of each of these DAGs, at most `limit` each, newest first; without DAGs that have none."""
    newest_first = DagRun.run_after.desc(), DagRun.id.desc()
    place = func.row_number().over(partition_by=DagRun.dag_id, order_by=newest_first).label("place")
    ranked = select(DagRun.id, place).where(DagRun.dag_id.in_(dag_ids)).subquery()
    found = session.execute(
        select(*_RUN_COLUMNS)
        .join(ranked, ranked.c.id == DagRun.id)
        .where(ranked.c.place <= limit)
        .order_by(*newest_first)
    )
    runs: dict[str, list[Run]] = {}
    for row in found:
        runs.setdefault(row.dag_id, []).append(Run(*row))
    return runs


def count_runs(
    session: Session, dag_id: str, *, state: str | None = None, before: datetime | None = None
) -> int:
    """The number of a DAG's runs in Airflow's database, of those in `list_runs`."""
    return session.scalar(select(func.count(DagRun.id)).where(*_match_runs(dag_id, state, before))) or 0


def _match_runs(dag_id: str, state: str | None, before: datetime | None) -> list[Any]:
    conditions: list[Any] = [DagRun.dag_id == dag_id]
    if state is not None:
        conditions.append(DagRun.state == state)
    if before is not None:
        conditions.append(DagRun.run_after < before)
    return conditions


def get_run(session: Session, dag_id: str, run_id: str) -> Run | None:
    """One run, or None if Airflow has none with this id."""
    wanted = select(*_RUN_COLUMNS).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    found = session.execute(wanted).first()
    return None if found is None else Run(*found)


def find_running_run_id(session: Session, dag_id: str) -> str | None:
    """The run of a DAG that is running, the first one where there are several; None without one."""
    running = select(DagRun.run_id).where(DagRun.dag_id == dag_id, DagRun.state == "running")
    return session.scalar(running.order_by(DagRun.start_date, DagRun.id).limit(1))


def _select_current_xcoms(*columns: Any) -> Select[Any]:
    """A query of the current XCom values; each row has `columns`, then the value."""
    return select(*columns, XComModel.value).join(TaskInstance, SAME_TASK_INSTANCE).where(_IS_CURRENT)


def read_xcoms_of_runs(
    session: Session, runs: Sequence[Run], keys: Collection[str], task_id: str | None = None
) -> dict[int, list[tuple[str, Any]]]:
    """The XComs with these keys, of one task or of any, by `dag_run_id`: key and value; without runs that have none.

    One query for all runs.
    """
    if not runs:
        return {}
    conditions: list[Any] = [
        XComModel.dag_run_id.in_([run.dag_run_id for run in runs]),
        XComModel.key.in_(keys),
    ]
    if task_id is not None:
        conditions += [XComModel.task_id == task_id, XComModel.map_index == -1]
    values: dict[int, list[tuple[str, Any]]] = {}
    for dag_run_id, key, value in session.execute(
        _select_current_xcoms(XComModel.dag_run_id, XComModel.key).where(*conditions)
    ):
        values.setdefault(dag_run_id, []).append((key, parse_xcom_value(value)))
    return values


def read_xcoms(
    session: Session, run: Run, task_keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Any]:
    """XComs of a run's unmapped tasks: (task id, key) to value."""
    pairs = set(task_keys)
    found = session.execute(
        _select_current_xcoms(XComModel.task_id, XComModel.key).where(
            XComModel.dag_run_id == run.dag_run_id,
            XComModel.map_index == -1,
            XComModel.task_id.in_({task for task, _ in pairs}),
            XComModel.key.in_({key for _, key in pairs}),
        )
    )
    return {(task, key): parse_xcom_value(value) for task, key, value in found if (task, key) in pairs}


def read_mapped_xcoms(
    session: Session, run: Run, task_keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], dict[int, Any]]:
    """XComs of a run's tasks: (task id, key) to the values by map index, -1 of a task that is not mapped."""
    pairs = set(task_keys)
    found = session.execute(
        _select_current_xcoms(XComModel.task_id, XComModel.key, XComModel.map_index).where(
            XComModel.dag_run_id == run.dag_run_id,
            XComModel.task_id.in_({task for task, _ in pairs}),
            XComModel.key.in_({key for _, key in pairs}),
        )
    )
    values: dict[tuple[str, str], dict[int, Any]] = {}
    for task_id, key, index, value in found:
        if (task_id, key) in pairs:
            values.setdefault((task_id, key), {})[index] = parse_xcom_value(value)
    return values


def list_tasks(session: Session, run: Run) -> list[Task]:
    """The run's tasks in the order of the DAG; unknown tasks come last, by name."""
    instances = session.execute(
        select(
            TaskInstance.task_id, TaskInstance.state, TaskInstance.map_index, TaskInstance.start_date,
            TaskInstance.end_date, TaskInstance.try_number,
        ).where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
    )  # fmt: skip
    by_task: dict[str, list[Any]] = {}
    for each in instances:
        by_task.setdefault(each.task_id, []).append(each)
    known = [task_id for task_id in TASK_DOCS if task_id in by_task]
    ordered = [*known, *sorted(by_task.keys() - TASK_DOCS.keys())]
    return [_merge_instances(task_id, by_task[task_id]) for task_id in ordered]


#: A mapped task has the first of these states that one of its instances is in.
_STATE_PRIORITY = (
    "failed", "upstream_failed", "up_for_retry", "awaiting_input", "running", "deferred", "restarting", "queued",
    "scheduled", "removed",
)  # fmt: skip


def _merge_instances(task_id: str, instances: Sequence[Any]) -> Task:
    def loudness(each: Any) -> int:
        return _STATE_PRIORITY.index(each.state) if each.state in _STATE_PRIORITY else len(_STATE_PRIORITY)

    deciding = min(instances, key=loudness)
    started = [each.start_date for each in instances if each.start_date is not None]
    ended = [each.end_date for each in instances if each.end_date is not None]
    return Task(
        task_id=task_id,
        state=str(deciding.state or "waiting"),
        is_done=all(each.state in DONE_STATES for each in instances),
        map_index=deciding.map_index,
        started_at=min(started, default=None),
        ended_at=max(ended) if len(ended) == len(instances) else None,
        try_number=deciding.try_number,
        task_instance_count=len(instances),
    )


def parse_xcom_value(value: Any) -> Any:
    """A stored XCom, parsed; text that is not JSON, from a custom XCom backend, is returned unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
