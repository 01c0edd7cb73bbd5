"""Builds the rows of the lists: each pipeline with its state and its last runs, each run with how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from batch_inference.common.formatting import format_count, format_duration, format_share
from batch_inference.reporting.summary import parse_summary
from batch_inference.run.failures import FAILURE_KEY, Failure, parse_failure
from batch_inference.run.outcomes import OUTCOME_KEY, QUIET_KINDS, RunOutcome, parse_due_time, parse_outcome
from batch_inference.run.task_ids import CLEAN_UP, PLAN
from batch_inference.verification.rejects import is_share_warned
from batch_runs.airflow_state import (
    FileError,
    PipelineDag,
    Run,
    list_dags_of_files,
    list_latest_runs,
    read_xcoms_of_runs,
)

#: Number of runs in the bars and in the plots of a pipeline.
LAST_RUN_COUNT = 30
RETURN_VALUE = "return_value"
#: What is said of a failed run of which neither `clean_up` nor a task says why it failed.
NO_REASON = (
    "No task has left a reason: somebody marked the run as failed, or a process was killed or lost. "
    "The logs of its tasks in Airflow may say more."
)
#: The words for the kind of a run.
KIND_WORDS = {
    "published": "published", "plan_only": "plan only", "empty": "empty input", "unchanged": "unchanged",
    "held": "held", "failed": "failed", "running": "running", "queued": "queued", "no_output": "no output",
}  # fmt: skip
#: States of a pipeline that need a look, the first ones first, then the others; a pipeline may be in several.
STATES = (
    "file wrong", "failed", "held", "late", "warning", "empty input", "running", "queued", "gone", "paused",
    "never run", "well",
)  # fmt: skip
#: The words for the types of runs in Airflow's database.
TRIGGERS = {
    "scheduled": "schedule", "manual": "by hand", "backfill": "backfill", "asset_triggered": "asset",
    "asset_materialization": "asset", "operator_triggered": "another DAG",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run and how it ended, or what is known of it so far.

    `outcome` is that of `clean_up`, once the run has ended; a run of an older version has only a `summary` of its
    report. `failure` is that of a task, where the run goes on or its outcome does not say why it failed; `deadline`
    that of its plan.
    """

    run: Run
    outcome: RunOutcome | None = None
    summary: Mapping[str, Any] | None = None
    failure: Failure | None = None
    deadline: datetime | None = None

    @property
    def kind(self) -> str:
        """A key of `KIND_WORDS`."""
        if not self.run.has_ended:
            return "queued" if self.run.state == "queued" else "running"
        # A run whose state a person has set is what they say.
        if self.run.state == "failed":
            return "held" if self.outcome is not None and self.outcome.kind == "held" else "failed"
        if self.outcome is not None and not self.outcome.is_unsuccessful:
            return self.outcome.kind
        return "no_output" if self.summary is None else "published"

    @property
    def words(self) -> str:
        """The kind of the run in words."""
        return KIND_WORDS[self.kind]

    @property
    def is_quiet(self) -> bool:
        """Whether the run was meant to end without output."""
        return self.kind in QUIET_KINDS

    @property
    def headline(self) -> str | None:
        """Why the run failed or is held, or why a task of it failed that is tried again; None for other runs."""
        if self.kind in ("failed", "held"):
            if self.outcome is not None and self.outcome.is_unsuccessful:
                return self.outcome.headline
            if self.failure is not None:
                return f"{self.failure.task_id}: {self.failure.headline}"
            return NO_REASON
        if self.kind == "running" and self.failure is not None:
            again = "is tried again" if self.failure.will_retry else "failed"
            return f"{self.failure.task_id} {again}: {self.failure.headline}"
        return None

    @property
    def outcome_text(self) -> str:
        """What came of the run, and what to do; the words for its kind where no outcome says more."""
        if self.outcome is None:
            return self.words
        return " ".join(filter(None, (self.outcome.headline, self.outcome.advice)))

    @property
    def advice(self) -> str | None:
        """What to do about a run that failed; None where nothing is known."""
        if self.kind not in ("failed", "held"):
            return None
        told = self.outcome if self.outcome is not None and self.outcome.is_unsuccessful else self.failure
        return None if told is None else told.advice

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about a run that published."""
        if self.kind != "published":
            return ()
        if self.outcome is not None and self.outcome.warnings:
            return self.outcome.warnings
        if not self.has_many_rejects:
            return ()
        records = format_count((self.records or {}).get("in") or 0, "record")
        return (f"{format_share(self.rejected_share or 0)} of {records} were rejected.",)

    @property
    def records(self) -> Mapping[str, int | None] | None:
        """`in`, `rejected` and `scored`; None where they are not known."""
        if self.outcome is not None:
            return self.outcome.records
        return None if self.summary is None else self.summary["records"]

    @property
    def rejected_share(self) -> float | None:
        """The share of the input records that was rejected."""
        records = self.records
        if records is None or not records.get("in") or records.get("rejected") is None:
            return None
        return (records["rejected"] or 0) / (records["in"] or 1)

    @property
    def has_many_rejects(self) -> bool:
        """Whether the rejected share is shown in the colour of a warning, see `is_share_warned`."""
        records = self.records or {}
        return is_share_warned(records.get("rejected") or 0, records.get("in") or 0)

    @property
    def dollars(self) -> float | None:
        """What the jobs of the run cost; None where it is not known."""
        dollars: float | None = self.get_figure("dollars")
        return dollars

    @property
    def is_priced(self) -> bool:
        """Whether the run has ended and says what it cost, be it that a price is unknown."""
        return self.outcome is not None or self.summary is not None

    @property
    def expected_seconds(self) -> float | None:
        """The plan's estimate of the time of the run's jobs."""
        return None if self.outcome is None or self.is_quiet else self.outcome.expected_seconds

    @property
    def expected_dollars(self) -> float | None:
        """The plan's estimate of the cost."""
        return None if self.outcome is None or self.is_quiet else self.outcome.expected_dollars

    def describe_delay(self, now: datetime) -> str | None:
        """What is to be said of a run that is late; None for one that is not."""
        if self.deadline is None or not self.is_late(now):
            return None
        late = format_duration(((self.run.ended_at or now) - self.deadline).total_seconds())
        at = f"its deadline, {self.deadline.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        return f"Ended {late} after {at}." if self.run.has_ended else f"Goes on {late} after {at}."

    def is_late(self, now: datetime) -> bool:
        """Whether the run ended after its deadline, or goes on after it."""
        return self.deadline is not None and (self.run.ended_at or now) > self.deadline

    def get_figure(self, name: str) -> Any:
        """A figure that outcomes and summaries both have; None where it is not known."""
        if self.outcome is not None:
            return getattr(self.outcome, name)
        return None if self.summary is None else self.summary[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One run among a pipeline's last ones: its place, height from 0 to 1, kind and what it says.

    `is_marked` is one that was late, or published with warnings.
    """

    run: Run
    place: int
    height: float
    kind: str
    is_marked: bool
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRow:
    """A pipeline and its last runs, newest first.

    `active` is the run that goes on, else the oldest that waits; `queued_count` the number of others that wait. `last`
    is the newest that has ended and was meant to have output, and `quiet` the ones since then. `delay` is said of a run
    that is late, `file_error` of a file that is wrong.
    """

    dag: PipelineDag
    active: RunRow | None
    queued_count: int
    last: RunRow | None
    bars: Sequence[Bar]
    quiet: Sequence[RunRow]
    delay: str | None
    states: tuple[str, ...]
    file_error: str | None

    @property
    def state(self) -> str:
        """The state that needs a look first."""
        return self.states[0]

    @property
    def quiet_words(self) -> str:
        """The runs without output since the last one: `then 2 unchanged, 1 plan only`."""
        numbers = Counter(row.words for row in self.quiet)
        return (
            f"then {', '.join(f'{number} {words}' for words, number in numbers.items())}" if numbers else ""
        )

    @property
    def notes(self) -> list[tuple[RunRow, str]]:
        """What is odd about the newest runs beside the reasons of those that failed."""
        last = [] if self.last is None else [(self.last, text) for text in self.last.warnings]
        empty = _find_empty(self.quiet)
        return last if empty is None else [*last, (empty, empty.outcome_text)]

    @property
    def reasons(self) -> list[RunRow]:
        """The runs that say why they failed, or why a task of theirs is tried again."""
        return [row for row in (self.last, self.active) if row is not None and row.headline]


def load_run_rows(
    session: Session, runs: Sequence[Run], *, explained: Collection[int] | None = None
) -> list[RunRow]:
    """The runs with how they ended: at most three queries, however many runs.

    Why a task failed is read where `clean_up` does not say it, and only for the `explained` runs, by `dag_run_id`, or
    all.
    """
    # Of a cleared run that goes on, Airflow keeps what `clean_up` said of the attempt before.
    ended = [run for run in runs if run.has_ended]
    told = read_xcoms_of_runs(session, ended, (OUTCOME_KEY, RETURN_VALUE), CLEAN_UP)
    rows: dict[int, dict[str, Any]] = {}
    for run in runs:
        values = dict(told.get(run.dag_run_id, ()))
        outcome = parse_outcome(values.get(OUTCOME_KEY))
        summary = None if outcome is not None else parse_summary(values.get(RETURN_VALUE))
        deadline = None if outcome is None else outcome.deadline
        rows[run.dag_run_id] = {"outcome": outcome, "summary": summary, "deadline": deadline}
    unexplained = [
        run
        for run in runs
        if run.state not in ("success", "queued")
        and not ((outcome := rows[run.dag_run_id]["outcome"]) is not None and outcome.is_unsuccessful)
        and (explained is None or run.dag_run_id in explained)
    ]
    for dag_run_id, failures in read_xcoms_of_runs(session, unexplained, (FAILURE_KEY,)).items():
        rows[dag_run_id]["failure"] = _choose_failure([value for _, value in failures])
    active = [run for run in runs if not run.has_ended]
    for dag_run_id, plans in read_xcoms_of_runs(session, active, (RETURN_VALUE,), PLAN).items():
        rows[dag_run_id]["deadline"] = parse_due_time(plans[0][1])
    return [RunRow(run=run, **rows[run.dag_run_id]) for run in runs]


def _choose_failure(values: Sequence[Any]) -> Failure | None:
    """The first failure that is final, else the first that is tried again."""
    failures = [failure for value in values if (failure := parse_failure(value)) is not None]
    return min(failures, key=lambda failure: (failure.will_retry, failure.at), default=None)


def load_pipeline_rows(
    session: Session, dags: Sequence[PipelineDag], file_errors: Mapping[str, str]
) -> list[PipelineRow]:
    """One row for each of the DAGs, those that need a look first; `file_errors` by DAG id."""
    now = datetime.now(UTC)
    latest = list_latest_runs(session, [dag.dag_id for dag in dags], limit=LAST_RUN_COUNT)
    runs = [run for of_dag in latest.values() for run in of_dag]
    # The row of a pipeline explains its last run only; that is one of the newest few that are not quiet.
    shown = {run.dag_run_id for of_dag in latest.values() for run in _list_unsuccessful(of_dag)}
    rows: dict[str, list[RunRow]] = {}
    for row in load_run_rows(session, runs, explained=shown):
        rows.setdefault(row.run.dag_id, []).append(row)
    built = [
        build_pipeline_row(dag, rows.get(dag.dag_id, []), file_errors.get(dag.dag_id), now) for dag in dags
    ]
    return sorted(built, key=lambda row: (STATES.index(row.state), row.dag.dag_id))


def _list_unsuccessful(runs: Sequence[Run]) -> list[Run]:
    """The runs that go on, and the newest that failed."""
    failed = [run for run in runs if run.state == "failed"]
    return [*(run for run in runs if not run.has_ended), *failed[:1]]


def build_pipeline_row(
    dag: PipelineDag, rows: Sequence[RunRow], file_error: str | None, now: datetime
) -> PipelineRow:
    """The row of a pipeline with these last runs, newest first."""
    # A run that goes on comes before those that wait for it, the oldest of which is the next.
    going_on = [row for row in rows if not row.run.has_ended]
    active = next((row for row in going_on if row.kind == "running"), going_on[-1] if going_on else None)
    ended = [row for row in rows if row.run.has_ended]
    place = next((number for number, row in enumerate(ended) if not row.is_quiet), None)
    last = None if place is None else ended[place]
    quiet = ended if place is None else ended[:place]
    # That the run before was late is of no use while the next one goes on.
    newest = active or last
    return PipelineRow(
        dag=dag,
        active=active,
        queued_count=sum(row.kind == "queued" for row in going_on if row is not active),
        last=last,
        bars=build_bars(rows, now),
        quiet=quiet,
        delay=None if newest is None else newest.describe_delay(now),
        states=_list_states(
            dag,
            active,
            last,
            has_queued=any(row.kind == "queued" for row in going_on),
            has_run=bool(rows),
            is_wrong=file_error is not None,
            is_late=newest is not None and newest.is_late(now),
            is_empty=_find_empty(quiet) is not None,
        ),
        file_error=file_error,
    )


def _find_empty(quiet: Sequence[RunRow]) -> RunRow | None:
    """The newest of these runs without output, if its input was empty; those that were planned only do not count."""
    newest = next((row for row in quiet if row.kind != "plan_only"), None)
    return newest if newest is not None and newest.kind == "empty" else None


def _list_states(
    dag: PipelineDag,
    active: RunRow | None,
    last: RunRow | None,
    *,
    has_queued: bool,
    has_run: bool,
    is_wrong: bool,
    is_late: bool,
    is_empty: bool,
) -> tuple[str, ...]:
    """The states of a pipeline, in the order of `STATES`."""
    is_in = {
        "file wrong": is_wrong,
        "failed": last is not None and last.kind == "failed",
        "held": last is not None and last.kind == "held",
        "late": is_late,
        "warning": last is not None and bool(last.warnings),
        "empty input": is_empty,
        "running": active is not None and active.kind == "running",
        "queued": has_queued,
        "gone": dag.is_gone and not is_wrong,
        "paused": dag.is_paused,
        "never run": not has_run,
    }
    states = tuple(state for state in STATES if is_in.get(state))
    return states if set(states) - {"paused"} else (*states, "well")


def describe_file_errors(
    session: Session,
    dags: Sequence[PipelineDag],
    filter_readable: Callable[[Iterable[str]], Collection[str]],
) -> dict[str, str]:
    """By id of the DAGs whose file is wrong, what is wrong with it; `dags` are those that the user may read.

    The error of a DAG file may name any of its DAGs. So, as in Airflow's UI, only who may read all of them sees it.
    """
    wrong = {dag.dag_id: dag.file_error for dag in dags if dag.file_error is not None}
    shared = {(each.bundle_name, each.file) for each in wrong.values() if not each.is_of_pipeline}
    dags_of_files = list_dags_of_files(session, shared)
    readable = set(filter_readable(set().union(*dags_of_files.values()))) if dags_of_files else set()
    messages = {}
    for dag_id, error in wrong.items():
        if error.is_of_pipeline or dags_of_files.get((error.bundle_name, error.file), set()) <= readable:
            messages[dag_id] = error.message
        else:
            messages[dag_id] = (
                f"Airflow cannot parse {error.file}. The error is not shown, as you may not read all DAGs of this file."
            )
    return messages


def list_files_without_dag(file_errors: Sequence[FileError], dag_ids: Collection[str]) -> list[FileError]:
    """The wrong pipeline files of which Airflow has no DAG, neither of the pipeline nor of its matrix; by file."""
    parents = {dag_id.rpartition(".")[0] for dag_id in dag_ids}
    return sorted(
        (
            error
            for error in file_errors
            if error.is_of_pipeline and error.pipeline_id not in dag_ids and error.pipeline_id not in parents
        ),
        key=lambda error: error.file,
    )


def count_states(rows: Sequence[PipelineRow]) -> dict[str, int]:
    """The number of pipelines in each state, in the order of `STATES`, without states that none is in."""
    counts = {state: sum(state in row.states for row in rows) for state in STATES}
    return {state: number for state, number in counts.items() if number}


def build_bars(rows: Sequence[RunRow], now: datetime) -> list[Bar]:
    """Bars of runs, given newest first, the oldest bar first; a bar is as high as its run was long.

    The highest is the longest run that published; others that took longer are cut.
    """
    durations = [row.run.duration_seconds or 0 for row in rows if row.kind == "published"]
    longest = max(durations, default=0) or max((row.run.duration_seconds or 0 for row in rows), default=0)
    return [
        Bar(
            run=row.run,
            place=place,
            height=_compute_height(row, longest, now),
            kind=row.kind,
            is_marked=row.is_late(now) or bool(row.warnings),
            title=describe_run(row, now),
        )
        for place, row in enumerate(reversed(rows))
    ]


#: The least height of a bar, so that it is seen: of a failed run, which may have ended at once, and of others.
_LEAST_HEIGHTS, _LEAST_HEIGHT = {"failed": 0.35, "held": 0.35}, 0.06
#: The height of a bar of a run that was to have no output, or that waits: its duration says nothing.
_QUIET_HEIGHT = 0.15


def _compute_height(row: RunRow, longest: float, now: datetime) -> float:
    if row.is_quiet or row.kind in ("no_output", "queued"):
        return _QUIET_HEIGHT
    seconds = row.run.duration_seconds
    if seconds is None and row.run.started_at is not None:
        seconds = (now - row.run.started_at).total_seconds()
    height = min((seconds or 0) / longest, 1.0) if longest else 0.0
    return max(height, _LEAST_HEIGHTS.get(row.kind, _LEAST_HEIGHT))


def describe_run(row: RunRow, now: datetime) -> str:
    """A run in a line: `2026-11-27 02:00 UTC: failed after 6 min 00 s. The column …`."""
    words = [row.words]
    if row.run.duration_seconds is not None:
        words.append(f"after {format_duration(row.run.duration_seconds)}")
    if row.records is not None and row.records.get("in") is not None:
        words.append(f"with {format_count(row.records['in'] or 0, 'record')}")
    if row.is_late(now):
        words.append("and late")
    reason = "".join(f". {each}" for each in (row.headline, *row.warnings) if each is not None)
    return f"{row.run.run_after:%Y-%m-%d %H:%M} UTC: {' '.join(words)}{reason}"


def describe_trigger(run: Run) -> str:
    """What or who started a run: `schedule`, `ana, by hand`."""
    how = TRIGGERS.get(run.run_type, run.run_type.replace("_", " "))
    return how if run.triggered_by is None or run.run_type == "scheduled" else f"{run.triggered_by}, {how}"


def build_trend_rows(rows: Sequence[RunRow]) -> list[Mapping[str, Any]]:
    """The figures of the runs that published, oldest first, for the plots: each with the run's own time and duration.

    The duration is Airflow's, from start to end, as in the lists; that of a summary covers only the jobs.
    """
    return [
        {
            "data_time": row.run.run_after.isoformat(),
            "seconds": row.run.duration_seconds,
            "records": row.records,
            "dollars": row.dollars,
            "billed_seconds": row.get_figure("billed_seconds"),
        }
        for row in reversed(rows)
        if row.kind == "published" and row.records is not None
    ]
