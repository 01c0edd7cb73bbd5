"""A Python task that may end the run early, on purpose and as a success."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import Context
from airflow.sdk.bases.skipmixin import SkipMixin


@dataclass(frozen=True, slots=True)
class SkipRest:
    """What a task returns to skip everything after it, or all `until` a task: its value as any task's, and why."""

    value: Any
    reason: str
    until: str | None = None


class GateOperator(PythonOperator, SkipMixin):
    """Runs a function; skips all later tasks but teardowns when it returns `SkipRest`.

    Airflow's ShortCircuitOperator decides by truth and pushes no value on that path; here `clean_up` and `make run`
    read the value of a skipped run too.
    """

    def execute(self, context: Context) -> Any:
        """The function's value, also when the rest is skipped."""
        result = super().execute(context)
        if not isinstance(result, SkipRest):
            return result
        until = "the end" if result.until is None else f"`{result.until}`"
        self.log.info("What follows until %s is skipped: %s", until, result.reason)
        ti: Any = context["ti"]
        ti.xcom_push(key="return_value", value=result.value)
        runs = set[str]()
        if result.until is not None:
            runs = {
                result.until,
                *context["dag"].get_task(result.until).get_flat_relative_ids(upstream=False),
            }
        after = self.get_flat_relatives(upstream=False)
        self.skip(ti=ti, tasks=[each for each in after if not each.is_teardown and each.task_id not in runs])
        return None
