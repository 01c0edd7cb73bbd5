"""What a task says of its failure: one sentence, all of it, and the right advice for the cause."""

from __future__ import annotations

import json
import pickle
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batch_inference.common.errors import (
    BatchInferenceError,
    EmptyInputError,
    PipelineError,
    PlanError,
    RunHeldByGatesError,
    SetupError,
)
from batch_inference.dag.task_functions import no_retry
from batch_inference.jobs.common.errors import InputError, PredictionCountError
from batch_inference.run.failures import (
    MAX_HEADLINE,
    MAX_LOG_LINE,
    MAX_MESSAGE,
    build_failure,
    explain_job_error,
    parse_failure,
    shorten,
)
from sagemaker_jobs import airflow_compat
from sagemaker_jobs.airflow_compat import AirflowSensorTimeout
from sagemaker_jobs.errors import JobFailed, JobFailedPermanently, SubmitFailed
from sagemaker_jobs.failure.reasons import (
    REASONS,
    STOPPED_BY_SOMEBODY,
    STOPPED_BY_US,
    TIME_LIMIT,
    UNKNOWN,
    WAIT_LIMIT,
)


def ti(**fields: Any) -> Any:
    """A task instance on its first of three tries."""
    return SimpleNamespace(**{"task_id": "plan", "map_index": -1, "try_number": 1, "max_tries": 2, **fields})


@pytest.mark.parametrize(
    ("error", "headline", "advice"),
    [
        (
            PlanError("the budget is $5.00, but it costs $7.10"),
            "the budget is $5.00, but it costs $7.10",
            None,
        ),
        (SetupError(("no role", "no bucket")), "2 problems. The first: no role", None),
        (
            PipelineError("a.yaml", ("model: x", "input: y")),
            "a.yaml: 2 problems. The first: model: x",
            "Correct the file",
        ),
        (PipelineError("a.yaml", ("model: x",)), "a.yaml: model: x", "Correct the file"),
        (EmptyInputError("nothing there"), "nothing there", "Correct the prefix"),
        (
            RunHeldByGatesError("nightly-5", ("all predictions are 1",)),
            "The run is held and published nothing: all predictions are 1",
            'trigger the DAG with {"publish_run": "nightly-5"}',
        ),
        (
            InputError("s3://b/x.csv has no column age"),
            "s3://b/x.csv has no column age",
            "Correct the object",
        ),
        (
            PredictionCountError("algo-1-00000", 2, 1, "record 2 has no prediction"),
            "shard algo-1-00000: 2 records but 1 predictions",
            "The model must answer each record once",
        ),
        (KeyError("rows"), "KeyError: 'rows'", None),
        (ValueError(), "ValueError", None),
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "GetObject"),
            "ClientError: An error occurred (AccessDenied) when calling the GetObject operation: not you",
            "Let Airflow's role do this",
        ),
    ],
)
def test_an_error_gives_one_sentence_and_what_to_do(
    error: Exception, headline: str, advice: str | None
) -> None:
    """A person reads this first."""
    failure = build_failure(error, ti())
    assert failure.headline.startswith(headline)
    assert (failure.advice or "").startswith(advice or "") or str(advice) in str(failure.advice)
    assert (failure.advice is None) is (advice is None)
    assert failure.message
    assert parse_failure(json.loads(json.dumps(failure.to_xcom()))) == failure


def test_what_is_long_is_cut_and_no_lines_are_lost_before_the_thirtieth() -> None:
    """XCom is in Airflow's database."""
    long = JobFailed("x" * 9_000, log_lines=("y" * 900,) * 99, job_name="job-1", log_group="/aws/jobs")
    failure = build_failure(long, ti(map_index=3))
    assert (len(failure.headline), len(failure.message)) == (MAX_HEADLINE, MAX_MESSAGE)
    assert (len(failure.log_lines), len(failure.log_lines[0])) == (30, MAX_LOG_LINE)
    assert (failure.map_index, failure.job_name, failure.log_group) == (3, "job-1", "/aws/jobs")


def test_a_headline_ends_after_a_clause() -> None:
    """And not inside a word, where it can be helped."""
    assert shorten("a b c. " * 20, 40) == "a b c. a b c. a b c. a b c. a b c."
    assert shorten("x" * 50, 10) == "xxxxxxxx …"
    assert shorten("short\n text", 20) == "short text"


@pytest.mark.parametrize(
    ("error", "try_number", "will_retry"),
    [
        (ConnectionError("lost"), 1, True),
        (ConnectionError("lost"), 3, False),
        (SubmitFailed("no capacity"), 2, True),
        (JobFailedPermanently("wrong"), 1, False),
        (PlanError("too dear"), 1, False),
        (AirflowSensorTimeout("no answer in time"), 1, False),
    ],
)
def test_it_says_whether_airflow_tries_again(error: Exception, try_number: int, will_retry: bool) -> None:
    """The pages do not call a run failed that goes on."""
    assert build_failure(error, ti(try_number=try_number)).will_retry is will_retry


def test_attributes_of_an_error_that_is_not_ours_are_not_read() -> None:
    """They may be anything."""
    error = ValueError("it broke")
    for name in ("advice", "headline", "job_name", "log_group", "log_lines"):
        setattr(error, name, 7)
    failure = build_failure(error, ti())
    assert (failure.headline, failure.advice, failure.log_lines) == ("ValueError: it broke", None, ())


