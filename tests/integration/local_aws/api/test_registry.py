"""The model registry: groups, versions, packages that stand alone, and models made from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.local_aws.api.conftest import FAST
from tests.integration.local_aws.api.requests import (
    IMAGE,
    expect_client_error,
    model_request,
    transform_request,
    version_request,
    wait_until_ended,
)
from tests.integration.local_aws.conftest import Aws

pytestmark = pytest.mark.local_only

ARCHIVE = "s3://bucket/model.tar.gz"


@pytest.fixture
def group(sagemaker: Any, name: str) -> str:
    """An empty group."""
    sagemaker.create_model_package_group(ModelPackageGroupName=name, ModelPackageGroupDescription="of a test")
    return name


def _version(sagemaker: Any, group: str, **changes: Any) -> str:
    arn: str = sagemaker.create_model_package(**version_request(group, **changes))["ModelPackageArn"]
    return arn


def _specification(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"InferenceSpecification": {"Containers": list(containers)}}


def test_a_group_is_described_by_name_and_by_arn_and_its_name_is_taken(sagemaker: Any, group: str) -> None:
    """Whatever the case; the description comes back."""
    answer = sagemaker.describe_model_package_group(ModelPackageGroupName=group)
    assert answer["ModelPackageGroupDescription"] == "of a test"
    assert answer["ModelPackageGroupStatus"] == "Completed"
    again = sagemaker.describe_model_package_group(ModelPackageGroupName=answer["ModelPackageGroupArn"])
    assert again["CreationTime"] == answer["CreationTime"]
    with expect_client_error("ValidationException") as message:
        sagemaker.create_model_package_group(ModelPackageGroupName=group.upper())
    assert message == [f"Model Package Group already exists: {answer['ModelPackageGroupArn']}"]


def test_versions_count_up_wait_for_approval_and_are_never_counted_again(sagemaker: Any, group: str) -> None:
    """A deleted version's number stays away; what was sent is described."""
    first = _version(sagemaker, group)
    second = _version(
        sagemaker, group, ModelPackageDescription="better", CustomerMetadataProperties={"a": "b"}
    )
    assert [arn.rsplit("/", 2)[1:] for arn in (first, second)] == [[group, "1"], [group, "2"]]
    answer = sagemaker.describe_model_package(ModelPackageName=second)
    assert answer["ModelPackageGroupName"] == group
    assert answer["ModelPackageVersion"] == 2
    assert answer["ModelApprovalStatus"] == "PendingManualApproval"
    assert answer["ModelPackageStatus"] == "Completed"
    assert answer["ModelPackageDescription"] == "better"
    assert answer["CustomerMetadataProperties"] == {"a": "b"}
    assert answer["InferenceSpecification"]["Containers"] == [{"Image": IMAGE}]
    assert "LastModifiedTime" not in answer
    sagemaker.delete_model_package(ModelPackageName=second)
    assert _version(sagemaker, group).endswith(f"{group}/3")
    with expect_client_error("ValidationException") as message:
        sagemaker.describe_model_package(ModelPackageName=second)
    assert message == [f"ModelPackage {second} does not exist."]


def test_an_update_approves_and_changes_only_what_it_names(sagemaker: Any, group: str) -> None:
    """Properties are added and removed one by one."""
    arn = _version(sagemaker, group, CustomerMetadataProperties={"a": "1", "b": "2"})
    sagemaker.update_model_package(
        ModelPackageArn=arn,
        ModelApprovalStatus="Approved",
        ApprovalDescription="looked at",
        CustomerMetadataProperties={"b": "3", "c": "4"},
        CustomerMetadataPropertiesToRemove=["a", "none"],
        AdditionalInferenceSpecificationsToAdd=[{"Name": "gpu", "Containers": [{"Image": IMAGE}]}],
    )
    answer = sagemaker.describe_model_package(ModelPackageName=arn)
    assert answer["ModelApprovalStatus"] == "Approved"
    assert answer["ApprovalDescription"] == "looked at"
    assert answer["CustomerMetadataProperties"] == {"b": "3", "c": "4"}
    assert [each["Name"] for each in answer["AdditionalInferenceSpecifications"]] == ["gpu"]
    assert answer["LastModifiedTime"] >= answer["CreationTime"]
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected")
    answer = sagemaker.describe_model_package(ModelPackageName=arn)
    assert (answer["ModelApprovalStatus"], answer["ApprovalDescription"]) == ("Rejected", "looked at")
    with expect_client_error("ValidationException") as message:
        sagemaker.update_model_package(
            ModelPackageArn=arn,
            AdditionalInferenceSpecificationsToAdd=[{"Name": "gpu", "Containers": [{"Image": IMAGE}]}],
        )
    assert "'gpu' is given twice" in message[0]


