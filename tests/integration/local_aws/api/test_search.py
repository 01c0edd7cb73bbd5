"""Search and BatchDescribeModelPackage, asked by an unmodified client."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.local_aws.api.requests import IMAGE, expect_client_error, version_request
from tests.integration.local_aws.api.test_wire import post
from tests.integration.local_aws.conftest import Aws

pytestmark = pytest.mark.local_only

GPU = {"Name": "gpu", "Containers": [{"Image": f"{IMAGE}-gpu", "Environment": {"A": "1"}}]}
SLOW = {
    "Name": "slow",
    "Containers": [{"Image": f"{IMAGE}-slow"}, {"Image": IMAGE, "ContainerHostname": "second"}],
}


@pytest.fixture(scope="module")
def names(sagemaker: Any) -> dict[str, str]:
    """Packages by what a test calls them: three versions of a group, and one that stands alone; their ARNs."""
    sagemaker.create_model_package_group(
        ModelPackageGroupName="hunt",
        ModelPackageGroupDescription="of the search",
        Tags=[{"Key": "a.b", "Value": "x"}],
    )
    sagemaker.create_model_package_group(ModelPackageGroupName="hunt-2")
    requests = {
        "one": version_request("hunt", ModelApprovalStatus="Approved", ModelPackageDescription="the first"),
        "two": version_request(
            "hunt", CustomerMetadataProperties={"auc": "0.9", "by.whom": "me"},
            AdditionalInferenceSpecifications=[GPU, SLOW],
        ),
        "three": version_request("hunt", ModelApprovalStatus="Rejected", ModelPackageDescription="the third, bad"),
        "alone": {
            "ModelPackageName": "hunt-alone", "SkipModelValidation": "All", "Domain": "COMPUTER_VISION",
            "Tags": [{"Key": "team", "Value": "red"}],
        },
    }  # fmt: skip
    return {
        name: sagemaker.create_model_package(**request)["ModelPackageArn"]
        for name, request in requests.items()
    }


def _found(sagemaker: Any, names: dict[str, str], *filters: tuple[str, ...], **more: Any) -> list[str]:
    """What a test calls the packages that match, oldest first; filters are name, operator, value."""
    expression = {
        "Filters": [
            {"Name": "ModelPackageArn", "Operator": "In", "Value": ",".join(names.values())},
            *(dict(zip(("Name", "Operator", "Value"), each, strict=False)) for each in filters),
        ],
        **more,
    }
    asked = {"Resource": "ModelPackage", "SearchExpression": expression, "SortBy": "CreationTime"}
    results = sagemaker.search(**asked, SortOrder="Ascending", MaxResults=100)["Results"]
    by_arn = {arn: name for name, arn in names.items()}
    return [by_arn[each["ModelPackage"]["ModelPackageArn"]] for each in results]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (("ModelApprovalStatus", "Equals", "Approved"), ["one"]),
        (("ModelApprovalStatus", "NotEquals", "Approved"), ["two", "three", "alone"]),
        (("ModelApprovalStatus", "In", "Approved, Rejected"), ["one", "three"]),
        (("ModelApprovalStatus", "NotExists"), ["alone"]),
        (("ModelPackageDescription", "Contains", "the t"), ["three"]),
        (("ModelPackageDescription", "Exists"), ["one", "three"]),
        (("ModelPackageGroupName", "Equals", "hunt"), ["one", "two", "three"]),
        (("ModelPackageName", "Equals", "hunt-alone"), ["alone"]),
        (("ModelPackageVersion", "Equals", "2"), ["two"]),
        (("ModelPackageVersion", "NotEquals", "2"), ["one", "three", "alone"]),
        (("ModelPackageVersion", "GreaterThan", "1"), ["two", "three"]),
        (("ModelPackageVersion", "GreaterThanOrEqualTo", "2.0"), ["two", "three"]),
        (("ModelPackageVersion", "LessThan", "2"), ["one"]),
        (("ModelPackageVersion", "LessThanOrEqualTo", "2"), ["one", "two"]),
        (("CustomerMetadataProperties.auc", "Equals", "0.9"), ["two"]),
        (("CustomerMetadataProperties.by.whom", "Exists"), ["two"]),
        (("Tags.team", "Equals", "red"), ["alone"]),
        (("Tags.team", "NotExists"), ["one", "two", "three"]),
        (("InferenceSpecification.Containers.Image", "Equals", IMAGE), ["one", "two", "three"]),
        (("AdditionalInferenceSpecifications.Name", "Equals", "slow"), ["two"]),
        (("AdditionalInferenceSpecifications", "Exists"), ["two"]),
        (("CreationTime", "GreaterThan", "2020-01-01T00:00:00"), ["one", "two", "three", "alone"]),
        (("CreationTime", "LessThan", "2020-01-01T00:00:00Z"), []),
    ],
)  # fmt: skip
def test_a_filter_finds_what_fulfils_it(
    sagemaker: Any, names: dict[str, str], condition: tuple[str, ...], expected: list[str]
) -> None:
    """By every operator, over every type of property: texts, numbers, times, tags, maps, lists."""
    assert _found(sagemaker, names, condition) == expected


def test_equals_is_meant_where_no_operator_is_given(sagemaker: Any, names: dict[str, str]) -> None:
    """As AWS's guide has it."""
    expression = {"Filters": [{"Name": "ModelPackageArn", "Value": names["two"]}]}
    [result] = sagemaker.search(Resource="ModelPackage", SearchExpression=expression)["Results"]
    package = result["ModelPackage"]
    assert package["ModelPackageArn"] == names["two"]
    assert (package["ModelPackageGroupName"], package["ModelPackageVersion"]) == ("hunt", 2)
    assert "ModelPackageName" not in package
    assert package["InferenceSpecification"]["Containers"] == [{"Image": IMAGE}]
    assert [each["Name"] for each in package["AdditionalInferenceSpecifications"]] == ["gpu", "slow"]


