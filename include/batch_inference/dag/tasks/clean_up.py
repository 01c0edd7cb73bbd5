"""`clean_up`, the teardown: stop the run's jobs, delete its models, report, and fail if the run did not succeed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from batch_inference.common.errors import BatchInferenceError, HandoffError
from batch_inference.common.formatting import format_count
from batch_inference.dag.failure_report import log_paragraphs
from batch_inference.dag.janitor import clean_up_run
from batch_inference.dag.late_runs import notify_of_late_end
from batch_inference.dag.tasks.report import write_report
from batch_inference.dag.tasks.run_costs import record_run_costs
from batch_inference.planning.plan import Plan
from batch_inference.reporting.summary import TOTAL_FIGURES
from batch_inference.reporting.warnings import build_warnings
from batch_inference.run.failures import FAILURE_KEY, Failure, parse_failure
from batch_inference.run.handoffs import SHARD_STATS, PlanNotReadyError, is_of_plan, pull_plan
from batch_inference.run.outcomes import (
    OUTCOME_KEY,
    OutcomeKind,
    RunOutcome,
    find_first_failure,
    list_failed_task_ids,
)
from batch_inference.run.task_ids import AWAIT_PREPROCESS, CHECKS, CLEAN_UP, PUBLISH

log = logging.getLogger(__name__)


class RunFailedError(BatchInferenceError):
    """The run did not succeed. The teardown raises it, because its own success would make the run a success.

    `outcome` says which task failed first, and why.
    """

    def __init__(self, outcome: RunOutcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome

    @property
    def headline(self) -> str:
        """The task that failed first, and its reason."""
        task = self.outcome.failed_task
        is_named = task is None or self.outcome.kind == "held" or f"`{task}`" in self.outcome.headline
        return self.outcome.headline if is_named else f"`{task}` failed: {self.outcome.headline}"

    @property
    def advice(self) -> str | None:  # type: ignore[override]  # of the run
        """The outcome's."""
        return self.outcome.advice

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.headline, self.advice and f"What to do: {self.advice}")))


def clean_up(
    pipeline: str,
    *,
    aws_conn_id: str,
    region: str | None,
    runs_prefix: str,
    ti: Any,
    dag_run: Any,
    **context: Any,
) -> dict[str, Any]:
    """Stop this run's jobs and delete its models, see `clean_up_run`; write the report of a run that has published.

    Notifies of a late end, if nobody was notified while the run went on. Then what all jobs of the run cost is stored
    and counted, see `record_run_costs`.

    `aws_conn_id` and `region` are the pipeline's; those of the plan come first.

    Pushes the RunOutcome to XCom, whatever fails. Returns what was stopped or deleted (`removed`), and what
    `write_report` returns. Neither keeps the other from being done.

    Raises:
        RunFailedError: a task failed, or nothing was published although the run was meant to publish.
    """
    try:
        plan: Plan | None = pull_plan(ti)
    except (HandoffError, PlanNotReadyError) as error:
        log.info("the plan is unknown, so jobs and models are found by their tags alone: %s", error)
        plan = None
    states = {
        task: state
        for task, state in ti.get_task_states(dag_id=ti.dag_id, run_ids=[dag_run.run_id])[
            dag_run.run_id
        ].items()
        if task != CLEAN_UP
    }
    shard_stats = ti.xcom_pull(AWAIT_PREPROCESS, key=SHARD_STATS[1])
    if plan is None or not is_of_plan(shard_stats, plan.nonce):
        shard_stats = None  # of an earlier plan: `plan` was cleared
    outcome = judge_run(
        plan,
        states,
        pull_failures(ti, states),
        shard_stats=shard_stats,
        is_held=ti.xcom_pull(CHECKS, key="state") == "held",
    )
    reported: dict[str, Any] = {}
    where = {
        "aws_conn_id": aws_conn_id if plan is None else plan.aws_conn_id,
        "region": region if plan is None else plan.region,
    }
    try:
        removed = clean_up_run(
            pipeline,
            **where,
            dag_id=ti.dag_id,
            run_id=dag_run.run_id,
            reason="its run has ended",
            nonce=None if plan is None else plan.nonce,
        )
        log.info("stopped or deleted: %s", ", ".join(removed) or "nothing")
    except Exception:
        # What ends this task then must not hide why the run failed.
        if outcome.kind in ("failed", "held"):
            log_paragraphs(str(RunFailedError(outcome)))
        raise
    finally:
        try:
            if states.get(PUBLISH) == "success":
                reported = write_report(pipeline, ti=ti)
                outcome = add_report(outcome, reported, ti.xcom_pull(PUBLISH))
        finally:
            notify_of_late_end(pipeline, plan, {**context, "ti": ti, "dag_run": dag_run})
            # Before it is known what the run cost: stopped jobs are billed until they end, and are waited for.
            ti.xcom_push(key=OUTCOME_KEY, value=outcome.to_xcom())
            outcome = add_costs(
                outcome, pipeline, plan, **where, runs_prefix=runs_prefix, dag_id=ti.dag_id, dag_run=dag_run,
                preprocess_busy_seconds=(shard_stats or {}).get("busy_seconds"),
            )  # fmt: skip
            ti.xcom_push(key=OUTCOME_KEY, value=outcome.to_xcom())
    if outcome.kind in ("failed", "held"):
        raise RunFailedError(outcome)
    return {"removed": removed, **reported}