def test_versions_are_listed_by_group_and_approval_and_alone_ones_without(sagemaker: Any, group: str) -> None:
    """Oldest first; a page follows a page; a version has no name of its own in the summary."""
    arns = [
        _version(sagemaker, group, ModelApprovalStatus=status)
        for status in ("Approved", "Rejected", "Approved")
    ]
    alone = sagemaker.create_model_package(ModelPackageName=f"{group}-alone")["ModelPackageArn"]

    def listed(**asked: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = sagemaker.list_model_packages(**asked)["ModelPackageSummaryList"]
        return found

    assert [each["ModelPackageArn"] for each in listed(ModelPackageGroupName=group)] == arns
    assert all("ModelPackageName" not in each for each in listed(ModelPackageGroupName=group))
    approved = {"ModelPackageGroupName": group, "ModelApprovalStatus": "Approved", "SortOrder": "Descending"}
    page = sagemaker.list_model_packages(**approved, MaxResults=1)
    assert [each["ModelPackageArn"] for each in page["ModelPackageSummaryList"]] == [arns[2]]
    rest = sagemaker.list_model_packages(**approved, MaxResults=1, NextToken=page["NextToken"])
    assert [each["ModelPackageVersion"] for each in rest["ModelPackageSummaryList"]] == [1]
    assert "NextToken" not in rest
    with expect_client_error("ValidationException") as message:
        sagemaker.list_model_packages(**{**approved, "SortOrder": "Ascending"}, NextToken=page["NextToken"])
    assert "Invalid NextToken" in message[0]
    assert [each["ModelPackageArn"] for each in listed(NameContains=group)] == [alone]
    assert len(listed(NameContains=group, ModelPackageType="Both")) == 4
    assert len(listed(NameContains=group, ModelPackageType="Versioned")) == 3


def test_groups_are_listed_oldest_first_and_none_of_other_accounts(sagemaker: Any, name: str) -> None:
    """With pages as for models."""
    names = [f"{name}-{number}" for number in range(3)]
    for one in names:
        sagemaker.create_model_package_group(ModelPackageGroupName=one)
    page = sagemaker.list_model_package_groups(NameContains=name, MaxResults=2)
    assert [each["ModelPackageGroupName"] for each in page["ModelPackageGroupSummaryList"]] == names[:2]
    rest = sagemaker.list_model_package_groups(NameContains=name, MaxResults=2, NextToken=page["NextToken"])
    assert [each["ModelPackageGroupName"] for each in rest["ModelPackageGroupSummaryList"]] == names[2:]
    shared = sagemaker.list_model_package_groups(NameContains=name, CrossAccountFilterOption="CrossAccount")
    assert shared["ModelPackageGroupSummaryList"] == []


def test_a_group_with_versions_cannot_be_deleted(sagemaker: Any, group: str) -> None:
    """Once they are gone it can, and counts from 1 when it is made anew."""
    arn = _version(sagemaker, group)
    with expect_client_error("ConflictException") as message:
        sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    assert "has 1 Model Packages" in message[0]
    sagemaker.delete_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    assert _version(sagemaker, group) == arn


def test_a_repeated_client_token_makes_one_version(sagemaker: Any, group: str) -> None:
    """And belongs to that group alone."""
    arn = _version(sagemaker, group, ClientToken=group)
    assert _version(sagemaker, group, ClientToken=group) == arn
    with expect_client_error("ConflictException") as message:
        sagemaker.create_model_package(ModelPackageName=f"{group}-x", ClientToken=group)
    assert message == [f"ClientToken was used before, to create {arn}"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ModelPackageName": "x"}, "Both ModelPackageName and ModelPackageGroupName are provided"),
        ({"ModelPackageGroupName": None}, "Missing ARN."),
        ({"Tags": [{"Key": "a", "Value": "b"}]}, "has its group's tags"),
        ({"CertifyForMarketplace": True}, "there is no marketplace here"),
        (_specification({"ModelDataUrl": ARCHIVE}), "Image is missing in container 1"),
        ({"ModelCard": {"ModelCardStatus": "Draft"}}, "'ModelCard.ModelCardStatus' is not implemented"),
        (_specification({"Image": IMAGE, "ProductId": "p"}), "'InferenceSpecification.Containers.ProductId'"),
    ],
)
def test_packages_that_cannot_be_are_refused(
    sagemaker: Any, group: str, changes: dict[str, Any], said: str
) -> None:
    """Naming the member and the reason; no version comes to be."""
    request = {key: value for key, value in version_request(group, **changes).items() if value is not None}
    with expect_client_error("ValidationException") as message:
        sagemaker.create_model_package(**request)
    assert said in message[0]
    assert sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"] == []


