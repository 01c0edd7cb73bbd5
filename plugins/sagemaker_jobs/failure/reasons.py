"""Table of the reasons for which jobs fail or are stopped: how to recognise each, whether to retry, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: How advice names the task of which nothing is known here but that it submitted the job.
SUBMITTER = "the task that submitted the job"


@dataclass(frozen=True, slots=True)
class Reason:
    """One known cause.

    Attributes:
        name: short name for logs.
        pattern: regular expression found in FailureReason (and, for advice, in the log's last lines).
        advice: what a person should do, one or two sentences.
        retryable: whether the same request may succeed when it is sent again.
        applies_to_logs: whether the pattern is specific enough to be trusted when only the job's log matches it.
    """

    name: str
    pattern: str
    advice: str
    retryable: bool = False
    applies_to_logs: bool = False


# The first match wins, so specific reasons come before general ones. AWS's texts are from the developer guide,
# public threads that quote it, and grand-challenge.org's driver.
REASONS: tuple[Reason, ...] = (
    Reason(
        "capacity",
        r"CapacityError|Unable to provision requested ML compute capacity|InsufficientInstanceCapacity",
        "AWS had no free instances of this type. It is tried again; give `instance_types` a second type, "
        "fewer instances, or another region if it keeps happening.",
        retryable=True,
    ),
    Reason(
        "quota",
        r"ResourceLimitExceeded|account-level service limit",
        "The account's quota for these instances is in use. Lower InstanceCount, limit concurrent runs "
        "with a pool, or ask for a larger quota in AWS Service Quotas.",
        retryable=True,
    ),
    Reason(
        "throttled",
        r"ThrottlingException|Rate exceeded|TooManyRequests",
        "AWS limited the rate of calls. It is tried again with growing pauses.",
        retryable=True,
    ),
    Reason(
        "ping",
        r"failed to respond to ping|did not pass the ping health check",
        "The model's container never answered GET /ping on port 8080 with status 200. Look for an import "
        "error or a missing file in its log: the model is loaded before the server answers.",
    ),
    Reason(
        "memory",
        r"instance type with more memory|OutOfMemory|MemoryError|Cannot allocate memory",
        "The instance ran out of memory. Choose a larger instance type, lower MaxConcurrentTransforms, or "
        "make the input's parts smaller.",
        applies_to_logs=True,
    ),
    Reason(
        "payload",
        r"Request Entity Too Large|status code:? 413|ClientError: 413|payload (is )?too large|"
        r"exceeds MaxPayloadInMB",
        "A request was larger than the container takes. Lower MaxPayloadInMB (at most 5 for a pipeline of "
        "containers), or set SplitType so that records are sent in batches.",
        applies_to_logs=True,
    ),
    Reason(
        "timeout",
        r"did not respond to /invocations request within",
        "The model took longer for a request than SageMaker waits. Raise InvocationsTimeoutInSeconds (at most 3,600), "
        "send less in a request (MaxPayloadInMB, or BatchStrategy SingleRecord), or fewer at a time "
        "(MaxConcurrentTransforms).",
        applies_to_logs=True,
    ),
    Reason(
        "parse",
        r"Failed to parse output|could not convert string|Error tokenizing data|JSONDecodeError|"
        r"Invalid JsonPath",
        "A record could not be parsed. The log names the object; check ContentType, SplitType, the "
        "delimiter and that no header line is left, then clear the task that submitted the job, with all that follows "
        "it.",
        applies_to_logs=True,
    ),
    Reason(
        "media type",
        r"ClientError: 415|ClientError: 406|Unsupported content[- ]type|Unsupported Media Type|"
        r"not acceptable",
        "The container does not take this ContentType or cannot answer this Accept. Linear Learner, for "
        "one, answers application/json and application/jsonlines but not text/csv.",
        applies_to_logs=True,
    ),
    Reason(
        "permission",
        r"AccessDenied|not authorized to perform|Could not assume role|s3:ListBucket|UnauthorizedAccess",
        "A role lacks a permission that is named above. The model's or job's execution role needs "
        "s3:GetObject, s3:ListBucket and s3:PutObject on these prefixes, and must trust "
        "sagemaker.amazonaws.com.",
    ),
    Reason(
        "model data",
        r"model data|ModelDataUrl|model\.tar\.gz|Failed to extract|unable to locate .*model artifact",
        "The model's artefact could not be fetched or unpacked. It must be one gzip-compressed tar file at "
        "ModelDataUrl that the role may read.",
    ),
    Reason(
        "input",
        r"No S3 objects found|Failed to download data|input data source",
        "The input is missing or cannot be listed. Check the prefix (it is a plain string prefix, and case "
        "matters) and the role's s3:ListBucket permission.",
    ),
    Reason(
        "internal",
        r"InternalServerError|We encountered an internal error|InternalFailure|InternalError",
        "SageMaker reported an internal error. It is tried again; when it repeats, suspect the instance's "
        "memory or its 30 GB disk, and use a larger type.",
        retryable=True,
    ),
    Reason(
        "algorithm",
        r"AlgorithmError",
        "The code in the container failed, and its log says where. Correct the code, or the record that it names, then "
        "clear the task that submitted the job, with all that follows it; running the same again would cost the same "
        "and end the same.",
    ),
    Reason(
        "client",
        r"ClientError",
        "The container rejected what it was sent, or SageMaker the job's settings: its log says "
        "which object. Correct that, then clear the task that submitted the job, with all that follows it.",
    ),
)

UNKNOWN = Reason(
    "unknown",
    r"",
    "The reason is not one of the known ones, so the job is not run again by itself. Read its log; "
    "clear the task that submitted the job, with all that follows it, to try again.",
)
TIME_LIMIT = Reason(
    "time limit",
    r"",
    "The job took longer than it may, and would again. Use more or larger instances, or raise the limit if "
    "the time is really needed; then clear the task that submitted the job, with all that follows it.",
)
WAIT_LIMIT = Reason(
    "wait limit",
    r"",
    "The task's own time (execution_timeout, or the sensor's timeout) was up before the job ended. Raise it "
    "above the job's limit if the job was well.",
    retryable=True,
)
STOPPED_BY_US = Reason(
    "stopped by Airflow",
    r"",
    "Airflow stopped this job because its task was killed, cleared or marked. The next try starts a new "
    "attempt.",
    retryable=True,
)
STOPPED_BY_SOMEBODY = Reason(
    "stopped on AWS",
    r"",
    "Somebody stopped this job on AWS, so it is not started again by itself. To start a new attempt, clear "
    "the task that submitted the job, with all that follows it.",
)


#: Reasons of which AWS says "See job logs for more information": the log, or the exit message, has the cause.
VAGUE_REASONS = frozenset({"algorithm", "client", "unknown"})


def classify_failure_reason(failure_reason: str | None) -> Reason:
    """The known reason whose pattern matches a FailureReason, else UNKNOWN. Decides whether the job is retried."""
    text = failure_reason or ""
    return next((reason for reason in REASONS if re.search(reason.pattern, text, re.IGNORECASE)), UNKNOWN)


def choose_advice(reason: Reason, log_lines: list[str]) -> str:
    """The advice of ``reason``, or of a more specific reason that matches the job's last log lines.

    "AlgorithmError: See job logs for more information" says little; the log often has the cause.
    """
    if reason.name not in VAGUE_REASONS:
        return reason.advice
    text = "\n".join(log_lines)
    logged = (known for known in REASONS if known.applies_to_logs)
    return next((known for known in logged if re.search(known.pattern, text, re.IGNORECASE)), reason).advice