def add_costs(outcome: RunOutcome, *args: Any, **kwargs: Any) -> RunOutcome:
    """See `record_run_costs`; without its figures where it fails, which is no failure of the run."""
    try:
        return record_run_costs(outcome, *args, **kwargs)
    except Exception:
        log.exception("what the run cost is not counted; clear this task to count it")
        return outcome


def pull_failures(ti: Any, states: Mapping[str, str | None]) -> list[Failure]:
    """The failures that the failed tasks of the run have pushed."""
    failed = list_failed_task_ids(states)
    values = (ti.xcom_pull(failed, key=FAILURE_KEY) if failed else None) or []
    return [failure for value in values if (failure := parse_failure(value)) is not None]


def judge_run(
    plan: Plan | None,
    states: Mapping[str, str | None],
    failures: Iterable[Failure],
    *,
    shard_stats: Mapping[str, Any] | None,
    is_held: bool,
) -> RunOutcome:
    """How a run ended, by the states of its other tasks: without the figures of its report.

    `is_held`: whether its gates hold it.
    """
    kind, headline, advice, failed_task = _judge_kind(plan, states, failures, shard_stats, is_held=is_held)
    estimate = None if plan is None or plan.empty else plan.estimate
    return RunOutcome(
        kind=kind,
        headline=headline,
        advice=advice,
        failed_task=failed_task,
        data_time=None if plan is None else plan.model_dump(mode="json")["data_time"],
        records=None if shard_stats is None else _count_records(shard_stats),
        warnings=() if shard_stats is None else _list_warnings(shard_stats),
        expected_seconds=None if estimate is None else estimate.seconds,
        expected_dollars=None if estimate is None else estimate.dollars,
        deadline=None if plan is None else plan.due or plan.deadline,
    )


def _judge_kind(
    plan: Plan | None,
    states: Mapping[str, str | None],
    failures: Iterable[Failure],
    shard_stats: Mapping[str, Any] | None,
    *,
    is_held: bool,
) -> tuple[OutcomeKind, str, str | None, str | None]:
    """Kind, headline, advice, and the task that failed first."""
    first = find_first_failure(states, failures)
    if first is not None:
        task, failure = first
        # After a clear, a `checks` that did not run again keeps its earlier value.
        if task == CHECKS and is_held:
            return "held", *_describe_failure(task, failure), task
        return "failed", *_describe_failure(task, failure), task
    blocked = [task for task, state in states.items() if state == "upstream_failed"]
    if blocked:
        headline = f"No task is failed any more, but {format_count(len(blocked), 'task')} could not start."
        return "failed", headline, "Clear the first task that did not run, with all that follows it.", None
    if states.get(PUBLISH) == "success":
        return "published", "The run has published.", None, None
    if plan is not None and plan.dry_run:
        return "plan_only", "Only planned, as asked: no job was started.", None, None
    if plan is not None and plan.unchanged_since is not None:
        return "unchanged", f"Input, model and pipeline are those of {plan.unchanged_since}.", None, None
    if plan is not None and (plan.empty or (shard_stats is not None and shard_stats["records_in"] == 0)):
        said = next((entry.text for entry in plan.log if entry.field == "empty"), None)
        headline = said or f"{plan.input.uri} holds no records: nothing was scored or published."
        return "empty", headline, "If data was expected: is the URI right, and has the upload ended?", None
    state = states.get(PUBLISH)
    headline = f"The run published nothing: `{PUBLISH}` {'did not run' if state is None else f'is {state}'}."
    return "failed", headline, "Clear the first task that did not succeed, with all that follows it.", None


def _describe_failure(task: str, failure: Failure | None) -> tuple[str, str | None]:
    """Headline and advice of the failure of a task; one without a Failure ended without an error of its own."""
    if failure is not None:
        return failure.headline, failure.advice
    return (
        f"`{task}` ended without an error: its process was killed, its worker was lost, or somebody marked it failed.",
        f"Look at the end of its log, and at the memory of the workers; then clear `{task}` with all that follows it.",
    )


def _count_records(shard_stats: Mapping[str, Any]) -> dict[str, int | None]:
    rejected = sum(shard_stats["rejected"].values())
    return {"in": shard_stats["records_in"], "rejected": rejected, "scored": None}


def _list_warnings(shard_stats: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        build_warnings({**_count_records(shard_stats), "rejected_by_reason": shard_stats["rejected"]})
    )


def add_report(outcome: RunOutcome, reported: Mapping[str, Any], published: Mapping[str, Any]) -> RunOutcome:
    """The outcome with what `write_report` and `publish` returned."""
    figures = ("records", *TOTAL_FIGURES, "report_json", "report_html")
    update: dict[str, Any] = {key: reported[key] for key in figures}
    update["warnings"] = tuple(reported["warnings"])
    update["published_rows"] = published["rows"]
    if outcome.kind == "published":
        update["headline"] = (
            f"Published {format_count(published['rows'], 'row')} at {published['output_uri']}"
        )
    return outcome.model_copy(update=update)
