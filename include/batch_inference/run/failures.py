"""Why a task failed: what each task pushes to XCom before its error leaves it, for `clean_up` and the pages."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError
from pydantic import Field, ValidationError

from batch_inference.common.errors import BatchInferenceError
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.jobs.common.errors import ConfigError, FunctionError, InputError, JobError, JoinError
from batch_inference.run.task_ids import SUBMITTING_TASKS
from sagemaker_jobs.airflow_compat import AirflowFailException, AirflowSensorTimeout, mask_secrets
from sagemaker_jobs.errors import SageMakerJobError
from sagemaker_jobs.failure.reasons import SUBMITTER

#: XCom key of a task's Failure.
FAILURE_KEY = "failure"
MAX_HEADLINE, MAX_MESSAGE = 300, 8_000
MAX_LOG_LINES, MAX_LOG_LINE = 30, 400


class Failure(FrozenModel):
    """Why one try of a task failed.

    Attributes:
        map_index: of a mapped task, else -1.
        at: when it failed, in epoch seconds.
        error: the error's class name.
        headline: one sentence: what failed and why.
        message: all of it, paragraphs separated by newlines.
        advice: what to do; None where the message is all that is known.
        job_name: of the SageMaker job that failed; None without one. `log_group` is that of its logs.
        log_lines: the last lines of the job's container, the reason among them.
        will_retry: whether Airflow tries the task again.
    """

    task_id: str
    map_index: int = -1
    try_number: int
    at: float
    error: str
    headline: str = Field(max_length=MAX_HEADLINE)
    message: str = Field(max_length=MAX_MESSAGE)
    advice: str | None = None
    job_name: str | None = None
    log_group: str | None = None
    log_lines: tuple[str, ...] = Field(default=(), max_length=MAX_LOG_LINES)
    will_retry: bool = False

    @property
    def paragraph(self) -> str | None:
        """The whole message behind the headline, its class before it where the headline has that; None for several."""
        message = self.message.strip()
        prefix = f"{self.error}: "
        if self.headline.startswith(prefix) and not message.startswith(prefix):
            message = prefix + message
        begin = self.headline.removesuffix(" …").rstrip(".")
        return message if "\n" not in message and message.startswith(begin) else None

    def describe(self) -> str:
        """The message, and what to do."""
        if self.advice is None or self.advice in self.message:
            return self.message
        return f"{self.message}\nWhat to do: {self.advice}"

    def to_xcom(self) -> dict[str, Any]:
        """The failure as a JSON-safe dict."""
        return self.model_dump(mode="json")


_PLAN_AGAIN = "then clear `plan` with all that follows it, or start a new run."
#: What to do about an error of our own jobs, by its class, with the kind of cause.
JOB_ERRORS: Mapping[type[JobError], tuple[str, str]] = {
    InputError: (
        "input",
        f"Correct the object that is named, or `input` in the pipeline file; {_PLAN_AGAIN}",
    ),
    ConfigError: (
        "pipeline file",
        f"Correct the pipeline file, or the image or wheels that the message names; {_PLAN_AGAIN}",
    ),
    FunctionError: ("function", f"Correct the pipeline's function; {_PLAN_AGAIN}"),
    JoinError: (
        "predictions",
        f"The model must answer each record once and in order. Correct it, `transform` or `predictions`; {_PLAN_AGAIN}",
    ),
    JobError: (
        "instances",
        f"Change the instances or the network of the job as the message says; {_PLAN_AGAIN}",
    ),
}
_JOB_ERROR_CLASSES = {each.__name__: each for base in JOB_ERRORS for each in (base, *base.__subclasses__())}
#: The exit message of several instances is that of each, one after the other.
_EXIT_MESSAGE = re.compile(rf"({'|'.join(_JOB_ERROR_CLASSES)}): (.*)", re.DOTALL)
_DENIED = ("AccessDenied", "AccessDeniedException", "403", "UnauthorizedOperation")


def explain_job_error(error: SageMakerJobError) -> SageMakerJobError:
    """The error of a job; where our own code in the container ended it, with the cause and advice of that.

    To SageMaker that is an AlgorithmError, "the code in the container failed", although the input or the pipeline file
    is wrong.
    """
    found = _EXIT_MESSAGE.search(error.exit_message or "")
    advice = None if found is None else _find_job_advice(_JOB_ERROR_CLASSES[found[1]])
    if found is None or advice is None or error.status != "Failed":
        return error
    explained = copy.copy(error)
    explained.reason, explained.advice = advice
    name, text = found.groups()
    explained.headline = error.headline.replace(f"{name}: {text}", text)
    explained.args = (str(error.args[0]).replace(f"failed: {name}: {text}", f"failed: {text}", 1),)
    return explained


def _find_job_advice(error_class: type[BaseException] | None) -> tuple[str, str] | None:
    classes = () if error_class is None else error_class.__mro__
    return next((JOB_ERRORS[each] for each in classes if each in JOB_ERRORS), None)


def _choose_advice(error: BaseException) -> str | None:
    own: str | None = getattr(error, "advice", None) if is_for_people(error) else None
    if own is not None:
        return own
    if isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in _DENIED:
        return (
            "Let Airflow's role do this; `batch-inference iam` prints the policy. Then clear the failed task."
        )
    advice = _find_job_advice(type(error))
    return None if advice is None else advice[1]


def is_for_people(error: BaseException) -> bool:
    """Whether an error's message says it all, so that its traceback tells nobody anything."""
    return isinstance(error, BatchInferenceError | JobError | SageMakerJobError)


