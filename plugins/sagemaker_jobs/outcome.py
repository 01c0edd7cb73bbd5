"""Say why a job ended badly: status, AWS's reason, exit message, last log lines, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_jobs.errors import (
    JobFailed,
    JobFailedForGood,
    JobRanTooLong,
    JobStopped,
    JobTimedOut,
    SageMakerJobError,
)
from sagemaker_jobs.kinds import PROCESSING, JobKind
from sagemaker_jobs.logs import tail_logs
from sagemaker_jobs.reasons import (
    STOPPED_BY_SOMEBODY,
    STOPPED_BY_US,
    TIME_LIMIT,
    WAIT_LIMIT,
    Reason,
    advice_for,
    reason_of,
)
from sagemaker_jobs.tags import STOPPED_TAG

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

TIMED_OUT = "the time of its task was up"
RAN_TOO_LONG = "it ran for as long as it may"
_CLOCK_TOLERANCE_SECONDS = 2.0


def explain(
    hook: SageMakerHook,
    kind: JobKind,
    name: str,
    description: dict[str, Any],
    tags: dict[str, str],
    *,
    because: str = "",
) -> SageMakerJobError:
    """The exception for a job that ended as Failed or Stopped, or is Stopping.

    Reads the job's logs for it. ``because`` stands before all that.
    """
    reason = cause_of(kind, description, tags)
    logs = tail_logs(hook, kind, name)
    status = str(description[kind.status_field])
    message = describe_end(kind, name, description, reason, tags, logs)
    if because:
        message = f"{because}\n{message}"
    return _error_type(reason, status)(message, job_name=name, status=status, reason=reason.name)


def cause_of(kind: JobKind, description: dict[str, Any], tags: dict[str, str]) -> Reason:
    """Which known reason ended the job.

    A Stopped job carries no reason on AWS: ours are tagged before they are stopped, and a processing job that
    ran for its MaxRuntimeInSeconds ran out of time; what remains was stopped by somebody.
    """
    if description[kind.status_field] == "Failed":
        return reason_of(description.get("FailureReason"))
    if STOPPED_TAG in tags:
        return {TIMED_OUT: WAIT_LIMIT, RAN_TOO_LONG: TIME_LIMIT}.get(tags[STOPPED_TAG], STOPPED_BY_US)
    return TIME_LIMIT if _reached_max_runtime(kind, description) else STOPPED_BY_SOMEBODY


def describe_end(
    kind: JobKind,
    name: str,
    description: dict[str, Any],
    reason: Reason,
    tags: dict[str, str],
    logs: dict[str, list[str]],
) -> str:
    """The whole story as text of several lines."""
    lines = [f"SageMaker {kind.noun} {name} ended as {description[kind.status_field]} ({reason.name})."]
    if description.get("FailureReason"):
        lines.append(f"FailureReason: {description['FailureReason']}")
    if STOPPED_TAG in tags:
        lines.append(f"Stopped by Airflow: {tags[STOPPED_TAG]}")
    if description.get("ExitMessage"):
        lines.append(f"ExitMessage: {description['ExitMessage']}")
    lines.append(f"Ran: {_run_time(kind, description)}.")
    for stream, tail in logs.items():
        lines.append(f"Last {len(tail)} lines of {kind.log_group} {stream}:")
        lines.extend(f"    {line}" for line in tail)
    if not logs:
        lines.append(f"Nothing was logged in {kind.log_group} under {name}/.")
    every_line = [line for tail in logs.values() for line in tail]
    lines.append(f"What to do: {advice_for(reason, every_line)}")
    return "\n".join(lines)


def _error_type(reason: Reason, status: str) -> type[SageMakerJobError]:
    if reason is TIME_LIMIT:
        return JobRanTooLong
    if reason is WAIT_LIMIT:
        return JobTimedOut
    if reason is STOPPED_BY_SOMEBODY:
        return JobStopped
    if status == "Failed" and not reason.retryable:
        return JobFailedForGood
    return JobFailed


def _reached_max_runtime(kind: JobKind, description: dict[str, Any]) -> bool:
    limit = description.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
    started, ended = description.get(kind.started_field), description.get(kind.ended_field)
    if kind is not PROCESSING or not (limit and started and ended):
        return False
    return bool((ended - started).total_seconds() >= limit - _CLOCK_TOLERANCE_SECONDS)


def _run_time(kind: JobKind, description: dict[str, Any]) -> str:
    started, ended = description.get(kind.started_field), description.get(kind.ended_field)
    resources = kind.resources(description)
    where = f"{resources.get('InstanceCount', '?')} x {resources.get('InstanceType', '?')}"
    if started is None:
        return f"never, on {where}"
    if ended is None:
        return f"since {started.isoformat()}, on {where}"
    return f"{(ended - started).total_seconds():.0f} s on {where}"
