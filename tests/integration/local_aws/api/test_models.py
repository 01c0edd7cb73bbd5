"""Models: containers, names, and what a batch job could never use."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.local_aws.api.requests import IMAGE, expect_client_error, model_request


@pytest.mark.local_only
def test_describe_gives_back_containers_role_and_time(sagemaker: Any, name: str) -> None:
    """As they were sent; network isolation is False unless asked for."""
    containers = [
        {
            "Image": IMAGE,
            "ModelDataUrl": "s3://bucket/a.tar.gz",
            "Environment": {"A": "1"},
            "ContainerHostname": "a",
        },
        {"Image": IMAGE, "ContainerHostname": "b"},
    ]
    request = model_request(
        name, Containers=containers, VpcConfig={"SecurityGroupIds": ["sg-1"], "Subnets": ["s-1"]}
    )
    del request["PrimaryContainer"]
    arn = sagemaker.create_model(**request)["ModelArn"]
    answer = sagemaker.describe_model(ModelName=name)
    assert {key: answer[key] for key in request} == request
    assert answer["ModelArn"] == arn
    assert answer["EnableNetworkIsolation"] is False
    assert "PrimaryContainer" not in answer


def test_a_deleted_models_name_can_be_used_again(sagemaker: Any, role_arn: str, name: str) -> None:
    """And its tags went with it."""
    request = model_request(name, ExecutionRoleArn=role_arn)
    arn = sagemaker.create_model(**request, Tags=[{"Key": "a", "Value": "b"}])["ModelArn"]
    sagemaker.delete_model(ModelName=name)
    assert sagemaker.create_model(**request)["ModelArn"] == arn
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == []
    sagemaker.delete_model(ModelName=name)


@pytest.mark.local_only
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"PrimaryContainer": None}, "Give either PrimaryContainer or Containers, found neither"),
        ({"Containers": [{"Image": IMAGE}]}, "Give either PrimaryContainer or Containers, found both"),
        ({"PrimaryContainer": {}}, "Image is missing in PrimaryContainer"),
        ({"PrimaryContainer": {"Image": IMAGE, "Mode": "MultiModel"}}, "Mode MultiModel in PrimaryContainer"),
        (
            {"PrimaryContainer": {"Image": IMAGE, "ModelPackageName": "p"}},
            "Both ModelPackageName and Image are given in PrimaryContainer",
        ),
        (
            {"PrimaryContainer": {"Image": IMAGE, "InferenceSpecificationName": "p"}},
            "InferenceSpecificationName in PrimaryContainer requires a ModelPackageName",
        ),
        ({"InferenceExecutionConfig": {"Mode": "Direct"}}, "use Serial"),
        (
            {
                "PrimaryContainer": None,
                "Containers": [{"Image": IMAGE, "ContainerHostname": "a"}, {"Image": IMAGE}],
            },
            "ContainerHostname is given for 1 of 2 containers",
        ),
        (
            {
                "PrimaryContainer": None,
                "Containers": [{"Image": IMAGE, "Environment": {f"K{n}": "v" * 1000 for n in range(17)}}] * 2,
            },
            "allowed are 32768",
        ),
    ],
)
def test_containers_that_no_batch_job_could_use_are_refused(
    sagemaker: Any, name: str, changes: dict[str, Any], said: str
) -> None:
    """Naming member and reason; no model comes to be."""
    request = {key: value for key, value in model_request(name, **changes).items() if value is not None}
    with expect_client_error("ValidationException") as message:
        sagemaker.create_model(**request)
    assert said in message[0]
    with expect_client_error("ValidationException"):
        sagemaker.describe_model(ModelName=name)


def test_models_are_listed_by_name_newest_first(sagemaker: Any, role_arn: str, name: str) -> None:
    """NameContains, SortOrder and pages as for jobs."""
    names = [f"{name}-{number}" for number in range(3)]
    for one in names:
        sagemaker.create_model(**model_request(one, ExecutionRoleArn=role_arn))
    listed = sagemaker.list_models(NameContains=name, SortBy="Name", SortOrder="Descending", MaxResults=2)
    assert [model["ModelName"] for model in listed["Models"]] == [names[2], names[1]]
    rest = sagemaker.list_models(
        NameContains=name, SortBy="Name", SortOrder="Descending", MaxResults=2, NextToken=listed["NextToken"]
    )
    assert [model["ModelName"] for model in rest["Models"]] == [names[0]]
    assert "NextToken" not in rest
    for one in names:
        sagemaker.delete_model(ModelName=one)
