"""What is written on a job in AWS is what AWS takes."""

from __future__ import annotations

import re

import pytest

from sagemaker_jobs.tags import to_tag_list

#: The pattern of a tag's value in SageMaker's API, with Python's classes for Java's.
AWS_TAKES = re.compile(r"[\w\s_.:/=+\-@]{0,256}")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("its run has ended", "its run has ended"),
        (
            "run a+b@c of x is not active, and it is 12 s old",
            "run a+b@c of x is not active  and it is 12 s old",
        ),
        ("deferral timed out (7 s);\nsee the log", "deferral timed out  7 s   see the log"),
        ("a tab\tand 'quotes'", "a tab and  quotes"),
        ("x" * 300, "x" * 256),
    ],
)
def test_a_reason_becomes_a_value_that_aws_takes(value: str, written: str) -> None:
    [tag] = to_tag_list({"airflow:stopped-because": value})
    assert tag == {"Key": "airflow:stopped-because", "Value": written}
    assert AWS_TAKES.fullmatch(tag["Value"])