def test_expressions_are_combined(sagemaker: Any, names: dict[str, str]) -> None:
    """And by default, Or when asked, expressions in expressions."""
    version = {"Name": "ModelPackageVersion", "Value": "1"}
    rejected = {"Name": "ModelApprovalStatus", "Value": "Rejected"}
    both = {"Filters": [version, rejected]}
    assert _found(sagemaker, names, SubExpressions=[both]) == []
    assert _found(sagemaker, names, SubExpressions=[{**both, "Operator": "Or"}]) == ["one", "three"]
    inner = {"SubExpressions": [{"Filters": [version]}, {"Filters": [rejected]}], "Operator": "Or"}
    assert _found(sagemaker, names, SubExpressions=[inner]) == ["one", "three"]


def test_nested_filters_are_fulfilled_by_one_object(sagemaker: Any, names: dict[str, str]) -> None:
    """Not by two objects of the list, each of which fulfils one."""
    name = {"Name": "AdditionalInferenceSpecifications.Name", "Value": "gpu"}
    image = "AdditionalInferenceSpecifications.Containers.Image"

    def nested(wanted: str) -> list[dict[str, Any]]:
        filters = [name, {"Name": image, "Value": wanted}]
        return [{"NestedPropertyName": "AdditionalInferenceSpecifications", "Filters": filters}]

    assert _found(sagemaker, names, NestedFilters=nested(f"{IMAGE}-gpu")) == ["two"]
    assert _found(sagemaker, names, NestedFilters=nested(f"{IMAGE}-slow")) == []


