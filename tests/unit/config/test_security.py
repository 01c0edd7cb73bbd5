"""A pipeline's keys, network and isolation reach each request that has a place for them, and no other."""

from __future__ import annotations

from typing import Any

import botocore.session
import botocore.validate
import pytest
from pydantic import ValidationError

from batch_inference.common.errors import ModelError
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.security import check_model_security, has_local_storage
from batch_inference.requests.lint import LintContext, lint_processing, lint_transform
from tests.unit.builders import TWO_CONTAINERS, pipeline, requests

KEY = "0a1b2c3d-0000-1111-2222-333344445555"
ARN = f"arn:aws:kms:eu-west-1:123456789012:key/{KEY}"
VPC = {"subnets": ["subnet-0000aaaa", "subnet-1111bbbb"], "security_groups": ["sg-0000aaaa"]}
ALL: dict[str, Any] = {
    "model": TWO_CONTAINERS,
    "security": {
        "volume_kms_key": KEY,
        "output_kms_key": "alias/outputs",
        "vpc": VPC,
        "network_isolation": True,
        "encrypt_traffic": True,
    },
}
VPC_CONFIG = {"SecurityGroupIds": ["sg-0000aaaa"], "Subnets": ["subnet-0000aaaa", "subnet-1111bbbb"]}


def requests_of(of: Pipeline, instance_type: str = "ml.m5.large") -> dict[str, Any]:
    """The three requests of a run, by operation."""
    made = requests(of, instance_type=instance_type, instance_count=1)
    return {
        "CreateProcessingJob": made["preprocess"],
        "CreateModel": made.get("model"),
        "CreateTransformJob": made["transform"],
    }


def test_each_request_holds_what_aws_takes_in_it() -> None:
    """By AWS's own model of the three operations."""
    made = requests_of(pipeline(ALL))
    service = botocore.session.Session().get_service_model("sagemaker")
    for operation, request in made.items():
        shape = service.operation_model(operation).input_shape
        assert botocore.validate.ParamValidator().validate(request, shape).generate_report() == ""
    processing, model, transform = made.values()
    assert processing["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == KEY
    assert processing["ProcessingOutputConfig"]["KmsKeyId"] == "alias/outputs"
    assert processing["NetworkConfig"] == {
        "EnableInterContainerTrafficEncryption": True,
        "EnableNetworkIsolation": True,
        "VpcConfig": VPC_CONFIG,
    }
    assert model["VpcConfig"] == VPC_CONFIG
    assert model["EnableNetworkIsolation"] is True
    assert transform["TransformResources"]["VolumeKmsKeyId"] == KEY
    assert transform["TransformOutput"]["KmsKeyId"] == "alias/outputs"


def test_nothing_is_sent_that_is_not_asked_for() -> None:
    """An absent field and a false one are not the same to a policy that demands a value."""
    text = str(requests_of(pipeline({"model": TWO_CONTAINERS})))
    for name in ("Kms", "Network", "Vpc", "Encrypt"):
        assert name not in text


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        ARN,
        "mrk-0123456789abcdef0123456789abcdef",
        "alias/a/b_c-d",
        "arn:aws-cn:kms:cn-north-1:123456789012:alias/outputs",
    ],
)
def test_a_key_may_be_named_as_aws_names_keys(key: str) -> None:
    """Id, ARN, multi-region id, alias, alias ARN."""
    assert pipeline({"security.volume_kms_key": key}).security.build_volume_fields() == {
        "VolumeKmsKeyId": key
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("security.volume_kms_key", "my-key"),
        ("security.output_kms_key", f"key/{KEY}"),
        ("security.output_kms_key", f"arn:aws:kms:eu-west-1:123456789012:{KEY}"),
        ("security.vpc", {"subnets": ["subnet-0000aaaa"], "security_groups": []}),
        ("security.vpc", {"subnets": ["vpc-0000aaaa"], "security_groups": ["sg-0000aaaa"]}),
        ("security.vpc", {"subnets": ["subnet-0000aaaa"] * 17, "security_groups": ["sg-0000aaaa"]}),
        ("security.permissions_boundary", "arn:aws:iam::123456789012:role/admin"),
        ("security.isolation", True),
    ],
)
def test_what_aws_would_refuse_is_refused_in_the_file(path: str, value: Any) -> None:
    """With the name of the field."""
    with pytest.raises(ValidationError) as caught:
        pipeline({path: value})
    assert {".".join(map(str, each["loc"][:2])) for each in caught.value.errors()} == {path}