@pytest.mark.parametrize("status", ["PendingManualApproval", "Approved", "Rejected"])
def test_an_approval_does_not_apply_to_a_package_without_a_group(
    sagemaker: Any, name: str, status: str
) -> None:
    """SageMaker's SDK 2 sends one all the same, and AWS accepts it; a model can be made of the package."""
    request = {**version_request(""), "ModelPackageName": name, "ModelApprovalStatus": status}
    del request["ModelPackageGroupName"]
    arn = sagemaker.create_model_package(**request)["ModelPackageArn"]
    assert "ModelApprovalStatus" not in sagemaker.describe_model_package(ModelPackageName=arn)
    [listed] = sagemaker.list_model_packages(NameContains=name)["ModelPackageSummaryList"]
    assert "ModelApprovalStatus" not in listed
    sagemaker.create_model(**model_request(name, PrimaryContainer={"ModelPackageName": arn}))
    assert sagemaker.describe_model(ModelName=name)["PrimaryContainer"]["Image"] == IMAGE


def test_tags_are_the_groups(sagemaker: Any, name: str) -> None:
    """And go with it."""
    arn = sagemaker.create_model_package_group(
        ModelPackageGroupName=name, Tags=[{"Key": "team", "Value": "x"}]
    )["ModelPackageGroupArn"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "x"}]
    with expect_client_error("ValidationException") as message:
        sagemaker.list_tags(ResourceArn=_version(sagemaker, name))
    assert "has the tags of its model package group" in message[0]
    alone = sagemaker.create_model_package(
        ModelPackageName=f"{name}-alone", Tags=[{"Key": "a", "Value": "b"}]
    )["ModelPackageArn"]
    assert sagemaker.list_tags(ResourceArn=alone)["Tags"] == [{"Key": "a", "Value": "b"}]


def test_a_model_of_an_approved_version_has_its_containers(sagemaker: Any, group: str, name: str) -> None:
    """An environment beside the package's name comes over the package's own."""
    arn = _version(
        sagemaker,
        group,
        ModelApprovalStatus="Approved",
        **_specification(
            {"Image": IMAGE, "ModelDataUrl": ARCHIVE, "Environment": {"A": "1", "B": "2"}, "Framework": "X"}
        ),
    )
    reference = {"ModelPackageName": arn, "Environment": {"B": "3"}}
    sagemaker.create_model(**model_request(name, PrimaryContainer=reference))
    assert sagemaker.describe_model(ModelName=name)["PrimaryContainer"] == {
        "Image": IMAGE,
        "ModelDataUrl": ARCHIVE,
        "Environment": {"A": "1", "B": "3"},
        "ModelPackageName": arn,
    }