def test_pages_follow_each_other_in_both_orders(sagemaker: Any, names: dict[str, str]) -> None:
    """By any property; what lacks it comes first in ascending order. A token belongs to its own search."""
    expression = {
        "Filters": [{"Name": "ModelPackageArn", "Operator": "In", "Value": ",".join(names.values())}]
    }
    for by, order, expected in (
        ("ModelPackageVersion", "Ascending", ["alone", "one", "two", "three"]),
        ("ModelPackageVersion", "Descending", ["three", "two", "one", "alone"]),
        ("ModelPackageDescription", "Descending", ["three", "one", "two", "alone"]),
        (None, None, ["alone", "three", "two", "one"]),
    ):
        asked = {"Resource": "ModelPackage", "SearchExpression": expression, "MaxResults": 1}
        asked |= {"SortBy": by, "SortOrder": order} if by else {}
        pages = list(sagemaker.get_paginator("search").paginate(**asked))
        arns = [each["ModelPackage"]["ModelPackageArn"] for page in pages for each in page["Results"]]
        if by == "ModelPackageDescription":
            assert arns[:2] == [names[name] for name in expected[:2]]
            assert set(arns) == set(names.values())
        else:
            assert arns == [names[name] for name in expected]
        assert len(pages) == 4
        assert {page["TotalHits"]["Value"] for page in pages} == {4}
    first = sagemaker.search(**{**asked, "SortBy": "CreationTime"})
    for changes in (
        {"SortBy": "ModelPackageVersion"},
        {"SortOrder": "Ascending"},
        {"Resource": "ModelPackageGroup"},
    ):
        with expect_client_error("ValidationException") as message:
            sagemaker.search(
                **{**asked, "SortBy": "CreationTime", **changes, "NextToken": first["NextToken"]}
            )
        assert "Invalid NextToken" in message[0] or "Unknown property name" in message[0]


def test_the_latest_change_comes_first(sagemaker: Any, names: dict[str, str]) -> None:
    """What was never changed counts from its creation."""
    sagemaker.update_model_package(ModelPackageArn=names["one"], ApprovalDescription="seen")
    now = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S")
    filters = [
        {"Name": "ModelPackageArn", "Operator": "In", "Value": ",".join(names.values())},
        {"Name": "CreationTime", "Operator": "LessThanOrEqualTo", "Value": now},
    ]
    results = sagemaker.search(Resource="ModelPackage", SearchExpression={"Filters": filters})["Results"]
    assert [each["ModelPackage"]["ModelPackageArn"] for each in results] == [
        names[name] for name in ("one", "alone", "three", "two")
    ]


def test_groups_are_found(sagemaker: Any, names: dict[str, str]) -> None:
    """As SageMaker's SDK looks for one before it makes it; by a tag whose key has a dot."""
    for condition in (
        {"Name": "ModelPackageGroupName", "Operator": "Equals", "Value": "hunt"},
        {"Name": "Tags.a.b", "Operator": "Equals", "Value": "x"},
        {"Name": "ModelPackageGroupDescription", "Operator": "Contains", "Value": "the search"},
    ):
        asked = {"Resource": "ModelPackageGroup", "SearchExpression": {"Filters": [condition]}}
        [result] = sagemaker.search(**asked)["Results"]
        assert result["ModelPackageGroup"]["ModelPackageGroupName"] == "hunt"
        assert result["ModelPackageGroup"]["Tags"] == [{"Key": "a.b", "Value": "x"}]
        assert sagemaker.search(**asked, CrossAccountFilterOption="CrossAccount")["Results"] == []


def _filters(*filters: dict[str, str]) -> dict[str, Any]:
    return {"SearchExpression": {"Filters": list(filters)}}