@pytest.mark.parametrize(
    ("instance_type", "local"),
    [
        ("ml.m5.large", False), ("ml.m5d.large", True), ("ml.c6gd.xlarge", True), ("ml.g4dn.xlarge", True),
        ("ml.g5.xlarge", True), ("ml.p3.2xlarge", False), ("ml.p4d.24xlarge", True), ("ml.inf2.xlarge", False),
        ("ml.r5d.metal", True), ("ml.t3.medium", False),
    ],
)  # fmt: skip
def test_a_type_with_disks_of_its_own_takes_no_key(instance_type: str, local: bool) -> None:
    """SageMaker refuses the request; `plan` says so before, for both jobs."""
    assert has_local_storage(instance_type) is local
    made = requests_of(pipeline(ALL), instance_type)
    for problems in (
        lint_processing(made["CreateProcessingJob"], LintContext()),
        lint_transform(made["CreateTransformJob"], LintContext()),
    ):
        assert [instance_type in problem for problem in problems if "VolumeKmsKeyId" in problem] == [
            True
        ] * local
    without = requests_of(pipeline({"model": TWO_CONTAINERS}), instance_type)
    assert "VolumeKmsKeyId" not in str(lint_transform(without["CreateTransformJob"], LintContext()))


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("preprocess.instance_type", "ml.m5d.xlarge", "preprocess.instance_type"),
        ("transform.instance_types", ["ml.c5.xlarge", "ml.g5.xlarge"], r"transform.instance_types\[1\]"),
        ("join.instance_type", "ml.m5d.4xlarge", "join.instance_type"),
        ("join.instance_types", ["ml.m5d.4xlarge"], r"join.instance_types\[0\]"),
    ],
)
def test_no_job_can_get_a_type_that_takes_no_key(path: str, value: Any, field: str) -> None:
    """Also one that is tried only when the first has no capacity, and one that only joins; where no job joins, none."""
    keyed = {"security.volume_kms_key": KEY, path: value}
    with pytest.raises(
        ValidationError, match=f"{field}: found ml.*with security.volume_kms_key; it has local NVMe"
    ):
        pipeline({**keyed, "join.processing_above": 1})
    pipeline({path: value, "join.processing_above": 1})
    if path.startswith("join"):
        pipeline(keyed)


def test_an_existing_model_has_to_be_shut_in_already() -> None:
    """A transform runs where its model says: nothing in its own request could move it into a VPC."""
    security = pipeline(ALL).security
    there = {"ModelName": "m", "EnableNetworkIsolation": True, "VpcConfig": VPC_CONFIG}
    check_model_security(security, there)
    check_model_security(
        security, {**there, "VpcConfig": {**VPC_CONFIG, "Subnets": VPC_CONFIG["Subnets"][::-1]}}
    )
    check_model_security(pipeline({}).security, {"ModelName": "m", "EnableNetworkIsolation": False})
    with pytest.raises(
        ModelError, match=r"model m: EnableNetworkIsolation is not set; .* EnableNetworkIsolation True"
    ):
        check_model_security(security, {**there, "EnableNetworkIsolation": False})
    with pytest.raises(ModelError, match=r"model m: VpcConfig is \{'SecurityGroupIds': \['sg-1'\]"):
        check_model_security(
            security, {**there, "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}}
        )
    with pytest.raises(ModelError, match="VpcConfig is not set"):
        check_model_security(security, {"ModelName": "m", "EnableNetworkIsolation": True})
