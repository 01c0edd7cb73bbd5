"""How long an instance worked, read from what its server logged."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from batch_inference.aws.transform_logs import find_busy_span, read_instance_activity


def lines(*moments: tuple[int, str]) -> list[dict[str, Any]]:
    """Log events at these milliseconds."""
    return [{"timestamp": moment, "message": message} for moment, message in moments]


PING, POST = '"GET /ping HTTP/1.1" 200', '"POST /invocations HTTP/1.1" 200'


@pytest.mark.parametrize(
    ("head", "tail", "expected"),
    [
        (
            lines((1000, "starting"), (2000, PING), (5000, POST)),
            lines((5000, POST), (9000, POST)),
            (2.0, 9.0),
        ),
        (lines((5000, POST)), lines((5000, POST), (7000, "bye")), (5.0, 5.0)),
        (lines((1000, "starting"), (2000, PING)), lines((2000, PING)), None),
        ([], [], None),
    ],
)
def test_work_is_from_before_the_first_request_to_the_last_one(head: list, tail: list, expected: Any) -> None:
    """A request is logged when it is answered; a server that logged none has not worked as far as anybody knows."""
    assert find_busy_span(head, tail) == expected


@pytest.mark.parametrize(
    "trouble",
    [
        EndpointConnectionError(endpoint_url="https://logs.eu-west-1.amazonaws.com"),
        ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeLogStreams"),
    ],
    ids=["no way to the service", "no permission"],
)
def test_logs_that_cannot_be_read_leave_the_figure_unknown_and_the_run_alone(
    trouble: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A figure in the report is no reason to publish nothing."""

    class Client:
        def get_paginator(self, _: str) -> Any:
            raise trouble

    monkeypatch.setattr("batch_inference.aws.transform_logs.get_client", lambda _: Client())
    job = {"kind": "Transform", "job_name": "churn-transform-1"}
    assert read_instance_activity("aws_default", "eu-west-1", job) == {
        "busy_seconds": None,
        "instances": None,
    }
