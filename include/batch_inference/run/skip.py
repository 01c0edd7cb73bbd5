"""A Python task that can skip the tasks downstream of it and succeed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import Context
from airflow.sdk.bases.skipmixin import SkipMixin


@dataclass(frozen=True, slots=True)
class SkipDownstream:
    """Returned by a task to skip all downstream tasks, or those before the task `until`; `value` is its XCom value."""

    value: Any
    reason: str
    until: str | None = None


class SkippablePythonOperator(PythonOperator, SkipMixin):
    """Runs a function; skips all downstream tasks except teardowns when it returns `SkipDownstream`.

    Airflow's ShortCircuitOperator skips on a falsy value and pushes none; `clean_up` and `make run` need the value.
    """

    def execute(self, context: Context) -> Any:
        """Push the function's value, also when downstream tasks are skipped."""
        result = super().execute(context)
        if not isinstance(result, SkipDownstream):
            return result
        until = "the end" if result.until is None else f"`{result.until}`"
        self.log.info("Skipping downstream tasks until %s: %s", until, result.reason)
        ti: Any = context["ti"]
        ti.xcom_push(key="return_value", value=result.value)
        kept_task_ids = set[str]()
        if result.until is not None:
            kept_task_ids = {
                result.until,
                *context["dag"].get_task(result.until).get_flat_relative_ids(upstream=False),
            }
        downstream = self.get_flat_relatives(upstream=False)
        self.skip(
            ti=ti,
            tasks=[each for each in downstream if not each.is_teardown and each.task_id not in kept_task_ids],
        )
        return None
