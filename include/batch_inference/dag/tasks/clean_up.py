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
from batch_inference.publishing.claims import OvertakenError
from batch_inference.reporting.summary import TOTAL_FIGURES
from batch_inference.reporting.warnings import build_warnings
from batch_inference.run.failures import (
    FAILURE_KEY,
    MAX_HEADLINE,
    Failure,
    clean_text,
    parse_failure,
    shorten,
)
from batch_inference.run.handoffs import SHARD_STATS, PlanNotReadyError, is_of_plan, pull_plan
from batch_inference.run.outcomes import (
    OUTCOME_KEY,
    QUIET_KINDS,
    OutcomeKind,
    RunOutcome,
    find_first_failure,
    list_failed_task_ids,
)
from batch_inference.run.task_ids import AWAIT_PREPROCESS, CHECKS, CLEAN_UP, PUBLISH
from sagemaker_jobs.airflow_compat import AirflowTaskTimeout, mask_secrets

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
        OvertakenError: another process of this task has written the report since. This one pushes and counts nothing.
    """
    errors: list[BaseException] = []
    plan: Plan | None = None
    try:
        plan = pull_plan(ti)
    except (HandoffError, PlanNotReadyError) as error:
        log.info("the plan is unknown, so jobs and models are found by their tags alone: %s", error)
    except Exception as error:  # noqa: BLE001 - raised at the end
        errors.append(error)
    try:
        if errors:
            raise errors[0]
        states, shard_stats, outcome = judge_this_run(ti, dag_run.run_id, plan)
    except Exception as error:  # noqa: BLE001 - raised at the end
        states, shard_stats, outcome = {}, None, build_unknown_outcome(error)
        errors = [error]
    is_judged = not errors
    where = {
        "aws_conn_id": aws_conn_id if plan is None else plan.aws_conn_id,
        "region": region if plan is None else plan.region,
    }
    removed: list[str] = []
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
    except (Exception, AirflowTaskTimeout) as error:  # noqa: BLE001 - raised at the end
        errors.append(error)
    reported: dict[str, Any] = {}
    try:
        if states.get(PUBLISH) == "success":
            reported = write_report(pipeline, ti=ti)
            outcome = add_report(outcome, reported, ti.xcom_pull(PUBLISH))
    except OvertakenError:
        raise
    except (Exception, AirflowTaskTimeout) as error:  # noqa: BLE001 - raised at the end
        errors.append(error)
    # Before it is known what the run cost: stopped jobs are billed until they end, and are waited for.
    push_outcome(ti, outcome)
    outcome = add_costs(
        outcome, pipeline, plan, **where, runs_prefix=runs_prefix, dag_id=ti.dag_id, dag_run=dag_run,
        preprocess_busy_seconds=(shard_stats or {}).get("busy_seconds"),
    )  # fmt: skip
    push_outcome(ti, outcome)
    # Last: notifiers are not ours, and may not return.
    if outcome.kind not in QUIET_KINDS:
        notify_of_late_end(pipeline, plan, {**context, "ti": ti, "dag_run": dag_run})
    if errors:
        for other in errors[1:]:
            log.error("and another error:", exc_info=other)
        # What ends this task then must not hide why the run failed.
        if is_judged and outcome.kind in ("failed", "held"):
            log_paragraphs(str(RunFailedError(outcome)))
        raise errors[0]
    if outcome.kind in ("failed", "held"):
        raise RunFailedError(outcome)
    return {"removed": removed, **reported}


def judge_this_run(
    ti: Any, run_id: str, plan: Plan | None
) -> tuple[dict[str, str | None], Mapping[str, Any] | None, RunOutcome]:
    """The states of the run's other tasks, what preprocess counted for this plan, and how the run ended."""
    found = ti.get_task_states(dag_id=ti.dag_id, run_ids=[run_id])[run_id]
    states = {task: state for task, state in found.items() if task != CLEAN_UP}
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
    return states, shard_stats, outcome


def build_unknown_outcome(error: Exception) -> RunOutcome:
    """The outcome of a run of which `error` keeps `clean_up` from knowing how it ended."""
    headline = clean_text(f"How the run ended is not known: {type(error).__name__}: {error}")
    return RunOutcome(
        kind="failed",
        failed_task=CLEAN_UP,
        headline=shorten(headline, MAX_HEADLINE),
        advice=f"Clear `{CLEAN_UP}`; its log has the error.",
    )


def push_outcome(ti: Any, outcome: RunOutcome) -> None:
    """Push the outcome to XCom, secrets masked. An error is logged: it changes nothing about how the run ended."""
    try:
        ti.xcom_push(key=OUTCOME_KEY, value=mask_secrets(outcome.to_xcom()))
    except Exception:
        log.exception(
            "The outcome of the run could not be pushed to XCom; the lists show Airflow's states alone."
        )


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
        deadline=None if plan is None or kind in QUIET_KINDS else plan.due_time,
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
