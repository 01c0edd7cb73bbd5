"""The task that asks a person: not asked within budget, and a run that is refused fails for good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
import yaml

from batch_inference.cli.laptop.run_dag import make_fail_at_once
from batch_inference.common.errors import PipelineError
from batch_inference.dag import approval
from batch_inference.dag.approval import BudgetApprovalOperator
from batch_inference.dag.pipeline_dags import build_scoring_dag
from sagemaker_jobs import airflow_compat
from sagemaker_jobs.airflow_compat import AirflowFailException
from tests.unit.builders import EXAMPLE
from tests.unit.planning.test_goals import GB, plan

TI_ID = UUID("01a20ea4-c7ee-7684-9381-cdb974b20853")
OVER = plan([GB] * 8, {"goals.on_over_budget": "approve"}, budget=0.1, can_ask=True).to_xcom()


class ParkedError(Exception):
    """What the provider's operator does once it has written the question down."""


def context(changes: dict[str, Any] | None = None) -> Any:
    """Of a task after a plan."""
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    made = {**OVER, "approve_by": in_an_hour, **(changes or {})}
    ti = SimpleNamespace(
        id=TI_ID, task_id="await_approval", map_index=-1, try_number=1, max_tries=2,
        xcom_pull=lambda task: made if task == "plan" else None, xcom_push=lambda **_: None,
    )  # fmt: skip
    return {"ti": ti}


class KeptQuestions:
    """In place of the task's supervisor: as Airflow's API, it keeps the first question of a task instance."""

    def __init__(self) -> None:
        self.first: Any = None

    def send(self, msg: Any) -> Any:
        """What is written down."""
        assert msg.ti_id == TI_ID
        self.first = self.first or msg
        return self.first


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[BudgetApprovalOperator]:
    """The operators that went on to ask."""
    found: list[BudgetApprovalOperator] = []

    def ask(self: BudgetApprovalOperator, _: Any) -> None:
        found.append(self)
        raise ParkedError

    monkeypatch.setattr(approval.ApprovalOperator, "execute", ask)
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", KeptQuestions(), raising=False
    )
    return found


def operator(**kwargs: Any) -> BudgetApprovalOperator:
    """The task of the chain."""
    return BudgetApprovalOperator(task_id="await_approval", pipeline="churn", **kwargs)


def test_a_run_within_its_budget_asks_nobody(asked: list[BudgetApprovalOperator]) -> None:
    assert operator().execute(context({"approval_reason": None, "approve_by": None})) is None
    assert asked == []


def test_a_plan_that_says_not_until_when_is_not_approved(asked: list[BudgetApprovalOperator]) -> None:
    with pytest.raises(AirflowFailException, match="the plan has no time by which to approve it"):
        operator().execute(context({"approve_by": None}))
    assert asked == []


def test_above_it_a_person_is_asked_with_the_plan_and_for_no_longer_than_it_allows(
    asked: list[BudgetApprovalOperator],
) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    with pytest.raises(ParkedError):
        operator().execute(context({"approve_by": until.isoformat()}))
    [task] = asked
    assert OVER["approval_reason"] in str(task.body)
    assert all(f"- {entry['text']}" in str(task.body) for entry in OVER["log"])
    assert task.subject == f"churn: a run above its budget, and waits until {until:%Y-%m-%d %H:%M} UTC"
    assert task.response_timeout is not None
    assert timedelta(minutes=59) < task.response_timeout <= timedelta(hours=1)


def test_nobody_approves_a_plan_by_the_question_about_an_earlier_one(
    asked: list[BudgetApprovalOperator],
) -> None:
    """A run that is cleared asks again, but Airflow shows the first question for ever; right for the same plan only."""
    for until in ("2126-01-31T08:00:00Z", "2126-01-31T09:30:00Z"):
        with pytest.raises(ParkedError):
            operator().execute(context({"approve_by": until}))
    costlier = {"approval_reason": "the budget is $1, and it costs $80", "approve_by": "2126-01-31T08:00:00Z"}
    with pytest.raises(
        AirflowFailException, match=r"it costs \$80, but this run has asked before.*start a new run"
    ):
        operator().execute(context(costlier))
    assert len(asked) == 2


def test_a_question_whose_time_is_over_is_not_asked(asked: list[BudgetApprovalOperator]) -> None:
    """A task that was cleared in the morning must not start last night's run."""
    with pytest.raises(AirflowFailException, match=r"nobody approved by 2026.*nothing was spent"):
        operator().execute(context({"approve_by": "2026-01-31T08:00:00Z"}))
    assert asked == []


def test_no_answer_and_a_rejection_fail_the_run_for_good_and_say_so() -> None:
    answer = {
        "chosen_options": ["Reject"],
        "params_input": {},
        "responded_at": datetime.now(UTC),
        "responded_by_user": {"id": "1", "name": "Ada"},
    }
    with pytest.raises(
        AirflowFailException, match=r"rejected by Ada: the budget is \$0.10.*nothing was spent"
    ):
        operator().execute_complete(context(), answer)
    with pytest.raises(AirflowFailException, match="nobody approved by"):
        operator().execute_complete(context(), {"error": "late", "error_type": "timeout"})
    approved = operator().execute_complete(context(), {**answer, "chosen_options": ["Approve"]})
    assert approved["chosen_options"] == ["Approve"]


@pytest.mark.usefixtures("airflow_db")
def test_only_pipelines_that_say_so_have_the_task_and_make_run_takes_it_for_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: list[BudgetApprovalOperator]
) -> None:
    document = yaml.safe_load(EXAMPLE.read_text())
    document["goals"] |= {"budget": 1, "on_over_budget": "approve"}
    (tmp_path / "abalone.yaml").write_text(yaml.safe_dump(document))
    assert "await_approval" not in build_scoring_dag("abalone", folder=EXAMPLE.parent).task_ids
    dag = build_scoring_dag("abalone", folder=tmp_path)
    assert dag.get_task("await_approval").upstream_task_ids == {"plan"}
    assert dag.get_task("preprocess").upstream_task_ids == {"await_approval"}
    task: Any = make_fail_at_once(dag).get_task("await_approval")
    with pytest.raises(AirflowFailException, match=r"refused: the budget is .* nobody can be asked here"):
        task.execute(context())
    assert asked == []

    monkeypatch.setattr(airflow_compat, "AIRFLOW_VERSION", (3, 0, 6))
    with pytest.raises(
        PipelineError, match=r"goals\.on_over_budget: approve needs Airflow 3\.1 .* write fail"
    ):
        build_scoring_dag("abalone", folder=tmp_path)
