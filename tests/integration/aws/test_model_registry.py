"""Which model a pipeline means, asked of the embedded AWS's registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batch_inference.aws.model_registry import resolve_model
from batch_inference.cli.laptop.environment import build_aws_connection
from batch_inference.common.errors import ModelError
from batch_inference.config.run_params import RunParams
from tests.integration.local_aws.servers import run_server
from tests.unit.builders import pipeline

ROLE = "arn:aws:iam::123456789012:role/batch-inference"
CONTAINERS = {"Containers": [{"Image": "i:1"}]}


@pytest.fixture(scope="module")
def sagemaker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of an embedded AWS with an existing model and the groups of these tests."""
    with (
        run_server(tmp_path_factory.mktemp("registry") / "aws") as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", build_aws_connection(server.url))
        client = server.client("sagemaker")
        client.create_model(ModelName="there", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "i:1"})
        versions = [
            ("Approved", {"alias": "champion"}),
            ("Approved", {}),
            ("Rejected", {"alias": "champion"}),
            ("PendingManualApproval", {}),
        ]
        client.create_model_package_group(ModelPackageGroupName="churn")
        for status, properties in versions:
            client.create_model_package(
                ModelPackageGroupName="churn",
                InferenceSpecification=CONTAINERS,
                ModelApprovalStatus=status,
                **({"CustomerMetadataProperties": properties} if properties else {}),
            )
        client.create_model_package_group(ModelPackageGroupName="young")
        client.create_model_package(ModelPackageGroupName="young", InferenceSpecification=CONTAINERS)
        client.create_model_package_group(ModelPackageGroupName="empty")
        client.create_model_package_group(ModelPackageGroupName="narrow")
        client.create_model_package(
            ModelPackageGroupName="narrow",
            InferenceSpecification={**CONTAINERS, "SupportedTransformInstanceTypes": ["ml.m5.xlarge"]},
            ModelApprovalStatus="Approved",
        )
        yield client


def arn(tail: str) -> str:
    """Of a package in the registry."""
    return f"arn:aws:sagemaker:us-east-1:123456789012:model-package/{tail}"


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"name": "there"}, "there"),
        ({"group": "churn"}, "churn/2"),
        ({"group": arn("churn").replace("package/", "package-group/")}, "churn/2"),
        ({"group": "churn", "version": 1}, "churn/1"),
        ({"group": "churn", "alias": "champion"}, "churn/1"),
        ({"package": arn("churn/2")}, "churn/2"),
    ],
)
def test_a_pipeline_means_the_latest_approved_version_unless_it_says_which(
    sagemaker: Any, section: dict[str, Any], key: str
) -> None:
    """A rejected version is not used, whatever its alias."""
    assert resolve_model(pipeline({"model": section}), RunParams()).key == key


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"name": "gone"}, "model.name: found 'gone', which SageMaker does not have"),
        ({"package": arn("churn/9")}, f"({'ModelPackage ' + arn('churn/9')} does not exist.)"),
        ({"group": "gone"}, "model.group: found 'gone', which SageMaker does not have"),
        ({"group": "empty"}, "it has no version at all"),
        ({"group": "young"}, "no approved version; it has 1 version: 1 PendingManualApproval"),
        ({"group": "churn", "version": 3}, "is Rejected; only an approved version may score"),
        ({"group": "churn", "version": 7}, "has no version 7; it has 4 versions: 2 Approved"),
        ({"group": "churn", "alias": "challenger"}, "has the alias 'challenger'"),
        ({"package": arn("churn/4")}, "is PendingManualApproval"),
    ],
)
def test_a_model_that_is_not_there_or_not_approved_stops_the_plan(
    sagemaker: Any, section: dict[str, Any], said: str
) -> None:
    """With what was found, before anything is spent."""
    with pytest.raises(ModelError) as caught:
        resolve_model(pipeline({"model": section}), RunParams())
    assert said in str(caught.value)


def test_a_package_is_held_to_its_instance_types_also_where_a_person_typed_one(sagemaker: Any) -> None:
    """Only the typed one counts then: the transform gets no other."""
    types = {"transform.instance_types": ["ml.c5.xlarge"]}
    fitting, other = RunParams(), RunParams(transform_instance_type="ml.g5.xlarge")
    assert resolve_model(pipeline({"model": {"group": "narrow"}}), fitting).key == "narrow/1"
    with pytest.raises(
        ModelError, match=r"found ml\.g5\.xlarge, and .*narrow/1 was registered for 'ml\.m5\.xlarge'"
    ):
        resolve_model(pipeline({"model": {"group": "narrow"}}), other)
    with pytest.raises(ModelError, match=r"found ml\.c5\.xlarge"):
        resolve_model(pipeline({"model": {"group": "narrow"}, **types}), fitting)
    typed = RunParams(transform_instance_type="ml.m5.xlarge")
    assert resolve_model(pipeline({"model": {"group": "narrow"}, **types}), typed).key == "narrow/1"


def test_an_aws_that_does_not_answer_is_not_taken_for_a_missing_model(
    sagemaker: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Throttling is raised as it is, so that Airflow tries the task again."""
    with run_server(tmp_path / "aws", {"requests_per_second": 0.001, "request_burst": 1}) as server:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", build_aws_connection(server.url))
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(ModelError):
            resolve_model(pipeline({"model": {"name": "gone"}}), RunParams())
        with pytest.raises(ClientError, match="ThrottlingException"):
            resolve_model(pipeline({"model": {"name": "gone"}}), RunParams())
