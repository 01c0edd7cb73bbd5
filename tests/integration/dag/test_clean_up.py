"""The state of a run is the truth: what the teardown makes of the states of the other tasks."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from batch_inference.dag.tasks import clean_up
from batch_inference.dag.tasks.clean_up import RunFailedError, check_run_state, is_intended_skip
from batch_inference.planning.plan import Plan
from tests.unit.builders import plan

GOOD = {
    "plan": "success",
    "transform": "success",
    "publish": "success",
    "clean_up": "running",
}


def test_a_run_that_published_is_good() -> None:
    """Nothing is raised."""
    check_run_state(GOOD, is_skip_intended=False)


def test_a_held_run_says_so_and_one_that_failed_before_its_checks_says_what_failed() -> None:
    """After a clear, a `checks` that did not run again still has what it handed on before."""
    with pytest.raises(RunFailedError, match="the run is held"):
        check_run_state(
            {**GOOD, "checks": "failed", "publish": "upstream_failed"}, is_skip_intended=False, is_held=True
        )
    with pytest.raises(RunFailedError, match="await_transform is failed"):
        check_run_state(
            {**GOOD, "await_transform": "failed", "checks": "upstream_failed"},
            is_skip_intended=False,
            is_held=True,
        )


@pytest.mark.parametrize("state", ["failed", "upstream_failed"])
@pytest.mark.parametrize("task", ["plan", "transform", "checks", "publish"])
def test_a_failed_task_fails_the_run_and_is_named(task: str, state: str) -> None:
    """Also when the publishing itself went well."""
    with pytest.raises(RunFailedError, match=f"{task} is {state}"):
        check_run_state({**GOOD, task: state}, is_skip_intended=False)


@pytest.mark.parametrize("state", ["skipped", "removed", None])
def test_a_run_that_published_nothing_fails(state: str | None) -> None:
    """A run marked failed leaves its later tasks skipped; that is no success."""
    with pytest.raises(RunFailedError, match="published nothing"):
        check_run_state({**GOOD, "publish": state}, is_skip_intended=False)


def test_a_run_that_was_meant_to_publish_nothing_is_good() -> None:
    """An empty night, and a dry run."""
    check_run_state({**GOOD, "publish": "skipped"}, is_skip_intended=True)


@pytest.mark.parametrize("removal", [None, ConnectionError("no answer")], ids=["removed", "removal fails"])
@pytest.mark.parametrize("state", ["success", "skipped", "failed"])
def test_a_run_that_has_published_is_reported_whatever_else_fails(
    monkeypatch: pytest.MonkeyPatch, state: str, removal: Exception | None
) -> None:
    """And jobs are stopped before it is."""
    done: list[str] = []

    def remove(*_: Any, **__: Any) -> list[str]:
        done.append("removed")
        if removal:
            raise removal
        return ["job"]

    def report(*_: Any, **__: Any) -> dict[str, str]:
        done.append("reported")
        return {"report_json": "there"}

    monkeypatch.setattr(clean_up, "clean_up_run", remove)
    monkeypatch.setattr(clean_up, "write_report", report)
    monkeypatch.setattr(clean_up, "pull_plan", lambda _: RUN)
    ti = SimpleNamespace(
        dag_id="churn",
        get_task_states=lambda **_: {"r1": {**GOOD, "publish": state}},
        xcom_pull=lambda *_, **__: None,
    )
    expected = removal or (RunFailedError() if state != "success" else None)
    with pytest.raises(type(expected)) if expected else nullcontext():
        result = clean_up.clean_up(
            "churn", aws_conn_id="aws_default", region=None, ti=ti, dag_run=SimpleNamespace(run_id="r1")
        )
        assert result == {"removed": ["job"], "report_json": "there"}
    assert done == (["removed", "reported"] if state == "success" else ["removed"])


RUN = plan()


@pytest.mark.parametrize(
    ("planned", "facts", "expected"),
    [
        (None, None, False),
        (RUN.model_copy(update={"empty": True}), None, True),
        (RUN.model_copy(update={"dry_run": True}), None, True),
        (RUN.model_copy(update={"unchanged_since": "nightly-1"}), None, True),
        (RUN, None, False),
        (RUN, {"records_in": 0}, True),
        (RUN, {"records_in": 5}, False),
    ],
)
def test_only_a_dry_run_and_an_empty_or_unchanged_input_skip_on_purpose(
    planned: Plan | None, facts: dict, expected: bool
) -> None:
    """Everything else that skips is an accident."""
    assert is_intended_skip(planned, facts) is expected
