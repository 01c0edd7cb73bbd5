"""What surrounds the function of a Python task: import, the run it works on, errors without a retry, skipped tasks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import Context

from batch_inference.common.errors import BatchInferenceError
from batch_inference.jobs.common.errors import JobError
from batch_inference.run.handoffs import add_nonce
from sagemaker_jobs.airflow_compat import AirflowFailException, SkipMixin

P = ParamSpec("P")
R = TypeVar("R")


def import_on_call(path: str) -> Callable[..., Any]:
    """A function that imports the one at `path`, a module and its function, such as `a.b:f`, when it is called.

    So what only a task needs is imported in that task, and never when a DAG file is parsed.
    """
    module, _, name = path.partition(":")

    def call_imported(*args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(module), name)(*args, **kwargs)

    # Airflow makes a new version of the DAG when the name changes.
    call_imported.__module__, call_imported.__name__, call_imported.__qualname__ = module, name, name
    return call_imported


def no_retry(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function: only the project's own errors, BatchInferenceError and JobError, are final.

    They become AirflowFailException, which Airflow does not retry. All others, such as a throttled call or a lost
    connection, are raised unchanged and are retried.
    """

    @functools.wraps(function)
    def call_without_retry(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (BatchInferenceError, JobError) as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error

    return call_without_retry


def report_failures(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate the function of a Python task: an error that leaves it is reported, see `report_failure`."""

    @functools.wraps(function)
    def call_and_report(*args: Any, ti: Any, **kwargs: Any) -> Any:
        from batch_inference.dag.failure_report import report_failure

        with report_failure(ti):
            return function(*args, ti=ti, **kwargs)

    return call_and_report


def provide_run_context(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a task function: it is called with the RunContext, and its return value gets the plan's nonce.

    Airflow passes the pipeline's name and, to the tasks before `checks`, the shape of the parsed DAG.
    """

    @functools.wraps(function)
    def call_with_run(pipeline: str, *args: Any, ti: Any, shape: str | None = None, **kwargs: Any) -> Any:  # noqa: ARG001 - in the plan
        from batch_inference.run.run_context import RunContext

        run = RunContext.load(ti, shape=shape)
        value = function(run, *args, **kwargs)
        if isinstance(value, SkipDownstream):
            return replace(value, value=add_nonce(value.value, run.nonce))
        return add_nonce(value, run.nonce)

    return call_with_run


@dataclass(frozen=True, slots=True)
class SkipDownstream:
    """Returned by a task to skip all downstream tasks, or those before the task `until`; `value` is its XCom value."""

    value: Any
    reason: str
    until: str | None = None


class SkipDownstreamMixin(SkipMixin):
    """Mixin of a task that skips all downstream tasks except teardowns when it finds `SkipDownstream`.

    Airflow's ShortCircuitOperator skips on a falsy value and pushes none; `clean_up` and `make run` need the value.
    """

    def skip_if_requested(self, context: Context, result: Any) -> Any:
        """The task's return value; with `SkipDownstream`, push its value and skip."""
        if not isinstance(result, SkipDownstream):
            return result
        until = "the end" if result.until is None else f"`{result.until}`"
        self.log.info("Skipping downstream tasks until %s: %s", until, result.reason)
        ti: Any = context["ti"]
        ti.xcom_push(key="return_value", value=result.value)
        kept = set[str]()
        if result.until is not None:
            target = context["dag"].get_task(result.until)
            kept = {result.until, *target.get_flat_relative_ids(upstream=False)}
        downstream = context["task"].get_flat_relatives(upstream=False)
        skipped = [each for each in downstream if not each.is_teardown and each.task_id not in kept]
        self.skip(ti=ti, tasks=skipped)
        return None


class SkippablePythonOperator(PythonOperator, SkipDownstreamMixin):
    """Runs a function that may return `SkipDownstream`."""

    def execute(self, context: Context) -> Any:
        """Push the function's value, also when downstream tasks are skipped."""
        return self.skip_if_requested(context, super().execute(context))
