"""Errors survive pickling; what Airflow may retry is part of their type; the known reasons are told apart."""

from __future__ import annotations

import inspect
import pickle

import pytest

from sagemaker_jobs import errors
from sagemaker_jobs.airflow_compat import AirflowException, AirflowFailException
from sagemaker_jobs.failure.reasons import REASONS, UNKNOWN, choose_advice, classify_failure_reason

TREE = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, errors.SageMakerJobError)
]


@pytest.mark.parametrize("error", TREE)
def test_an_error_survives_pickling(error: type[errors.SageMakerJobError]):
    """Airflow carries exceptions across processes."""
    original = error("why\nand what to do", job_name="work-1", status="Failed")
    copy = pickle.loads(pickle.dumps(original))
    assert type(copy) is error
    assert (str(copy), copy.job_name, copy.status) == ("why\nand what to do", "work-1", "Failed")
    assert isinstance(copy, AirflowException)


def test_the_tree_in_the_docstring_is_the_tree():
    """Every class is drawn, and the starred ones are those that Airflow does not retry."""
    drawn = [line.strip("│├└─ ") for line in (errors.__doc__ or "").splitlines() if "──" in line]
    names = {line.split()[0]: line.split()[1] == "*" for line in drawn}
    assert names == {
        each.__name__: issubclass(each, AirflowFailException)
        for each in TREE
        if each is not errors.SageMakerJobError
    }


@pytest.mark.parametrize(
    ("failure_reason", "name", "retryable"),
    [
        (
            (
                "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML "
                "instance type."
            ),
            "capacity",
            True,
        ),
        ("InternalServerError: We encountered an internal error.  Please try again.", "internal", True),
        ("ClientError: See job logs for more information", "client", False),
        ("AlgorithmError: See job logs for more information", "algorithm", False),
        ("AlgorithmError: See job logs for more information, exit code: 1", "algorithm", False),
        (
            (
                "AlgorithmError: Model container failed to respond to ping. Please ensure /ping endpoint is "
                "implemented and responds with an HTTP 200 status code"
            ),
            "ping",
            False,
        ),
        (
            (
                "ClientError: Please use an instance type with more memory, or reduce the size of job data "
                "processed on an instance."
            ),
            "memory",
            False,
        ),
        (
            "ClientError: Failed to download data. ListObjectsV2 failed for s3://b/p: AccessDenied",
            "permission",
            False,
        ),
        ("ClientError: Failed to download data. NoSuchBucket", "input", False),
        ("ClientError: Failed to parse output from the algorithm as CSV", "parse", False),
        ("Something AWS never said before", "unknown", False),
        (None, "unknown", False),
    ],
)
def test_a_failure_reason_is_classified(failure_reason: str | None, name: str, retryable: bool):
    """Texts as AWS words them; a reason nobody knows is not paid for twice."""
    reason = classify_failure_reason(failure_reason)
    assert (reason.name, reason.retryable) == (name, retryable)


def test_every_reason_has_advice_of_its_own():
    """No two causes are answered with the same words, and each answer says more than the cause's name."""
    advice = [reason.advice for reason in (*REASONS, UNKNOWN)]
    assert len(set(advice)) == len(advice)
    assert min(len(text) for text in advice) > 60


def test_a_telling_log_line_sharpens_the_advice():
    """ "See job logs" is what AWS says of most failures; the log has the rest."""
    vague = classify_failure_reason("ClientError: See job logs for more information")
    assert "MaxPayloadInMB" in choose_advice(vague, ["413 Request Entity Too Large"])
    late = "b/in/x.csv: Model server did not respond to /invocations request within 600 seconds"
    assert "Raise InvocationsTimeoutInSeconds" in choose_advice(vague, [late])
    assert choose_advice(vague, ["all is well"]) == vague.advice
    ping = classify_failure_reason("AlgorithmError: Model container failed to respond to ping.")
    assert choose_advice(ping, ["413 Request Entity Too Large"]) == ping.advice
