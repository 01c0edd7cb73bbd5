"""What happens when a task fails: its log says why in paragraphs, and its Failure is pushed to XCom."""

from __future__ import annotations

import copy
import logging
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from batch_inference.common.errors import BatchInferenceError
from batch_inference.jobs.common.errors import JobError
from batch_inference.publishing.claims import OvertakenError
from batch_inference.run.failures import FAILURE_KEY, Failure, build_failure, is_for_people
from sagemaker_jobs.airflow_compat import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    AirflowTaskTimeout,
    DownstreamTasksSkipped,
)

log = logging.getLogger(__name__)

#: Characters of a line in the log; Airflow's UI shows about as many beside the time.
LINE_WIDTH = 110
#: Attribute of an error that was reported: its Failure.
FAILURE_ATTRIBUTE = "failure"


class TaskFailedError(AirflowFailException):
    """A task failed for a reason that its log and its Failure give; Airflow does not try it again."""


@contextmanager
def report_failure(ti: Any) -> Iterator[None]:
    """Report the error that leaves the block, and raise it with a short text.

    The Failure is pushed before the error leaves, so that `clean_up` finds it. The message of an error for people is
    logged in paragraphs; the error that Airflow then logs has the headline and no traceback of ours. An unexpected
    error is raised unchanged, since its traceback is needed, and Airflow logs it once. The error that is raised has the
    Failure as its attribute `failure`.

    Raises:
        TaskFailedError: a BatchInferenceError or a JobError, which is not tried again.
        SageMakerJobError: of the same class, which decides whether the task is tried again.
    """
    try:
        yield
    except (AirflowSkipException, DownstreamTasksSkipped, AirflowRescheduleException):
        raise
    except (Exception, AirflowTaskTimeout, SystemExit) as error:
        if getattr(error, FAILURE_ATTRIBUTE, None) is not None:
            raise
        failure = _try_build_failure(error, ti)
        if failure is None:
            if isinstance(error, BatchInferenceError | JobError):
                raise TaskFailedError(type(error).__name__) from error
            raise
        # Of a process that Airflow has lost, whose task has a reason of its own, or has succeeded.
        if not isinstance(error, OvertakenError):
            push_failure(ti, failure)
        raised = error if failure.error == type(error).__name__ else error.__cause__
        if raised is None or not is_for_people(raised):
            setattr(error, FAILURE_ATTRIBUTE, failure)
            raise
        log_failure(failure)
        short = _build_short_error(raised, failure)
        setattr(short, FAILURE_ATTRIBUTE, failure)
    else:
        return
    # The error that has left the block is the context of this one, which `from None` suppresses: Airflow logs neither
    # the long message nor the frames below.
    raise short from None


def _try_build_failure(error: BaseException, ti: Any) -> Failure | None:
    """The failure; None where it cannot be built, which is logged: it must not hide the task's error."""
    try:
        return build_failure(error, ti)
    except Exception:
        log.exception("The reason of this failure could not be described; the error of the task has it.")
        return None


def push_failure(ti: Any, failure: Failure) -> None:
    """Push the failure to XCom. An error is logged: it must not hide the task's."""
    try:
        ti.xcom_push(key=FAILURE_KEY, value=failure.to_xcom())
    except Exception:
        log.exception("The reason of this failure could not be pushed to XCom; the log alone has it.")


def log_failure(failure: Failure) -> None:
    """Log the message, and what to do, in lines of a readable length, each as a line of the log."""
    log_paragraphs(failure.describe())


def log_paragraphs(text: str) -> None:
    """Log each line of the text, wrapped, as an error."""
    for line in format_paragraphs(text):
        log.error("%s", line)


def format_paragraphs(message: str) -> list[str]:
    """The lines of a message, each at most LINE_WIDTH wide, with its indentation."""
    lines: list[str] = []
    for paragraph in message.splitlines():
        indent = paragraph[: len(paragraph) - len(paragraph.lstrip())]
        wrapped = textwrap.wrap(
            paragraph,
            LINE_WIDTH,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines.extend(wrapped or [""])
    return lines


def _build_short_error(error: BaseException, failure: Failure) -> BaseException:
    """The error to raise in place of one for people: a SageMaker error keeps its class, which decides on retries."""
    from sagemaker_jobs.errors import SageMakerJobError

    if not isinstance(error, SageMakerJobError):
        return TaskFailedError(f"{failure.error}: {failure.headline}")
    short = copy.copy(error)
    # Its advice is in the log already, and follows the headline in `str()`.
    short.args, short.headline, short.advice = (failure.headline,), failure.headline, None
    return short.with_traceback(None)
