"""List: filters, order, pages."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.local_aws.api.requests import expect_client_error, processing_request, wait_until_ended

pytestmark = pytest.mark.local_only


@pytest.fixture(scope="module")
def jobs(sagemaker: Any) -> tuple[str, list[str]]:
    """A name token, and seven jobs in the order they were made: four Completed, two Failed, one Stopped."""
    token = uuid.uuid4().hex[:12]
    statuses = ["Completed", "Failed", "Completed", "Completed", "Failed", "Stopped", "Completed"]
    letters = "dacgebf"
    names = [f"{letter}-{token}" for letter in letters]
    for name, status in zip(names, statuses, strict=True):
        sagemaker.create_processing_job(
            **processing_request(name, Environment={"STATUS": status, "REASON": "r"})
        )
        wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)
    return token, names


def _names(answer: dict[str, Any]) -> list[str]:
    return [job["ProcessingJobName"] for job in answer["ProcessingJobSummaries"]]


def test_processing_jobs_are_listed_oldest_first_and_transform_jobs_newest_first(
    sagemaker: Any, jobs: tuple[str, list[str]], transform: dict[str, Any]
) -> None:
    """The defaults differ, as in AWS's model."""
    token, names = jobs
    assert _names(sagemaker.list_processing_jobs(NameContains=token)) == names
    base = transform["TransformJobName"]
    for number in range(2):
        sagemaker.create_transform_job(**{**transform, "TransformJobName": f"{base}-{number}"})
    listed = sagemaker.list_transform_jobs(NameContains=base)["TransformJobSummaries"]
    assert [job["TransformJobName"] for job in listed] == [f"{base}-1", f"{base}-0"]


@pytest.mark.parametrize("order", ["Ascending", "Descending"])
@pytest.mark.parametrize(
    ("sort_by", "key"),
    [
        ("Name", lambda name, names, status: name),
        ("CreationTime", lambda name, names, status: names.index(name)),
        ("Status", lambda name, names, status: (status[name], name)),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_every_order_is_the_same_on_pages_of_every_size(
    sagemaker: Any,
    jobs: tuple[str, list[str]],
    sort_by: str,
    key: Callable[..., Any],
    order: str,
    size: int,
) -> None:
    """Pages put together are the sorted list, each job once."""
    token, names = jobs
    pages = sagemaker.get_paginator("list_processing_jobs").paginate(
        NameContains=token, SortBy=sort_by, SortOrder=order, PaginationConfig={"PageSize": size}
    )
    summaries = [job for page in pages for job in page["ProcessingJobSummaries"]]
    status = {job["ProcessingJobName"]: job["ProcessingJobStatus"] for job in summaries}
    expected = sorted(names, key=lambda name: key(name, names, status), reverse=order == "Descending")
    assert [job["ProcessingJobName"] for job in summaries] == expected


def test_status_equals_and_name_contains_combine(sagemaker: Any, jobs: tuple[str, list[str]]) -> None:
    """NameContains is a part of the name, case and wildcards taken literally."""
    token, names = jobs
    failed = sagemaker.list_processing_jobs(NameContains=token, StatusEquals="Failed")
    assert _names(failed) == [names[1], names[4]]
    assert [job["FailureReason"] for job in failed["ProcessingJobSummaries"]] == ["r", "r"]
    assert _names(sagemaker.list_processing_jobs(NameContains=f"a-{token}")) == [names[1]]
    assert _names(sagemaker.list_processing_jobs(NameContains=token.replace(token[0], "%"))) == []


def test_times_filter_strictly(sagemaker: Any, jobs: tuple[str, list[str]]) -> None:
    """CreationTime and LastModifiedTime, before and after."""
    token, names = jobs
    third = sagemaker.describe_processing_job(ProcessingJobName=names[2])
    # botocore sends whole seconds, so the boundary is the second that the third job was made in.
    second = third["CreationTime"].replace(microsecond=0)
    made = {name: sagemaker.describe_processing_job(ProcessingJobName=name)["CreationTime"] for name in names}
    after = _names(sagemaker.list_processing_jobs(NameContains=token, CreationTimeAfter=second))
    assert after == [name for name in names if made[name] > second]
    before = _names(sagemaker.list_processing_jobs(NameContains=token, CreationTimeBefore=second))
    assert before == [name for name in names if made[name] < second]
    hour = datetime.timedelta(hours=1)
    assert (
        _names(sagemaker.list_processing_jobs(NameContains=token, LastModifiedTimeAfter=second + hour)) == []
    )
    assert (
        _names(sagemaker.list_processing_jobs(NameContains=token, LastModifiedTimeBefore=second + hour))
        == names
    )


def test_ten_are_a_page_unless_asked_otherwise(sagemaker: Any, name: str) -> None:
    """MaxResults defaults to 10."""
    for number in range(11):
        sagemaker.create_processing_job(**processing_request(f"{name}-{number:02}"))
    first = sagemaker.list_processing_jobs(NameContains=name)
    assert len(_names(first)) == 10
    rest = sagemaker.list_processing_jobs(NameContains=name, NextToken=first["NextToken"])
    assert _names(rest) == [f"{name}-10"]
    assert "NextToken" not in rest


def test_a_job_made_between_two_pages_moves_nothing(sagemaker: Any, name: str) -> None:
    """Pages go on after the last job shown."""
    for number in range(3):
        sagemaker.create_processing_job(**processing_request(f"{name}-{number}"))
    asked = {"NameContains": name, "SortOrder": "Descending", "MaxResults": 2}
    first = sagemaker.list_processing_jobs(**asked)
    sagemaker.create_processing_job(**processing_request(f"{name}-3"))
    rest = sagemaker.list_processing_jobs(**asked, NextToken=first["NextToken"])
    assert _names(first) + _names(rest) == [f"{name}-2", f"{name}-1", f"{name}-0"]


def test_a_token_of_another_call_is_refused(sagemaker: Any, jobs: tuple[str, list[str]]) -> None:
    """Nonsense, too."""
    token, _ = jobs
    page = sagemaker.list_processing_jobs(NameContains=token, MaxResults=2)
    with expect_client_error("ValidationException") as message:
        sagemaker.list_processing_jobs(NameContains="other", MaxResults=2, NextToken=page["NextToken"])
    assert message[0].startswith("Invalid NextToken: it belongs to a List call with other filters")
    for nonsense in ("x", "W1tdLCAxXQ==", "bnVsbA=="):
        with expect_client_error("ValidationException") as message:
            sagemaker.list_processing_jobs(NextToken=nonsense)
        assert message == ["Invalid NextToken: it is not one that this operation returned"]
