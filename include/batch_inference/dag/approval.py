"""The task that waits for a person's approval of a run above its budget (Airflow's ApprovalOperator).

The plan decides whether approval is needed, and until when. The question appears in Airflow's UI under "Required
actions" with the plan's sentences; while it is open the task holds no worker and no triggerer.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from batch_inference.common.errors import NotApprovedError
from batch_inference.common.formatting import format_duration
from batch_inference.run import handoffs
from sagemaker_jobs.airflow_compat import (
    ApprovalOperator,
    CreateHITLDetailPayload,
    HITLRejectException,
)

if TYPE_CHECKING:
    from batch_inference.planning.plan import Plan

#: With less time than this, the question is not asked.
SHORTEST_WAIT = timedelta(seconds=30)


class BudgetApprovalOperator(ApprovalOperator):
    """Succeeds at once when the plan needs no approval; otherwise waits for a person until the plan's time limit.

    A rejection, or no answer in time, fails the run before anything was spent, without a retry. With `rejects_unasked`
    the question counts as rejected: `make run` sets it, because it has no UI.
    """

    def __init__(self, *, pipeline: str, rejects_unasked: bool = False, **kwargs: Any) -> None:
        super().__init__(subject=f"{pipeline}: a run above its budget", fail_on_reject=True, **kwargs)
        self.pipeline = pipeline
        self.rejects_unasked = rejects_unasked

    def execute(self, context: Context) -> Any:
        """Ask, if the plan says so."""
        from batch_inference.dag.failure_report import report_failure

        with report_failure(context["ti"]):
            return self._ask(context)

    def _ask(self, context: Context) -> Any:
        plan = handoffs.pull_plan(context["ti"])
        if plan.approval_reason is None:
            self.log.info("the run is within its budget, or has none: no approval is needed")
            return None
        if self.rejects_unasked:
            raise NotApprovedError(
                f"refused: {plan.approval_reason}; nobody can be asked here: raise the budget, "
                f"or run it from Airflow's UI"
            )
        if plan.approve_by is None:
            raise NotApprovedError(f"{plan.approval_reason}, but the plan has no time by which to approve it")
        remaining = plan.approve_by - datetime.now(UTC)
        if remaining < SHORTEST_WAIT:
            raise NotApprovedError(_timeout_message(plan))
        self.response_timeout = remaining
        # The time is in the subject: the body is that of the same plan however long the question is open.
        self.subject += f", and waits until {plan.approve_by:%Y-%m-%d %H:%M} UTC"
        self.body = format_question(plan)
        if self._question_in_the_ui(context) != self.body:
            raise NotApprovedError(
                f"{plan.approval_reason}, but this run has asked before, and Airflow still shows that question, "
                f"about an earlier plan, which must not approve this one. Nothing was spent: start a new run"
            )
        how_long = format_duration(remaining.total_seconds())
        self.log.info("%s; waiting up to %s for a person", plan.approval_reason, how_long)
        return super().execute(context)

    def _question_in_the_ui(self, context: Context) -> str | None:
        """Store the question and return the one that Airflow shows: Airflow 3.3.2 keeps a run's first one over clears.

        The provider's operator stores the question again and does not read it back.
        """
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        ti: Any = context["ti"]
        kept: Any = SUPERVISOR_COMMS.send(
            CreateHITLDetailPayload(
                ti_id=ti.id,
                options=self.options,
                subject=self.subject,
                body=self.body,
                defaults=self.defaults,
                multiple=self.multiple,
                params=self.serialized_params,
                assigned_users=[],
            )
        )
        return None if kept is None else kept.body

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Continue, or fail without a retry."""
        from batch_inference.dag.failure_report import report_failure

        with report_failure(context["ti"]):
            return self._evaluate_answer(context, event)

    def _evaluate_answer(self, context: Context, event: dict[str, Any]) -> Any:
        if event.get("error_type") == "timeout":
            raise NotApprovedError(_timeout_message(handoffs.pull_plan(context["ti"])))
        try:
            return super().execute_complete(context, event)
        except HITLRejectException as error:
            who = (event.get("responded_by_user") or {}).get("name") or "somebody"
            raise NotApprovedError(
                f"rejected by {who}: {handoffs.pull_plan(context['ti']).approval_reason}; nothing was spent"
            ) from error


def format_question(plan: Plan) -> str:
    """The question as Markdown: why the run needs approval, and what it would use."""
    lines = [
        f"**The run {plan.run_id} is above its budget:** {plan.approval_reason}.",
        "",
        "It waits until the time above; if the task was cleared since, its log has the new time.",
        "*Approve* starts it, *Reject* fails it. Nothing is spent yet.",
        "",
        *(f"- {sentence}" for sentence in plan.sentences),
    ]
    return "\n".join(lines)


def _timeout_message(plan: Plan) -> str:
    when = f"{plan.approve_by:%Y-%m-%d %H:%M} UTC"
    return f"nobody approved by {when}: {plan.approval_reason}; nothing was spent"
