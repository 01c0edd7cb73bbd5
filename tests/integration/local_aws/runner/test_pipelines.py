"""Serial pipelines: what is passed on between containers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.local_aws.runner.harness import Aws

CSV_LINES = {"ContentType": "text/csv", "SplitType": "Line"}

# Adds what this container was asked to the list it got, and answers with the type it is told to.
STAGE = """
import json, os
def model_fn(folder):
    return None
def transform_fn(model, body, content_type, accept):
    text = body if isinstance(body, str) else body.decode()
    seen = json.loads(text) if text.startswith("[") else []
    seen.append([os.environ["STAGE"], content_type, accept])
    return json.dumps(seen), os.environ["ANSWER"]
"""


def stage(aws: Aws, name: str, answer: str, **more: Any) -> dict[str, Any]:
    return aws.script(
        STAGE,
        environment={
            "STAGE": name,
            "ANSWER": answer,
            "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": f"default/{name}",
        },
        **more,
    )


def test_content_types_are_passed_on_as_they_come_and_accept_goes_to_the_last(aws: Aws) -> None:
    """A charset that a server adds to text/csv reaches the next container, a known trap."""
    aws.put_all({"in/a": "1\n"})
    containers = [
        stage(aws, "one", "text/csv"),
        stage(aws, "two", "x/y"),
        stage(aws, "three", "application/json"),
    ]
    ended = aws.transform(
        containers, transform_input=CSV_LINES, transform_output={"Accept": "application/json"}
    )
    assert ended.outcome == ("Completed", None)
    assert json.loads(aws.get("out/a.out")) == [
        ["one", "text/csv", "default/one"],
        ["two", "text/csv; charset=utf-8", "default/two"],
        ["three", "x/y", "application/json"],
    ]
    assert ended.instances[0]["requests"] == 1


def test_each_container_has_its_own_model_and_its_own_log_stream(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    aws.transform(
        [
            stage(aws, "one", "x/y", ContainerHostname="first"),
            stage(aws, "two", "x/y", ContainerHostname="second"),
        ],
        transform_input=CSV_LINES,
    )
    streams = sorted(
        name.removeprefix(f"{aws.job}/").partition("/")[2] for name in aws.log_lines("transform")
    )
    assert streams == ["data-log", "first", "second"]


def test_the_first_answer_that_is_no_success_ends_the_request(aws: Aws) -> None:
    refuse = """
class UnsupportedFormatError(Exception):
    pass
def model_fn(folder):
    return None
def input_fn(body, content_type):
    raise UnsupportedFormatError(content_type)
"""
    aws.put_all({"in/a": "1\n"})
    ended = aws.transform(
        [stage(aws, "one", "text/csv"), aws.script(refuse), stage(aws, "three", "x/y")],
        transform_input=CSV_LINES,
    )
    assert ended.outcome == ("Failed", "ClientError: See job logs for more information")
    lines = aws.data_log()
    assert any("ClientError: 415" in line for line in lines)
    assert any("text/csv; charset=utf-8" in line for line in lines)


@pytest.mark.local_only
def test_the_limit_between_containers_is_a_setting(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    containers = [stage(aws, "one", "x/y"), stage(aws, "two", "x/y")]
    ended = aws.transform(
        containers,
        transform_input=CSV_LINES,
        settings={"pipeline_max_payload_mb": 1, "mb_bytes": 20},
        MaxPayloadInMB=6,
    )
    assert ended.outcome == ("Failed", "ClientError: See job logs for more information")
    lines = aws.data_log()
    assert any("ClientError: 413" in line for line in lines)
    assert any("Request Entity Too Large" in line for line in lines)


def test_fifteen_containers_are_asked_in_order(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    ended = aws.transform([stage(aws, str(number), "x/y") for number in range(15)], transform_input=CSV_LINES)
    assert ended.outcome == ("Completed", None)
    assert [seen[0] for seen in json.loads(aws.get("out/a.out"))] == [str(number) for number in range(15)]


def test_every_container_must_answer_ping(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    broken = aws.script("def model_fn(folder):\n    raise RuntimeError\n")
    status, reason = aws.transform([stage(aws, "one", "x/y"), broken], transform_input=CSV_LINES).outcome
    assert status == "Failed"
    assert "failed to respond to ping" in str(reason)
