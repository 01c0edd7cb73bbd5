"""What SageMaker would refuse late is found before submission, and each message says what, why and what to write."""

from __future__ import annotations

from typing import Any

import pytest

from batch_inference.common.errors import RequestLintError
from batch_inference.requests.lint import LintContext, lint_processing, lint_transform, raise_for_problems
from tests.unit.builders import example, requests


def request(**changes: Any) -> dict[str, Any]:
    """A sound transform request with values replaced at names joined by two underscores; None removes."""
    made = requests(example())["transform"]
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = made
        for parent in parents:
            at = at.setdefault(parent, {})
        if value is None:
            at.pop(last, None)
        else:
            at[last] = value
    return made


def test_the_projects_own_requests_have_no_problem() -> None:
    facts = LintContext(
        container_count=2,
        largest_record_bytes=200,
        has_header=False,
        host_input_bytes=10**9,
    )
    assert lint_transform(request(), facts) == ()
    assert lint_processing(requests(example())["preprocess"], facts) == ()
    raise_for_problems(())


SOURCE = "TransformInput__DataSource__S3DataSource__S3Uri"
CSV = {"TransformOutput__Accept": "text/csv"}


@pytest.mark.parametrize(
    ("changes", "facts", "begin", "end"),
    [
        (
            {"MaxConcurrentTransforms": 30}, {},
            "MaxConcurrentTransforms 30 times MaxPayloadInMB 5 is 150 MB",
            "write MaxConcurrentTransforms 20 or MaxPayloadInMB 3",
        ),
        ({"MaxPayloadInMB": 6}, {"container_count": 2}, "MaxPayloadInMB: found 6 for 2 containers", "write 5 or less"),
        (
            {"MaxPayloadInMB": None}, {"container_count": 2},
            "MaxPayloadInMB: found 6 for 2 containers", "write 5 or less",
        ),
        ({"MaxPayloadInMB": 0}, {"container_count": 2}, "MaxPayloadInMB: found 0 for 2 containers", "write 5 or less"),
        (
            {"MaxConcurrentTransforms": None}, {"container_count": 2},
            "MaxConcurrentTransforms: not stated for 2 containers", "state a number",
        ),
        (
            {"TransformInput__SplitType": "None"}, {},
            "BatchStrategy MultiRecord without SplitType",
            "write SplitType Line, RecordIO or TFRecord, or drop BatchStrategy",
        ),
        (
            {}, {"largest_record_bytes": 6_000_000},
            "MaxPayloadInMB: found 5, but a record of the input is 6.0 MB", "write MaxPayloadInMB 6",
        ),
        (
            {}, {"largest_record_bytes": 6_000_000, "container_count": 2},
            "MaxPayloadInMB: found 5, but a record of the input is 6.0 MB", "for no payload is enough",
        ),
        ({}, {"has_header": True}, "TransformInput: the objects begin with a line of column names", "without it"),
        (
            {SOURCE: "s3://data/in/", "TransformOutput__S3OutputPath": "s3://data/in/out/"}, {},
            "S3OutputPath: found s3://data/in/out/, below the input s3://data/in/", "choose another prefix",
        ),
        (
            {"DataProcessing__OutputFilter": "$['account_id','SageMakerOutput']", **CSV}, {},
            "OutputFilter: found '_' in \"$['account_id','SageMakerOutput']\"", "or choose by position",
        ),
        ({"DataProcessing__InputFilter": "$" + "[0]" * 21, **CSV}, {}, "InputFilter: found 64 characters", "instead"),
        ({"DataProcessing__InputFilter": "$[0:2,246:]", **CSV}, {}, "InputFilter: found several ranges in '$", "join"),
        (
            {"DataProcessing__JoinSource": "Input"}, {},
            "JoinSource Input with ContentType text/csv and Accept application/jsonlines", "join outside",
        ),
        (
            {"DataProcessing__JoinSource": "Input", "TransformOutput__AssembleWith": "None", **CSV}, {},
            "JoinSource Input on text/csv with SplitType Line and AssembleWith None", "write Line for both",
        ),
    ],
)  # fmt: skip
def test_a_request_that_would_fail_late_is_one_sentence(
    changes: dict[str, Any], facts: dict[str, Any], begin: str, end: str
) -> None:
    problems = lint_transform(request(**changes), LintContext(**facts))
    assert len(problems) == 1, problems
    assert problems[0].startswith(begin)
    assert problems[0].endswith(end)
    with pytest.raises(RequestLintError) as caught:
        raise_for_problems(problems)
    assert str(caught.value) == problems[0]


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({SOURCE: "s3://data/in", "TransformOutput__S3OutputPath": "s3://data/out/"}, {}),
        ({"DataProcessing__InputFilter": "$[1:]", "DataProcessing__OutputFilter": "$[0, -1]", **CSV}, {}),
        ({"DataProcessing__JoinSource": "Input", **CSV}, {}),
        ({"MaxPayloadInMB": 0, "MaxConcurrentTransforms": None}, {"largest_record_bytes": 10**9}),
        ({"MaxPayloadInMB": 100, "MaxConcurrentTransforms": 1}, {"largest_record_bytes": 100 * 2**20}),
        ({"BatchStrategy": None, "TransformInput__SplitType": "None"}, {"has_header": True}),
    ],
)
def test_what_sagemaker_takes_is_not_complained_about(changes: dict[str, Any], facts: dict[str, Any]) -> None:
    assert lint_transform(request(**changes), LintContext(**facts)) == ()


def test_a_disk_that_cannot_hold_input_and_output_is_found() -> None:
    made = requests(example())["preprocess"]
    assert lint_processing(made, LintContext(host_input_bytes=9 * 10**9)) == ()
    (problem,) = lint_processing(made, LintContext(host_input_bytes=10 * 10**9))
    assert problem.startswith("VolumeSizeInGB: found 30, but each instance holds 10.0 GB of input")
    assert "write 31, or use more instances" in problem


def test_several_problems_are_told_at_once() -> None:
    problems = lint_transform(request(MaxPayloadInMB=50), LintContext(container_count=2))
    assert [problem.split(":")[0].split(" ")[0] for problem in problems] == [
        "MaxConcurrentTransforms", "MaxPayloadInMB",
    ]  # fmt: skip