def build_failure(error: BaseException, ti: Any) -> Failure:
    """The failure of the task instance `ti`, which `error` ends.

    An AirflowFailException that one of this project's errors caused counts as that error. An error that is not for
    people has its class in the headline, and none of its attributes is read: they may be anything. Secrets are masked
    before a text is cut, so that no part of one is left.
    """
    is_final = isinstance(error, AirflowFailException | AirflowSensorTimeout)
    will_retry = not is_final and ti.try_number <= (ti.max_tries or 0)
    if type(error) is AirflowFailException and error.__cause__ is not None:
        error = error.__cause__
    will_retry = will_retry and not isinstance(error, BatchInferenceError | JobError)
    if isinstance(error, SageMakerJobError):
        error = explain_job_error(error)
    message = clean_text(_name_submitting_task(str(error).strip(), ti.task_id) or type(error).__name__)
    own: Any = error if is_for_people(error) else None
    headline = clean_text(getattr(own, "headline", None) or message.split("\n", 1)[0])
    if own is None and not headline.startswith(type(error).__name__):
        headline = f"{type(error).__name__}: {headline}"
    advice, log_lines = _choose_advice(error), getattr(own, "log_lines", ())[:MAX_LOG_LINES]
    return Failure(
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        try_number=ti.try_number,
        at=time.time(),
        error=type(error).__name__,
        headline=shorten(headline, MAX_HEADLINE),
        message=_cut(message, MAX_MESSAGE),
        advice=None if advice is None else clean_text(_name_submitting_task(advice, ti.task_id)),
        job_name=getattr(own, "job_name", None),
        log_group=getattr(own, "log_group", None),
        log_lines=tuple(_cut(clean_text(line), MAX_LOG_LINE) for line in log_lines),
        will_retry=will_retry,
    )


def _name_submitting_task(text: str, task_id: str) -> str:
    """The advice of `sagemaker_jobs`, which does not know the DAG, with the id of the task that is to be cleared."""
    return text.replace(SUBMITTER, f"`{SUBMITTING_TASKS.get(task_id, task_id)}`")


def parse_failure(xcom_value: Any) -> Failure | None:
    """The Failure in an XCom value; None for any other value, such as that of a custom XCom backend."""
    if not isinstance(xcom_value, Mapping):
        return None
    try:
        return Failure.model_validate(xcom_value)
    except ValidationError:
        return None


def clean_text(text: str) -> str:
    """A text that XCom can hold and readers may see: secrets masked, and `?` for what UTF-8 cannot write."""
    return str(mask_secrets(text.encode("utf-8", "replace").decode("utf-8")))


def shorten(text: str, limit: int) -> str:
    """A text of at most `limit` characters: cut after a sentence or a clause where one ends in its second half."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    ends = [found.start() for found in re.finditer(r"(?:\.|;) ", text[: limit - 1])]
    if ends and ends[-1] >= limit // 2:
        return text[: ends[-1]] + ("." if text[ends[-1]] == "." else " …")
    return _cut(text, limit)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 2]} …"