CONTAINS = {"Name": "ModelPackageDescription", "Operator": "Contains", "Value": "x"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Resource": "TrainingJob"}, "Resource TrainingJob is not implemented by the embedded AWS; it finds"),
        ({"Resource": "Model"}, "ListTransformJobs, ListProcessingJobs and ListModels find the others"),
        (_filters({"Name": "Colour", "Value": "red"}), "Unknown property name: Colour; ModelPackage has Model"),
        (_filters({"Name": "ModelPackageName.x", "Value": "red"}), "Unknown property name: ModelPackageName.x"),
        (_filters({"Name": "ModelPackageVersion", "Value": "two"}), "Value 'two' of filter ModelPackageVersion is not"),
        (_filters({"Name": "ModelPackageVersion", "Value": "nan"}), "is not a number"),
        (_filters({"Name": "CreationTime", "Value": "yesterday"}), "is not of the form YYYY-mm-ddTHH:MM:SS"),
        (_filters({"Name": "CertifyForMarketplace", "Value": "perhaps"}), "is not true or false"),
        (_filters({"Name": "ModelPackageName", "Operator": "LessThan", "Value": "x"}),
         "Operator LessThan is not supported for ModelPackageName, a property of type string"),
        (_filters({"Name": "ModelPackageVersion", "Operator": "Contains", "Value": "1"}), "Operator Contains is not"),
        (_filters({"Name": "InferenceSpecification", "Value": "x"}), "it takes Exists, NotExists"),
        (_filters({"Name": "ModelPackageName", "Operator": "Equals"}), "with operator Equals needs a Value"),
        (_filters(CONTAINS, CONTAINS), "'CONTAINS' operator usage limit of 1 exceeded."),
        ({"SearchExpression": {}}, "needs at least one of Filters, NestedFilters and SubExpressions"),
        ({"SearchExpression": {"SubExpressions": [{"Filters": [{"Name": "Domain", "Value": "x"}] * 20}] * 3}},
         "SearchExpression has 60 conditions, allowed are 50 in all"),
        ({"SearchExpression": {"NestedFilters": [{"NestedPropertyName": "Domain", "Filters": [CONTAINS]}]}},
         "NestedPropertyName Domain is not a list of structures"),
        ({"SearchExpression": {"NestedFilters": [
            {"NestedPropertyName": "AdditionalInferenceSpecifications", "Filters": [CONTAINS]}]}},
         "must begin with AdditionalInferenceSpecifications."),
        ({"SortBy": "Colour"}, "Unknown property name: Colour"),
        ({"SortBy": "InferenceSpecification"}, "which has no order"),
        ({"NextToken": "x"}, "Invalid NextToken"),
        ({"VisibilityConditions": [{"Key": "a", "Value": "b"}]}, "everything is visible here"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused_by_name(
    sagemaker: Any, changes: dict[str, Any], said: str
) -> None:
    """With what is allowed; also when nothing would match."""
    with expect_client_error("ValidationException") as message:
        sagemaker.search(**{"Resource": "ModelPackage", **changes})
    assert said in message[0]


@pytest.mark.parametrize("depth", [30, 60, 200, 400])
def test_expressions_nested_without_end_are_refused_not_failed(aws: Aws, depth: int) -> None:
    """A shape that holds itself has no depth of its own."""
    expression: dict[str, Any] = {"Filters": [{"Name": "Domain", "Value": "x"}]}
    for _ in range(depth):
        expression = {"SubExpressions": [expression]}
    body = json.dumps({"Resource": "ModelPackage", "SearchExpression": expression}).encode()
    status, answer = post(aws, "Search", body)
    assert status == (200 if depth == 30 else 400), answer
    assert depth == 30 or "deep" in answer["message"] or "not JSON" in answer["message"]


def test_packages_are_described_in_one_call(sagemaker: Any, names: dict[str, str]) -> None:
    """Those that are there; the others by an error each, which stops nothing."""
    missing = names["one"].removesuffix("/1") + "/99"
    asked = [names["one"], names["two"], names["alone"], missing]
    answer = sagemaker.batch_describe_model_package(ModelPackageArnList=asked)
    summaries = answer["ModelPackageSummaries"]
    assert set(summaries) == {names["one"], names["two"]}
    assert summaries[names["two"]]["ModelPackageVersion"] == 2
    assert summaries[names["one"]]["ModelApprovalStatus"] == "Approved"
    assert summaries[names["one"]]["InferenceSpecification"]["Containers"] == [{"Image": IMAGE}]
    errors = answer["BatchDescribeModelPackageErrorMap"]
    assert errors[missing] == {
        "ErrorCode": "ValidationException", "ErrorResponse": f"ModelPackage {missing} does not exist."
    }  # fmt: skip
    assert "has no ModelPackageGroupName" in errors[names["alone"]]["ErrorResponse"]
    good = sagemaker.batch_describe_model_package(ModelPackageArnList=asked[:1])
    assert "BatchDescribeModelPackageErrorMap" not in good
