"""Builds the error for a job that failed or was stopped: why, what to do, AWS's words, the last log lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sagemaker_jobs.errors import (
    JobFailed,
    JobFailedPermanently,
    JobRanTooLong,
    JobStopped,
    JobTimedOut,
    SageMakerJobError,
)
from sagemaker_jobs.failure.log_digest import LogDigest, digest_logs
from sagemaker_jobs.failure.logs import tail_logs
from sagemaker_jobs.failure.reasons import (
    STOPPED_BY_SOMEBODY,
    STOPPED_BY_US,
    TIME_LIMIT,
    VAGUE_REASONS,
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
_CAUSES_OF_STOPS = {
    TIME_LIMIT: RAN_TOO_LONG,
    WAIT_LIMIT: TIMED_OUT,
    STOPPED_BY_US: "by Airflow",
    STOPPED_BY_SOMEBODY: "by somebody on AWS",
}
_AWS_PREFIX = re.compile(r"^(?:AlgorithmError|ClientError): *(?:See job logs for more information\.?)?")


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

    Reads the job's logs. ``because`` becomes the second line of the message.
    """
    reason = classify_job_end(kind, description, tags)
    tails = tail_logs(hook, kind, name)
    digest = digest_logs(tails)
    status = str(description[kind.status_field])
    cause = find_cause(reason, description, tags, digest)
    ended = "failed" if status == "Failed" else "was stopped"
    details = format_details(kind, name, description, tags, digest, cause)
    every_line = [line for tail in tails.values() for line in tail]
    return _error_type(reason, status)(
        "\n".join(filter(None, [f"SageMaker {kind.noun} {name} {ended}: {cause}", because, *details])),
        headline=f"The {kind.noun} {ended}: {'. '.join(filter(None, (cause, because)))}",
        advice=choose_advice(reason, every_line),
        job_name=name,
        status=status,
        reason=reason.name,
        exit_message=description.get("ExitMessage"),
        log_group=kind.log_group,
        log_lines=digest.lines,
    )


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


def find_cause(reason: Reason, description: dict[str, Any], tags: dict[str, str], digest: LogDigest) -> str:
    """Why the job ended, in one line: its exit message, or what its log says, where AWS's reason says little."""
    if reason in _CAUSES_OF_STOPS:
        return tags.get(STOPPED_TAG) or _CAUSES_OF_STOPS[reason]
    said = _AWS_PREFIX.sub("", description.get("FailureReason") or "").strip(" ,")
    if reason.name in VAGUE_REASONS:
        return description.get("ExitMessage") or digest.cause or said or "neither AWS nor its log says why"
    if reason.name == "ping" and digest.cause is not None:
        return f"its container did not answer /ping: {digest.cause}"
    return said


def format_details(
    kind: JobKind,
    name: str,
    description: dict[str, Any],
    tags: dict[str, str],
    digest: LogDigest,
    cause: str,
) -> list[str]:
    """The lines of the error message after the first: AWS's words, the job's, and the last lines of its log.

    An ExitMessage that is the ``cause`` stands in the first line already.
    """
    lines: list[str] = []
    if description.get("FailureReason"):
        lines.append(f"FailureReason: {description['FailureReason']}")
    if STOPPED_TAG in tags:
        lines.append(f"Stopped by Airflow: {tags[STOPPED_TAG]}")
    if description.get("ExitMessage", cause) != cause:
        lines.append(f"ExitMessage: {description['ExitMessage']}")
    lines.append(f"Ran: {_format_run_time(kind, description)}.")
    if digest.lines:
        lines.append(f"The last lines of {kind.log_group}, streams {name}/…:")
        lines.extend(f"    {line}" for line in digest.lines)
    else:
        lines.append(f"Nothing was logged in {kind.log_group} under {name}/.")
    return lines


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
