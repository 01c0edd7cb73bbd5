"""Defines encryption and network settings of the jobs: KMS keys, VPC, isolation, permissions boundary.

AWS has these in three requests, and not all in each: a transform job takes VPC and network isolation from its
model, and has no encryption of traffic between its instances, which do not communicate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from batch_inference.common.errors import ModelError
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.config.validation_errors import FieldError

_KEY_ID = r"(mrk-[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_ALIAS = r"alias/[A-Za-z0-9/_-]+"
_KEY_PATTERN = rf"^({_KEY_ID}|{_ALIAS}|arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{{12}}:(key/{_KEY_ID}|{_ALIAS}))$"
_BOUNDARY_PATTERN = r"^arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[a-zA-Z_0-9+=,.@\-_/]+$"
# EC2 families of SageMaker with NVMe instance storage. The general families have a "d" after the generation; the
# accelerated ones do not show it in their name.
_NVME_FAMILIES = frozenset(
    {"g4dn", "g5", "g6", "g6e", "p3dn", "p4d", "p4de", "p5", "p5e", "p5en", "trn1", "trn1n", "trn2"}
)

KmsKey: TypeAlias = Annotated[
    str, Field(pattern=_KEY_PATTERN, max_length=2048, examples=["alias/batch-inference"])
]


class VpcSection(FrozenModel):
    """The network in which the containers run."""

    subnets: tuple[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")], ...] = Field(
        min_length=1, max_length=16, description="Ids of the subnets; two free addresses for each instance."
    )
    security_groups: tuple[Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$")], ...] = Field(
        min_length=1,
        max_length=5,
        description="Ids of the security groups; they must let the instances reach each other, on TCP port 7551 for a "
        "duplicates rule, and S3.",
    )


class SecuritySection(FrozenModel):
    """Encryption and network settings of the jobs. All are off by default."""

    volume_kms_key: KmsKey | None = Field(
        default=None,
        description="VolumeKmsKeyId: id, ARN or alias. Instance types with local NVMe disks do not accept one.",
    )
    output_kms_key: KmsKey | None = Field(
        default=None,
        description="KmsKeyId of the jobs' output in S3: id, ARN or alias. What Airflow writes and publishes is "
        "encrypted with the buckets' default.",
    )
    vpc: VpcSection | None = Field(default=None, description="Run the containers in this VPC.")
    network_isolation: bool = Field(
        default=False,
        description="EnableNetworkIsolation: the containers have no network access. With a duplicates rule, each "
        "instance of preprocess then gets and reads the whole input, which more instances do not speed up.",
    )
    encrypt_traffic: bool = Field(
        default=False, description="EnableInterContainerTrafficEncryption, of processing jobs."
    )
    permissions_boundary: Annotated[str, Field(pattern=_BOUNDARY_PATTERN, max_length=2048)] | None = Field(
        default=None,
        description="ARN of the permissions boundary of the jobs' role; `make iam` attaches it.",
    )

    def build_volume_fields(self) -> dict[str, str]:
        """VolumeKmsKeyId, for ClusterConfig and TransformResources."""
        return {} if self.volume_kms_key is None else {"VolumeKmsKeyId": self.volume_kms_key}

    def build_output_fields(self) -> dict[str, str]:
        """KmsKeyId, for ProcessingOutputConfig and TransformOutput."""
        return {} if self.output_kms_key is None else {"KmsKeyId": self.output_kms_key}

    def build_model_fields(self) -> dict[str, Any]:
        """EnableNetworkIsolation and VpcConfig, for CreateModel; a transform takes them from its model."""
        fields: dict[str, Any] = {"EnableNetworkIsolation": True} if self.network_isolation else {}
        if (vpc := self.vpc) is not None:
            fields["VpcConfig"] = {
                "SecurityGroupIds": list(vpc.security_groups),
                "Subnets": list(vpc.subnets),
            }
        return fields

    def build_processing_fields(self) -> dict[str, Any]:
        """NetworkConfig, for CreateProcessingJob."""
        encrypted = {"EnableInterContainerTrafficEncryption": True} if self.encrypt_traffic else {}
        network = {**encrypted, **self.build_model_fields()}
        return {"NetworkConfig": network} if network else {}


def has_local_storage(instance_type: str) -> bool:
    """Whether an instance type, such as ml.g5.xlarge or ml.m5d.large, has NVMe disks, which do not accept a KMS key."""
    family = instance_type.removeprefix("ml.").split(".")[0]
    letters = family.lstrip("abcdefghijklmnopqrstuvwxyz").lstrip("0123456789")
    return family in _NVME_FAMILIES or "d" in letters


def check_volume_key(security: SecuritySection, instance_type_by_field: Mapping[str, str]) -> None:
    """Raise ValueError when volume_kms_key is set and an instance type does not accept a key.

    `instance_type_by_field`: by field of the pipeline file. SageMaker refuses such a job only when it is created: after
    earlier stages were paid for, or when the first type has no capacity.
    """
    if security.volume_kms_key is None:
        return
    for field, instance_type in instance_type_by_field.items():
        if has_local_storage(instance_type):
            raise FieldError(
                field, f"found {instance_type} with security.volume_kms_key; {NO_VOLUME_KEY_REASON}"
            )


#: Reason and advice in the error about an instance type with local disks.
NO_VOLUME_KEY_REASON = (
    "it has local NVMe disks, which have their own encryption, and SageMaker refuses a VolumeKmsKeyId; drop "
    "security.volume_kms_key, or choose another type"
)


def check_model_security(security: SecuritySection, description: Mapping[str, Any]) -> None:
    """Raise ModelError unless an existing model has the VPC and network isolation of the pipeline.

    `description` is what DescribeModel returned. A transform takes both from its model, not from its request.
    """
    wanted = security.build_model_fields()
    found = {name: description.get(name) for name in wanted}
    if "VpcConfig" in wanted:
        found["VpcConfig"] = _sorted(description.get("VpcConfig") or {})
        wanted["VpcConfig"] = _sorted(wanted["VpcConfig"])
    different = [f"{name} is {found[name] or 'not set'}" for name in wanted if found[name] != wanted[name]]
    if different:
        raise ModelError(
            f"model {description.get('ModelName')}: {' and '.join(different)}; the pipeline's security asks for "
            f"{' and '.join(f'{name} {value}' for name, value in wanted.items())}. A transform takes these from its "
            f"model: create the model again with them, or list its containers in the pipeline file"
        )


def _sorted(vpc: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: sorted(ids) for name, ids in vpc.items()}
