"""The state of a run is the truth: what the teardown makes of the states and failures of the other tasks."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from batch_inference.dag.tasks import clean_up
from batch_inference.dag.tasks.clean_up import RunFailedError, judge_run
from batch_inference.planning.plan import Plan
from batch_inference.publishing.claims import OvertakenError
from batch_inference.run.failures import Failure
from batch_inference.run.outcomes import OUTCOME_KEY, OutcomeKind, RunOutcome, parse_outcome
from sagemaker_jobs import airflow_compat
from tests.unit.builders import plan

GOOD = {"plan": "success", "transform": "success", "publish": "success"}
RUN = plan()
DUE = datetime(2026, 1, 31, 6, tzinfo=UTC)
STATS = {"records_in": 5, "rejected": {"range": 2}, "nonce": RUN.nonce}


def failure(task_id: str, headline: str = "it broke", **fields: Any) -> Failure:
    """A failure of one task."""
    known = {"try_number": 3, "at": 100.0, "error": "PlanError", "message": headline}
    return Failure.model_validate({"task_id": task_id, "headline": headline, **known, **fields})


def judge(states: dict[str, str | None], *failures: Failure, planned: Plan | None = RUN, **facts: Any) -> Any:
    """The outcome of a run."""
    facts = {"shard_stats": None, "is_held": False, **facts}
    return judge_run(planned, states, failures, **facts)


@pytest.mark.parametrize(
    ("states", "planned", "stats", "kind"),
    [
        (GOOD, RUN, STATS, "published"),
        ({**GOOD, "publish": "skipped"}, RUN.model_copy(update={"dry_run": True}), None, "plan_only"),
        ({**GOOD, "publish": "skipped"}, RUN.model_copy(update={"empty": True}), None, "empty"),
        ({**GOOD, "publish": "skipped"}, RUN, {**STATS, "records_in": 0, "rejected": {}}, "empty"),
        ({**GOOD, "publish": "skipped"}, RUN.model_copy(update={"unchanged_since": "r0"}), None, "unchanged"),
        # A run marked failed leaves its later tasks skipped; that is no success.
        ({**GOOD, "publish": "skipped"}, RUN, STATS, "failed"),
        ({**GOOD, "publish": "removed"}, RUN, STATS, "failed"),
        ({"plan": "success"}, RUN, STATS, "failed"),
        ({"plan": "success", "publish": "upstream_failed"}, RUN, STATS, "failed"),
        ({**GOOD, "publish": "skipped"}, None, None, "failed"),
    ],
)
def test_a_run_that_was_meant_to_publish_nothing_has_not_failed(
    states: dict[str, str | None], planned: Plan | None, stats: dict[str, Any] | None, kind: OutcomeKind
) -> None:
    """A dry run, an empty or unchanged input; everything else that skips is an accident."""
    outcome = judge(states, planned=planned, shard_stats=stats)
    assert outcome.kind == kind
    assert parse_outcome(outcome.to_xcom()) == outcome


@pytest.mark.parametrize(
    ("states", "records", "deadline"),
    [(GOOD, 5, DUE), ({**GOOD, "publish": "skipped"}, 0, None), ({**GOOD, "transform": "failed"}, 5, DUE)],
)
def test_a_run_without_records_has_no_deadline(
    states: dict[str, str | None], records: int, deadline: datetime | None
) -> None:
    """Nobody waits for what it publishes."""
    stats = {**STATS, "records_in": records, "rejected": {}}
    planned = RUN.model_copy(update={"due": DUE})
    assert judge(states, planned=planned, shard_stats=stats).deadline == deadline


def test_the_task_that_failed_first_is_named_with_its_reason_and_what_to_do() -> None:
    """By time, not by name; what was only blocked is not named."""
    states = {
        "plan": "success",
        "await_transform_0": "failed",
        "await_transform_1": "failed",
        "checks": "upstream_failed",
    }
    later = failure("await_transform", "the second", map_index=0, at=200.0)
    first = failure("await_transform", "the first", map_index=1, advice="mend the model")
    outcome = judge(states, later, first, shard_stats=STATS)
    assert (outcome.kind, outcome.failed_task) == ("failed", "await_transform_1")
    assert (outcome.headline, outcome.advice) == ("the first", "mend the model")
    assert outcome.records == {"in": 5, "rejected": 2, "scored": None}
    assert str(RunFailedError(outcome)) == "`await_transform_1` failed: the first\nWhat to do: mend the model"


@pytest.mark.parametrize("task", ["plan", "transform", "checks", "publish"])
def test_a_task_that_was_killed_is_named_and_said_to_have_no_error(task: str) -> None:
    """A failure of an earlier try does not stand for it, nor does that of a task after it."""
    states = {**GOOD, task: "failed", "clean_up_": "failed"}
    outcome = judge(states, failure("calibrate"), failure("join"))
    assert outcome.failed_task == task
    assert f"`{task}` ended without an error: its process was killed" in outcome.headline


def test_only_the_gates_of_this_run_hold_it() -> None:
    """After a clear, a `checks` that did not run again still has what it handed on before."""
    states = {**GOOD, "checks": "failed", "publish": "upstream_failed"}
    held = judge(states, failure("checks", "the run is held: mean"), is_held=True)
    assert (held.kind, held.headline) == ("held", "the run is held: mean")
    states = {**GOOD, "await_transform": "failed", "checks": "upstream_failed"}
    assert judge(states, failure("await_transform"), is_held=True).kind == "failed"


REPORTED = {
    "warnings": ["Few rows."],
    "data_time": "2026-01-05T00:00:00Z", "records": {"in": 5, "rejected": 2, "scored": 3}, "seconds": 60.0,
    "billed_seconds": 30.0, "dollars": 0.1, "report_json": "s3://there", "report_html": "s3://here",
}  # fmt: skip


@pytest.mark.parametrize("costs", [0.5, None], ids=["counted", "counting fails"])
@pytest.mark.parametrize("removal", [None, ConnectionError("no answer")], ids=["removed", "removal fails"])
@pytest.mark.parametrize("state", ["success", "skipped", "failed"])
def test_a_run_that_has_published_is_reported_whatever_else_fails(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    state: str,
    removal: Exception | None,
    costs: float | None,
) -> None:
    """And jobs are stopped before it is; the outcome of every run is pushed, and the culprit is in the log."""
    done: list[str] = []

    def remove(*_: Any, **__: Any) -> list[str]:
        done.append("removed")
        if removal:
            raise removal
        return ["job"]

    def report(*_: Any, **__: Any) -> dict[str, Any]:
        done.append("reported")
        return REPORTED

    def count(outcome: RunOutcome, *_: Any, **__: Any) -> RunOutcome:
        assert OUTCOME_KEY in pushed, "the outcome was not pushed before its costs were waited for"
        done.append("counted")
        if costs is None:
            raise ConnectionError("no answer")
        return outcome.model_copy(update={"dollars": costs})

    def notify(*_: Any) -> None:
        assert "counted" in done, "a notifier may hang, and the outcome has no costs"

    monkeypatch.setattr(clean_up, "notify_of_late_end", notify)
    monkeypatch.setattr(clean_up, "clean_up_run", remove)
    monkeypatch.setattr(clean_up, "write_report", report)
    monkeypatch.setattr(clean_up, "pull_plan", lambda _: RUN)
    monkeypatch.setattr(clean_up, "record_run_costs", count)
    pulled: dict[Any, Any] = {
        "publish": {"rows": 3, "output_uri": "s3://out/"},
        ("publish",): [failure("publish", "the output is taken").to_xcom()],
    }
    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(
        dag_id="churn",
        get_task_states=lambda **_: {"r1": {**GOOD, "publish": state, "clean_up": "running"}},
        xcom_pull=lambda task, **_: pulled.get(tuple(task) if isinstance(task, list) else task),
        xcom_push=lambda key, value: pushed.update({key: value}),
    )
    failed = type(None) if state == "success" else RunFailedError
    expected = ConnectionError if removal else failed
    with pytest.raises(expected) if expected is not type(None) else nullcontext():
        result = clean_up.clean_up(
            "churn", aws_conn_id="aws_default", region=None, runs_prefix="s3://work/churn/", ti=ti,
            dag_run=SimpleNamespace(run_id="r1"),
        )  # fmt: skip
        assert result == {"removed": ["job"], **REPORTED}
    assert done == ["removed", *["reported"] * (state == "success"), "counted"]
    outcome = parse_outcome(pushed[OUTCOME_KEY])
    assert outcome is not None
    assert (outcome.kind, outcome.published_rows) == (
        ("published", 3) if state == "success" else ("failed", None)
    )
    if state == "success":
        assert outcome.dollars == (0.1 if costs is None else costs)
        assert outcome.records == {"in": 5, "rejected": 2, "scored": 3}
        assert outcome.headline == "Published 3 rows at s3://out/"
        assert outcome.warnings == ("Few rows.",)
    if state == "failed":
        assert outcome.headline == "the output is taken"
        # Else the error says it, which is logged when it leaves the task.
        assert ("the output is taken" in caplog.text) is bool(removal)


class Ending:
    """A `clean_up` whose parts note that they were called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, publish: str = "success") -> None:
        self.done: list[str] = []
        self.pushed: dict[str, Any] = {}
        self.states = {**GOOD, "publish": publish, "clean_up": "running"}
        self.ti = SimpleNamespace(
            dag_id="churn",
            get_task_states=lambda **_: {"r1": self.states},
            xcom_pull=lambda task, **_: {"rows": 3, "output_uri": "s3://o/"} if task == "publish" else None,
            xcom_push=lambda key, value: self.pushed.update({key: value}),
        )

        def note(name: str, value: Any) -> Any:
            return lambda *_, **__: (self.done.append(name), value)[1]

        monkeypatch.setattr(clean_up, "clean_up_run", note("removed", ["job"]))
        monkeypatch.setattr(clean_up, "write_report", note("reported", REPORTED))
        monkeypatch.setattr(clean_up, "pull_plan", lambda _: RUN)
        monkeypatch.setattr(clean_up, "notify_of_late_end", note("notified", None))
        monkeypatch.setattr(
            clean_up, "record_run_costs", lambda outcome, *_, **__: note("counted", outcome)()
        )

    def run(self) -> Any:
        """What `clean_up` returns."""
        return clean_up.clean_up(
            "churn", aws_conn_id="aws_default", region=None, runs_prefix="s3://work/churn/", ti=self.ti,
            dag_run=SimpleNamespace(run_id="r1"),
        )  # fmt: skip


