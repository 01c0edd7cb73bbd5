"""`clean_up`, the teardown: stop whatever still runs, delete the run's model, and tell the truth about the run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.sdk.exceptions import AirflowFailException

from include.orchestration.leftovers import clear_run
from include.orchestration.names import CHECKS, CLEAN_UP, PLAN, PUBLISH, SHARDS
from include.orchestration.pipelines import named
from include.scoring.naming import name_token
from sagemaker_jobs.cleanup import delete_models, stop_jobs

log = logging.getLogger(__name__)

BAD = {"failed", "upstream_failed"}


class RunFailed(AirflowFailException):
    """The run did not reach its goal. The teardown raises it, for its own success would make the run one."""


def clean_up(pipeline: str, *, ti: Any, dag_run: Any, **_: Any) -> dict[str, list[str]]:
    """Stop this run's jobs and delete its models.

    They are found by the part of their names that only this plan gave them, and by the run in their tags: after `plan`
    was cleared and made anew, or failed, what the first plan started has other names.

    Raises:
        RunFailed: a task failed, or nothing was published although nobody asked for that.
    """
    plan = ti.xcom_pull(PLAN)
    if plan is None:  # nothing was frozen
        config = named(pipeline)
        where = {"aws_conn_id": config.aws_conn_id, "region_name": config.region}
    else:
        where = {"aws_conn_id": plan["aws_conn_id"], "region_name": plan["region"]}
    hook = SageMakerHook(**where)  # type: ignore[no-untyped-call]
    done: list[str] = []
    if plan is not None:
        token = name_token(plan["nonce"])
        done = [*stop_jobs(hook, name_contains=token), *delete_models(hook, name_contains=token)]
    done += clear_run(hook, pipeline, dag_id=ti.dag_id, run_id=dag_run.run_id, because="its run has ended")
    log.info("stopped or deleted: %s", ", ".join(done) or "nothing, as nothing was left")
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[dag_run.run_id])[dag_run.run_id]
    judge(
        states,
        skipped_on_purpose=skipped_on_purpose(plan, ti.xcom_pull(SHARDS, key="facts")),
        held=ti.xcom_pull(CHECKS, key="state") == "held",
    )
    return {"removed": done}


def skipped_on_purpose(plan: Mapping[str, Any] | None, facts: Mapping[str, Any] | None) -> bool:
    """Whether the run was meant to end without output: an empty or unchanged input, or a dry run."""
    if plan is None:
        return False
    return bool(plan["empty"] or plan["dry_run"] or plan["unchanged_since"]) or (
        facts is not None and facts["records_in"] == 0
    )


def judge(states: Mapping[str, str | None], *, skipped_on_purpose: bool, held: bool = False) -> None:
    """Raise RunFailed unless the run, by the states of its tasks, reached its goal; `held` by its gates it did not."""
    bad = sorted(task for task, state in states.items() if state in BAD and task != CLEAN_UP)
    # A `checks` that did not run again, after a clear, keeps what it handed on before.
    if held and states.get(CHECKS) == "failed":
        raise RunFailed(f"the run is held: {CHECKS} says by which gates, and how to publish it all the same")
    if bad:
        raise RunFailed(f"the run failed: {', '.join(f'{task} is {states[task]}' for task in bad)}")
    if states.get(PUBLISH) != "success" and not skipped_on_purpose:
        raise RunFailed(f"the run published nothing: {PUBLISH} is {states.get(PUBLISH)}")