def test_secrets_are_masked_before_a_text_is_cut() -> None:
    """Airflow masks logs only; a secret that is cut in two would not be found."""
    import_module(airflow_compat.redact.__module__).mask_secret("s3cr3t-value")
    error = JobFailed("x" * 295 + "s3cr3t-value", log_lines=("key=s3cr3t-value",), advice="not s3cr3t-value")
    failure = build_failure(error, ti())
    assert "s3cr" not in str(failure.to_xcom())
    assert failure.log_lines == ("key=***",)


def test_an_error_that_was_made_final_counts_as_itself() -> None:
    """Its class and its words."""

    def fail() -> None:
        raise PlanError("too dear")

    with pytest.raises(Exception, match="too dear") as caught:
        no_retry(fail)()
    failure = build_failure(caught.value, ti())
    assert (failure.error, failure.headline, failure.will_retry) == ("PlanError", "too dear", False)


def job_error(exit_message: str | None, **fields: Any) -> JobFailedPermanently:
    """The error of a failed processing job, as `sagemaker_jobs` builds it."""
    cause = exit_message or "exit code 1"
    return JobFailedPermanently(
        f"SageMaker processing job j-1 failed: {cause}\nFailureReason: AlgorithmError: , exit code: 1",
        headline=f"The processing job failed: {cause}",
        **{
            "advice": "The code in the container failed.",
            "reason": "algorithm",
            "status": "Failed",
            **fields,
        },
        exit_message=exit_message,
        job_name="j-1",
    )


@pytest.mark.parametrize(
    ("task_id", "cleared"), [("await_transform", "`transform`"), ("preprocess", "`preprocess`")]
)
def test_the_advice_names_the_task_to_clear(task_id: str, cleared: str) -> None:
    """The one that submits the job, where another one waits for it."""
    advice = "Correct the code, then clear the task that submitted the job, with all that follows it."
    found = build_failure(job_error(None, advice=advice), ti(task_id=task_id))
    assert found.advice == f"Correct the code, then clear {cleared}, with all that follows it."
    assert found.describe().count("What to do") == 1
    assert cleared in found.describe()


def test_no_advice_leaves_the_reader_to_find_the_task() -> None:
    """Of all reasons that know of a task to clear."""
    for reason in (*REASONS, UNKNOWN, TIME_LIMIT, WAIT_LIMIT, STOPPED_BY_US, STOPPED_BY_SOMEBODY):
        found = build_failure(job_error(None, advice=reason.advice), ti(task_id="await_transform"))
        assert found.advice is not None
        assert "the task" not in found.advice, reason.name


@pytest.mark.parametrize(
    ("exit_message", "reason", "advice"),
    [
        ("InputError: s3://b/x.csv has no column age", "input", "Correct the object that is named"),
        ("ConfigError: columns[0].type is 'int'", "pipeline file", "Correct the pipeline file"),
        (
            "FunctionError: clean failed on algo-1: KeyError: 'age'",
            "function",
            "Correct the pipeline's function",
        ),
        ("PredictionCountError: shard a: 2 records", "predictions", "The model must answer"),
        (
            "algo-1: 10 inInputError: s3://b/x.csv is a zip archive",
            "input",
            "Correct the object that is named",
        ),
        ("JobError: one of the 4 processes was killed", "instances", "Change the instances or the network"),
        ("ValueError: x", "algorithm", "The code in the container failed."),
        (None, "algorithm", "The code in the container failed."),
    ],
)
def test_what_our_own_job_says_is_no_fault_of_its_code(
    exit_message: str | None, reason: str, advice: str
) -> None:
    """A column that is missing is not "the code in the container failed"."""
    found = explain_job_error(job_error(exit_message))
    assert (found.reason, str(found.advice)[: len(advice)]) == (reason, advice)
    assert f"failed: {advice}" not in str(found)
    assert f"\nWhat to do: {advice}" in str(found)
    assert isinstance(found, JobFailedPermanently)


def test_the_class_of_our_error_is_not_part_of_the_sentence() -> None:
    """It is for choosing the advice."""
    failure = build_failure(job_error("InputError: s3://b/x.csv has no column age"), ti())
    assert failure.headline == "The processing job failed: s3://b/x.csv has no column age"
    assert failure.message.startswith(
        "SageMaker processing job j-1 failed: s3://b/x.csv has no column age\nWhat to"
    )


@pytest.mark.parametrize("value", [None, "a reference", {"task_id": "plan"}, {"headline": 3}, []])
def test_a_foreign_value_is_no_failure(value: Any) -> None:
    """A user may write XComs; a custom backend leaves references."""
    assert parse_failure(value) is None


@pytest.mark.parametrize(
    "error", [SetupError(("a", "b")), RunHeldByGatesError("r", ("x",)), job_error("InputError: x")]
)
def test_errors_can_be_pickled(error: Exception) -> None:
    """Airflow passes them between processes."""
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.advice, again.headline) == (str(error), error.advice, error.headline)
    assert isinstance(again, BatchInferenceError | JobFailed)