def fail_with(error: Exception) -> Any:
    """A function that raises."""

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("publish", ["success", "failed"])
def test_an_outcome_that_cannot_be_pushed_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, publish: str
) -> None:
    """A good run stays good, a failed one says why, and both are counted."""
    ending = Ending(monkeypatch, publish=publish)
    ending.ti.xcom_push = fail_with(ConnectionError("the API does not answer"))
    with pytest.raises(RunFailedError) if publish == "failed" else nullcontext():
        ending.run()
    assert ending.done[-2:] == ["counted", "notified"]
    assert "could not be pushed to XCom" in caplog.text


def test_a_run_that_is_to_publish_nothing_has_no_late_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ending = Ending(monkeypatch, publish="skipped")
    monkeypatch.setattr(clean_up, "pull_plan", lambda _: RUN.model_copy(update={"empty": True}))
    ending.run()
    assert ending.done == ["removed", "counted"]


@pytest.mark.parametrize("broken", ["pull_plan", "pull_failures", "judge_run"])
def test_jobs_are_removed_where_nobody_knows_how_the_run_ended(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """The error is raised, so that Airflow tries again; until then the run counts as failed."""
    ending = Ending(monkeypatch)
    monkeypatch.setattr(clean_up, broken, fail_with(ValueError("bad \udcff value")))
    with pytest.raises(ValueError, match="bad"):
        ending.run()
    assert ending.done == ["removed", "counted", "notified"]
    outcome = parse_outcome(ending.pushed[OUTCOME_KEY])
    assert outcome is not None
    assert (outcome.kind, outcome.headline) == (
        "failed",
        "How the run ended is not known: ValueError: bad ? value",
    )


def test_a_process_that_airflow_has_lost_says_and_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its successor has written the report, and may have counted more jobs."""
    ending = Ending(monkeypatch)
    monkeypatch.setattr(clean_up, "write_report", fail_with(OvertakenError("another process has written it")))
    with pytest.raises(OvertakenError):
        ending.run()
    assert (ending.done, ending.pushed) == (["removed"], {})


def test_secrets_are_masked_in_the_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """XCom is not masked by Airflow."""
    import_module(airflow_compat.redact.__module__).mask_secret("s3cr3t-value")
    ending = Ending(monkeypatch, publish="failed")
    broken = failure("publish", "no login with s3cr3t-value").to_xcom()
    ending.ti.xcom_pull = lambda task, **_: [broken] if isinstance(task, list) else None
    with pytest.raises(RunFailedError):
        ending.run()
    assert ending.pushed[OUTCOME_KEY]["headline"] == "no login with ***"
