"""How a run ended: the value that `clean_up` pushes to XCom for every run, which lists of runs show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.run.failures import Failure
from batch_inference.run.task_ids import TASK_ORDER, get_task_position

#: XCom key of a run's RunOutcome, pushed by `clean_up`.
OUTCOME_KEY = "outcome"

#: Published, or meant to end without output: only planned, an empty input, unchanged since the last run; or else held
#: by a gate, or failed.
OutcomeKind = Literal["published", "plan_only", "empty", "unchanged", "held", "failed"]
#: Runs that end without output, as they should: they are never late.
QUIET_KINDS = frozenset({"plan_only", "empty", "unchanged"})


class RunOutcome(FrozenModel):
    """How a run ended, and its figures.

    Attributes:
        data_time: of the run's plan, ISO 8601; None without a plan.
        failed_task: the task that failed first, with its map index if it has one (`join_3`).
        headline: one sentence: what was published, or what failed and why.
        advice: what to do; None where nothing is to be done, or nothing more is known.
        records: `in`, `rejected` and `scored`; None before preprocessing has ended.
        seconds: from the start of the first job to the end of the last.
        billed_seconds, idle_seconds, dollars: of all jobs of the run, failed ones too.
        expected_seconds, expected_dollars: the plan's estimate.
        deadline: when the run is late, by its plan.

    Figures that are not known are None.
    """

    version: Literal[1] = 1
    kind: OutcomeKind
    data_time: str | None = None
    failed_task: str | None = None
    headline: str
    advice: str | None = None
    warnings: tuple[str, ...] = ()
    records: dict[str, int | None] | None = None
    published_rows: int | None = None
    seconds: float | None = None
    billed_seconds: float | None = None
    idle_seconds: float | None = None
    dollars: float | None = None
    expected_seconds: float | None = None
    expected_dollars: float | None = None
    deadline: datetime | None = None
    report_json: str | None = None
    report_html: str | None = None

    @property
    def is_unsuccessful(self) -> bool:
        """Whether the run failed or is held, so that `headline` and `advice` are about that."""
        return self.kind in ("failed", "held")

    def to_xcom(self) -> dict[str, Any]:
        """The outcome as a JSON-safe dict."""
        return self.model_dump(mode="json")


def parse_outcome(xcom_value: Any) -> RunOutcome | None:
    """The RunOutcome in an XCom value; None for any other value."""
    if not isinstance(xcom_value, Mapping):
        return None
    try:
        return RunOutcome.model_validate(xcom_value)
    except ValidationError:
        return None


def parse_due_time(plan: Any) -> datetime | None:
    """When the run of a plan, as JSON, is late; None without a deadline, for a run that publishes nothing, and for
    any other value.

    A plan of an earlier version has `deadline` alone.
    """
    if not isinstance(plan, Mapping) or any(
        plan.get(name) for name in ("dry_run", "empty", "unchanged_since")
    ):
        return None
    text = plan.get("due") or plan.get("deadline")
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def find_first_failure(
    states: Mapping[str, str | None], failures: Iterable[Failure]
) -> tuple[str, Failure | None] | None:
    """The task instance that failed first, `join_3` for a mapped one, with its failure; None when none has failed.

    The first by time; one without a failure has no time, and comes first where it is earlier in the DAG: its process
    was killed, or its worker was lost, or somebody marked it. `states` are Airflow's, by task instance.
    """
    failed = {task: state for task, state in states.items() if state == "failed"}
    known = {name: each for each in failures if (name := name_task_instance(each)) in failed}
    reported = min(known, key=lambda name: known[name].at, default=None)
    unreported = min(failed.keys() - known.keys(), key=get_task_position, default=None)
    if unreported is not None and (
        reported is None or get_task_position(unreported)[0] < get_task_position(reported)[0]
    ):
        return unreported, None
    return None if reported is None else (reported, known[reported])


def name_task_instance(failure: Failure) -> str:
    """The task id, with the map index of a mapped task, as Airflow's states name it."""
    return failure.task_id if failure.map_index < 0 else f"{failure.task_id}_{failure.map_index}"


def list_failed_task_ids(states: Mapping[str, str | None]) -> list[str]:
    """The ids of the tasks of which an instance has failed, in execution order."""
    positions = {get_task_position(task)[0] for task, state in states.items() if state == "failed"}
    return [task_id for at, task_id in enumerate(TASK_ORDER) if at in positions]
