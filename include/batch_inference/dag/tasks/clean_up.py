"""`clean_up`, the teardown: stop the run's jobs, delete its models, report, and fail if the run did not succeed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from batch_inference.common.errors import HandoffError
from batch_inference.dag.janitor import clean_up_run
from batch_inference.dag.task_functions import no_retry
from batch_inference.dag.tasks.report import write_report
from batch_inference.planning.plan import Plan
from batch_inference.run.handoffs import SHARD_STATS, PlanNotReadyError, pull_plan
from batch_inference.run.task_ids import AWAIT_PREPROCESS, CHECKS, CLEAN_UP, PUBLISH
from sagemaker_jobs.airflow_compat import AirflowFailException

log = logging.getLogger(__name__)

FAILED_STATES = {"failed", "upstream_failed"}


class RunFailedError(AirflowFailException):
    """The run did not succeed. The teardown raises it, because its own success would make the run a success."""


def clean_up(
    pipeline: str, *, aws_conn_id: str, region: str | None, ti: Any, dag_run: Any, **_: Any
) -> dict[str, Any]:
    """Stop this run's jobs and delete its models, see `clean_up_run`; write the report of a run that has published.

    `aws_conn_id` and `region` are the pipeline's; those of the plan come first.

    Returns what was stopped or deleted (`removed`), and what `write_report` returns. Neither keeps the other from being
    done.

    Raises:
        RunFailedError: a task failed, or nothing was published although the run was meant to publish.
    """
    try:
        plan: Plan | None = pull_plan(ti)
    except (HandoffError, PlanNotReadyError) as error:
        log.info("the plan is unknown, so jobs and models are found by their tags alone: %s", error)
        plan = None
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[dag_run.run_id])[dag_run.run_id]
    reported: dict[str, Any] = {}
    try:
        removed = clean_up_run(
            pipeline,
            aws_conn_id=aws_conn_id if plan is None else plan.aws_conn_id,
            region=region if plan is None else plan.region,
            dag_id=ti.dag_id,
            run_id=dag_run.run_id,
            reason="its run has ended",
            nonce=None if plan is None else plan.nonce,
        )
        log.info("stopped or deleted: %s", ", ".join(removed) or "nothing")
    finally:
        if states.get(PUBLISH) == "success":
            reported = no_retry(write_report)(pipeline, ti=ti)
    check_run_state(
        states,
        is_skip_intended=is_intended_skip(plan, ti.xcom_pull(AWAIT_PREPROCESS, key=SHARD_STATS[1])),
        is_held=ti.xcom_pull(CHECKS, key="state") == "held",
    )
    return {"removed": removed, **reported}


def is_intended_skip(plan: Plan | None, shard_stats: Mapping[str, Any] | None) -> bool:
    """Whether the run was meant to end without output: an empty or unchanged input, or a dry run."""
    if plan is None:
        return False
    return bool(plan.empty or plan.dry_run or plan.unchanged_since) or (
        shard_stats is not None and shard_stats["records_in"] == 0
    )


def check_run_state(
    states: Mapping[str, str | None], *, is_skip_intended: bool, is_held: bool = False
) -> None:
    """Raise RunFailedError unless the states of the run's tasks show a success; a run that is held has failed."""
    failed = sorted(task for task, state in states.items() if state in FAILED_STATES and task != CLEAN_UP)
    # After a clear, a `checks` that did not run again keeps its earlier value.
    if is_held and states.get(CHECKS) == "failed":
        where = f"the log of {CHECKS} names the gates, and says how to publish it anyway"
        raise RunFailedError(f"the run is held: {where}")
    if failed:
        raise RunFailedError(f"the run failed: {', '.join(f'{task} is {states[task]}' for task in failed)}")
    if states.get(PUBLISH) != "success" and not is_skip_intended:
        raise RunFailedError(f"the run published nothing: {PUBLISH} is {states.get(PUBLISH)}")
