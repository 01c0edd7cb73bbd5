"""Builds the error for a job that failed or was stopped: status, AWS's reason, exit message, last log lines, advice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_jobs.errors import (
    JobFailed,
    JobFailedPermanently,
    JobRanTooLong,
    JobStopped,
    JobTimedOut,
    SageMakerJobError,
)
from sagemaker_jobs.failure.logs import tail_logs
from sagemaker_jobs.failure.reasons import (
    STOPPED_BY_SOMEBODY,
    STOPPED_BY_US,
    TIME_LIMIT,
    WAIT_LIMIT,
    Reason,
    choose_advice,
    classify_failure_reason,
)
from sagemaker_jobs.kinds import PROCESSING, JobKind
from sagemaker_jobs.tags import STOPPED_TAG

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

TIMED_OUT = "its task timed out"
RAN_TOO_LONG = "it reached its time limit"
_CLOCK_TOLERANCE_SECONDS = 2.0


def build_job_error(
    hook: SageMakerHook,
    kind: JobKind,
    name: str,
    description: dict[str, Any],
    tags: dict[str, str],
    *,
    because: str = "",
) -> SageMakerJobError:
    """The exception for a job that ended as Failed or Stopped, or is Stopping.

    Reads the job's logs. ``because`` becomes the first line of the message.
    """
    reason = classify_job_end(kind, description, tags)
    logs = tail_logs(hook, kind, name)
    status = str(description[kind.status_field])
    message = format_failure(kind, name, description, reason, tags, logs)
    if because:
        message = f"{because}\n{message}"
    return _error_type(reason, status)(message, job_name=name, status=status, reason=reason.name)


def classify_job_end(kind: JobKind, description: dict[str, Any], tags: dict[str, str]) -> Reason:
    """The known reason for which the job ended.

    AWS gives no reason for a Stopped job. Jobs that Airflow stops are tagged first; a processing job that ran for its
    MaxRuntimeInSeconds reached its time limit; any other was stopped by a person.
    """
    if description[kind.status_field] == "Failed":
        return classify_failure_reason(description.get("FailureReason"))
    if STOPPED_TAG in tags:
        return {TIMED_OUT: WAIT_LIMIT, RAN_TOO_LONG: TIME_LIMIT}.get(tags[STOPPED_TAG], STOPPED_BY_US)
    return TIME_LIMIT if _reached_max_runtime(kind, description) else STOPPED_BY_SOMEBODY


def format_failure(
    kind: JobKind,
    name: str,
    description: dict[str, Any],
    reason: Reason,
    tags: dict[str, str],
    logs: dict[str, list[str]],
) -> str:
    """The error message, in several lines."""
    lines = [f"SageMaker {kind.noun} {name} ended as {description[kind.status_field]} ({reason.name})."]
    if description.get("FailureReason"):
        lines.append(f"FailureReason: {description['FailureReason']}")
    if STOPPED_TAG in tags:
        lines.append(f"Stopped by Airflow: {tags[STOPPED_TAG]}")
    if description.get("ExitMessage"):
        lines.append(f"ExitMessage: {description['ExitMessage']}")
    lines.append(f"Ran: {_format_run_time(kind, description)}.")
    for stream, tail in logs.items():
        lines.append(f"Last {len(tail)} lines of {kind.log_group} {stream}:")
        lines.extend(f"    {line}" for line in tail)
    if not logs:
        lines.append(f"Nothing was logged in {kind.log_group} under {name}/.")
    every_line = [line for tail in logs.values() for line in tail]
    lines.append(f"What to do: {choose_advice(reason, every_line)}")
    return "\n".join(lines)


def _error_type(reason: Reason, status: str) -> type[SageMakerJobError]:
    if reason is TIME_LIMIT:
        return JobRanTooLong
    if reason is WAIT_LIMIT:
        return JobTimedOut
    if reason is STOPPED_BY_SOMEBODY:
        return JobStopped
    if status == "Failed" and not reason.retryable:
        return JobFailedPermanently
    return JobFailed


def _reached_max_runtime(kind: JobKind, description: dict[str, Any]) -> bool:
    limit = description.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
    started, ended = description.get(kind.started_field), description.get(kind.ended_field)
    if kind is not PROCESSING or not (limit and started and ended):
        return False
    return bool((ended - started).total_seconds() >= limit - _CLOCK_TOLERANCE_SECONDS)


def _format_run_time(kind: JobKind, description: dict[str, Any]) -> str:
    started, ended = description.get(kind.started_field), description.get(kind.ended_field)
    resources = kind.get_cluster_config(description)
    where = f"{resources.get('InstanceCount', '?')} x {resources.get('InstanceType', '?')}"
    if started is None:
        return f"never, on {where}"
    if ended is None:
        return f"since {started.isoformat()}, on {where}"
    return f"{(ended - started).total_seconds():.0f} s on {where}"
