"""A run above its budget waits for a person: Airflow's own approval, in the pipelines that ask for it.

The plan decides whether anybody has to be asked, and until when. The question appears in Airflow's UI under "Required
actions" with the plan's sentences; while it is open the task holds no worker and no triggerer.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.exceptions import HITLRejectException
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.comms import CreateHITLDetailPayload

from include.orchestration import handoffs
from include.orchestration.refusals import final
from include.scoring.approval import asks_the_same, question
from include.scoring.messages import duration

#: A question that nobody could have read is not asked.
SHORTEST_WAIT = timedelta(seconds=30)


class BudgetApproval(ApprovalOperator):
    """Passes at once when the plan asks for no approval; else waits for a person, no longer than the plan allows.

    A rejection, or no answer in time, fails the run before anything was spent; it is not tried again.
    `nobody_to_ask` takes the question for refused: `make run` sets it, as there is no UI in front of anybody.
    """

    def __init__(self, *, pipeline: str, nobody_to_ask: bool = False, **kwargs: Any) -> None:
        super().__init__(subject=f"{pipeline}: a run above its budget", fail_on_reject=True, **kwargs)
        self.pipeline = pipeline
        self.nobody_to_ask = nobody_to_ask

    def execute(self, context: Context) -> Any:
        """Ask, if the plan says so."""
        plan = _plan(context)
        if plan["approval"] is None:
            self.log.info("the run is within its budget, or has none: nobody has to be asked")
            return None
        if self.nobody_to_ask:
            raise AirflowFailException(
                f"refused: {plan['approval']}; nobody can be asked here: raise the budget, or run it from Airflow's UI"
            )
        left = datetime.fromisoformat(plan["approve_by"]) - datetime.now(UTC)
        if left < SHORTEST_WAIT:
            raise AirflowFailException(_unanswered(plan))
        self.response_timeout = left
        self.body = question(plan)
        if not asks_the_same(self._question_in_the_ui(context), self.body):
            raise AirflowFailException(
                f"{plan['approval']}, but this run has asked before, and Airflow still shows that question, about an "
                f"earlier plan; nobody shall approve this one by it. Nothing was spent: start a new run"
            )
        self.log.info("%s; waiting up to %s for a person", plan["approval"], duration(left.total_seconds()))
        return super().execute(context)

    def _question_in_the_ui(self, context: Context) -> str | None:
        """Write the question down, and what is written: Airflow 3.3.2 keeps a run's first one through every clear.

        The provider's operator writes the same again and does not look.
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
        """Go on, or fail for good."""
        if event.get("error_type") == "timeout":
            raise AirflowFailException(_unanswered(_plan(context)))
        try:
            return super().execute_complete(context, event)
        except HITLRejectException as error:
            who = (event.get("responded_by_user") or {}).get("name") or "somebody"
            raise AirflowFailException(
                f"rejected by {who}: {_plan(context)['approval']}; nothing was spent"
            ) from error


def _plan(context: Context) -> dict[str, Any]:
    return final(handoffs.pull_plan)(context["ti"])


def _unanswered(plan: dict[str, Any]) -> str:
    return f"nobody approved by {plan['approve_by']}: {plan['approval']}; nothing was spent"
