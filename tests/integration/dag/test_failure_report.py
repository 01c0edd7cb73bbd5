"""A failed task: the reason in its log in paragraphs, in XCom before the error leaves, and a short error."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from batch_inference.common.errors import PlanError
from batch_inference.dag.failure_report import LINE_WIDTH, TaskFailedError, format_paragraphs, report_failure
from batch_inference.dag.task_functions import report_failures
from batch_inference.publishing.claims import OvertakenError
from sagemaker_jobs.airflow_compat import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)
from sagemaker_jobs.errors import JobFailed, JobFailedPermanently


class Instance(SimpleNamespace):
    """A task instance that keeps what is pushed."""

    def __init__(self, *, is_down: bool = False) -> None:
        super().__init__(
            task_id="await_transform", map_index=-1, try_number=1, max_tries=2, pushed={}, is_down=is_down
        )

    def xcom_push(self, key: str, value: Any) -> None:
        """Fails as Airflow's API does when it is down."""
        if self.is_down:
            raise ConnectionError("the API does not answer")
        self.pushed[key] = value


def report(error: BaseException, ti: Any = None) -> BaseException:
    """What leaves a task that `error` ends."""
    with pytest.raises(BaseException) as caught, report_failure(ti or Instance()):  # noqa: PT011, PT012
        try:
            raise OSError("a call before")
        except OSError:
            raise error  # noqa: B904 - as code that does not chain
    return caught.value


def test_an_error_for_people_is_logged_in_paragraphs_and_raised_short(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With its class, which decides on a retry, and without its frames."""
    ti = Instance()
    lines = ("ValueError: bad " + "word " * 60, "    indented")
    error = JobFailedPermanently(
        "SageMaker transform job j-1 failed: ValueError: bad\n" + "\n".join(lines),
        headline="The transform job failed: ValueError: bad", advice="Mend it.", job_name="j-1", reason="algorithm",
    )  # fmt: skip
    raised = report(error, ti)
    assert type(raised) is JobFailedPermanently
    assert str(raised) == "The transform job failed: ValueError: bad"
    assert "a call before" not in "".join(traceback.format_exception(raised))
    logged = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert logged[:2] == ["SageMaker transform job j-1 failed: ValueError: bad", "What to do: Mend it."]
    assert max(map(len, logged)) <= LINE_WIDTH
    assert logged[-1] == "    indented"
    assert ti.pushed["failure"]["headline"] == "The transform job failed: ValueError: bad"
    assert ti.pushed["failure"]["advice"] == "Mend it."


def test_our_own_errors_are_final_and_one_that_may_pass_is_not() -> None:
    """As before: the type decides."""
    raised = report(PlanError("too dear"))
    assert isinstance(raised, TaskFailedError)
    assert isinstance(raised, AirflowFailException)
    assert str(raised) == "PlanError: too dear"
    assert not isinstance(report(JobFailed("internal error")), AirflowFailException)


def test_an_unexpected_error_is_raised_as_it_is() -> None:
    """A bug needs its traceback, and Airflow logs it once."""
    ti, error = Instance(), ZeroDivisionError("division by zero")
    assert report(error, ti) is error
    assert ti.pushed["failure"]["headline"] == "ZeroDivisionError: division by zero"
    ended = SystemExit(3)
    assert report(ended, ti) is ended
    assert ti.pushed["failure"]["headline"] == "SystemExit: 3"
    late = AirflowTaskTimeout("Timeout, PID: 1")
    assert report(late, ti) is late
    assert ti.pushed["failure"]["error"] == "AirflowTaskTimeout"


def test_a_task_that_defers_or_is_skipped_has_not_failed() -> None:
    """Both are exceptions."""
    ti = Instance()
    skipped = AirflowSkipException("nothing to do")
    assert report(skipped, ti) is skipped
    deferred = TaskDeferred(trigger=None, method_name="resume")  # type: ignore[arg-type]
    assert report(deferred, ti) is deferred
    rescheduled = AirflowRescheduleException(datetime(2026, 1, 1, tzinfo=UTC))
    assert report(rescheduled, ti) is rescheduled
    assert ti.pushed == {}


def test_a_process_that_airflow_has_lost_says_nothing_for_its_task() -> None:
    """The task has a later try, which may have succeeded."""
    ti, error = Instance(), OvertakenError("its task has finished")
    assert report(error, ti) is error
    assert ti.pushed == {}


def test_what_cannot_be_pushed_does_not_hide_the_error(caplog: pytest.LogCaptureFixture) -> None:
    """The log still has it."""
    assert str(report(PlanError("too dear"), Instance(is_down=True))) == "PlanError: too dear"
    assert "too dear" in caplog.messages


def test_a_failure_is_reported_once() -> None:
    """`execute` calls what reports too, such as a template or the function of a task."""
    ti = Instance()
    raised = report(report(PlanError("too dear")), ti)
    assert str(raised) == "PlanError: too dear"
    assert ti.pushed == {}

    @report_failures
    def body(*, ti: Any) -> None:
        raise PlanError("too dear")

    with pytest.raises(TaskFailedError):
        body(ti=ti)
    assert ti.pushed["failure"]["error"] == "PlanError"


def test_paragraphs_keep_their_indentation_and_long_words() -> None:
    """A URI is not cut."""
    uri = "s3://bucket/" + "a" * 200
    assert format_paragraphs(f"found {uri}\n\n    x") == ["found", uri, "", "    x"]


def test_a_text_that_utf_8_cannot_write_does_not_hide_the_error() -> None:
    """As in a file that is not UTF-8."""
    ti = Instance()
    assert str(report(PlanError("bad \udcff cell"), ti)) == "PlanError: bad ? cell"
    assert ti.pushed["failure"]["message"] == "bad ? cell"


class UnreadableError(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise KeyError("cell")


class UnreadablePlanError(UnreadableError, PlanError):
    """One of ours, which is final."""


def test_a_failure_that_cannot_be_described_leaves_the_error_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What decides on a retry is kept."""
    ti, error, own = Instance(), UnreadableError(), UnreadablePlanError()
    assert report(error, ti) is error
    assert "could not be described" in caplog.text
    raised = report(own, ti)
    assert isinstance(raised, AirflowFailException)
    assert raised.__cause__ is own
    assert ti.pushed == {}
