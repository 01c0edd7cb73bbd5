"""Tags of jobs and models."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.local_aws.api.requests import expect_client_error, model_request


def _tags(**tags: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@pytest.mark.local_only
def test_tags_come_with_the_job_and_are_not_echoed(sagemaker: Any, transform: dict[str, Any]) -> None:
    """They are read by ListTags, as on AWS."""
    arn = sagemaker.create_transform_job(**transform, Tags=_tags(run="1", team="x"))["TransformJobArn"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == _tags(run="1", team="x")
    assert "Tags" not in sagemaker.describe_transform_job(TransformJobName=transform["TransformJobName"])


def test_tags_are_added_overwritten_and_deleted(sagemaker: Any, model: str) -> None:
    """AddTags answers all tags; DeleteTags ignores keys that are not there."""
    arn = sagemaker.describe_model(ModelName=model)["ModelArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=_tags(a="1", b="2"))
    assert sagemaker.add_tags(ResourceArn=arn, Tags=_tags(a="3"))["Tags"] == _tags(a="3", b="2")
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a", "none"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == _tags(b="2")


@pytest.mark.local_only
def test_a_resource_has_fifty_tags_at_most(sagemaker: Any, model: str) -> None:
    """The call that would exceed it adds none."""
    arn = sagemaker.describe_model(ModelName=model)["ModelArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=_tags(**{f"k{number:02}": "v" for number in range(50)}))
    with expect_client_error("ResourceLimitExceeded") as message:
        sagemaker.add_tags(ResourceArn=arn, Tags=_tags(one="more", k00="other"))
    assert message == [f"51 tags on {arn}, allowed are 50"]
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert len(tags) == 50
    assert tags["k00"] == "v"


@pytest.mark.local_only
def test_tags_need_a_resource_and_a_key_of_ones_own(sagemaker: Any, name: str, model: str) -> None:
    """A missing resource, a duplicate key and a reserved key are refused."""
    arn = sagemaker.describe_model(ModelName=model)["ModelArn"]
    with expect_client_error("ValidationException") as missing:
        sagemaker.list_tags(ResourceArn=f"{arn}-none")
    assert missing == [f'Could not find model "{arn}-none".']
    with expect_client_error("ValidationException") as twice:
        sagemaker.create_model(**model_request(name, Tags=[*_tags(a="1"), *_tags(a="2")]))
    assert "Duplicate tag key found: 'a'" in twice[0]
    with expect_client_error("ValidationException") as reserved:
        sagemaker.add_tags(ResourceArn=arn, Tags=_tags(**{"aws:x": "1"}))
    assert "reserved for AWS" in reserved[0]
    with expect_client_error("ValidationException") as other:
        sagemaker.list_tags(ResourceArn=arn.replace(":model/", ":endpoint/"))
    assert "'endpoint' is not implemented" in other[0]