def test_a_model_of_a_package_of_two_containers_has_both(sagemaker: Any, group: str, name: str) -> None:
    """Also of another specification by its name; deleting the package leaves the model."""
    two = {"Containers": [{"Image": IMAGE}, {"Image": f"{IMAGE}0"}]}
    arn = _version(
        sagemaker,
        group,
        ModelApprovalStatus="Approved",
        AdditionalInferenceSpecifications=[{"Name": "two", **two}],
    )
    reference = {"ModelPackageName": arn, "InferenceSpecificationName": "two"}
    sagemaker.create_model(**model_request(name, PrimaryContainer=reference))
    sagemaker.delete_model_package(ModelPackageName=arn)
    answer = sagemaker.describe_model(ModelName=name)
    assert [each["Image"] for each in answer["Containers"]] == [IMAGE, f"{IMAGE}0"]
    with expect_client_error("ValidationException") as message:
        sagemaker.create_model(**model_request(f"{name}-2", PrimaryContainer=reference))
    assert message == [f"ModelPackage {arn} does not exist."]


@pytest.mark.parametrize("status", ["PendingManualApproval", "Rejected"])
def test_no_model_comes_of_a_version_that_is_not_approved(
    sagemaker: Any, group: str, name: str, status: str
) -> None:
    """Naming the status."""
    arn = _version(sagemaker, group, ModelApprovalStatus=status)
    with expect_client_error("ValidationException") as message:
        sagemaker.create_model(**model_request(name, PrimaryContainer={"ModelPackageName": arn}))
    assert f"{arn} is {status}" in message[0]
    with expect_client_error("ValidationException"):
        sagemaker.describe_model(ModelName=name)


def test_no_model_comes_of_a_package_without_the_specification(sagemaker: Any, group: str, name: str) -> None:
    """One that only records a source, or lacks the name asked for."""
    alone = sagemaker.create_model_package(ModelPackageName=f"{group}-alone")["ModelPackageArn"]
    with expect_client_error("ValidationException") as message:
        sagemaker.create_model(**model_request(name, PrimaryContainer={"ModelPackageName": alone}))
    assert "has no InferenceSpecification" in message[0]
    arn = _version(sagemaker, group, ModelApprovalStatus="Approved")
    reference = {"ModelPackageName": arn, "InferenceSpecificationName": "none"}
    with expect_client_error("ValidationException") as message:
        sagemaker.create_model(**model_request(name, PrimaryContainer=reference))
    assert "has no inference specification 'none'" in message[0]


def test_a_transform_job_is_given_the_containers_of_the_package(
    aws: Aws, sagemaker: Any, group: str, name: str, s3_prefix: str, tmp_path: Path
) -> None:
    """As they are when the model is made."""
    aws.put(f"{s3_prefix}in/a", b"1\n2\n")
    arn = _version(
        sagemaker,
        group,
        ModelApprovalStatus="Approved",
        **_specification({"Image": IMAGE, "ModelDataUrl": ARCHIVE}),
    )
    sagemaker.create_model(**model_request(name, PrimaryContainer={"ModelPackageName": arn}))
    path = tmp_path / "spec.json"
    sagemaker.create_transform_job(
        **transform_request(name, name, f"{s3_prefix}in/", Environment={"SPEC": str(path)})
    )
    wait_until_ended(sagemaker.describe_transform_job, TransformJobName=name)
    [container] = json.loads(path.read_text())["containers"]
    assert (container["Image"], container["ModelDataUrl"]) == (IMAGE, ARCHIVE)


def test_the_registry_outlives_a_restart(start_server: Callable[..., Any], name: str) -> None:
    """Groups, versions, approvals and the count of versions."""
    first = start_server(FAST)
    sagemaker = first.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=name)
    arn = _version(sagemaker, name)
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    sagemaker.delete_model_package(ModelPackageName=_version(sagemaker, name))
    first.stop()
    sagemaker = start_server(FAST).client("sagemaker")
    assert sagemaker.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"] == "Approved"
    assert _version(sagemaker, name).endswith("/3")
