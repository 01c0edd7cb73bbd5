"""How a pipeline's jobs are shut in: keys, network, isolation, and what may bound their role.

AWS has these in three requests, and not all in each: a transform job takes its network and its isolation from the
model, and has no encryption of traffic between its instances, which do not talk to each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from include.scoring.errors import ModelError
from include.scoring.rules import Noun

_KEY_ID = r"(mrk-[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_ALIAS = r"alias/[A-Za-z0-9/_-]+"
_KEY_PATTERN = rf"^({_KEY_ID}|{_ALIAS}|arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{{12}}:(key/{_KEY_ID}|{_ALIAS}))$"
_BOUNDARY_PATTERN = r"^arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[a-zA-Z_0-9+=,.@\-_/]+$"
# EC2 families with NVMe instance storage that SageMaker offers; a "d" after the generation says so in the general
# families, the accelerated ones have it without saying.
_NVME_FAMILIES = frozenset(
    {"g4dn", "g5", "g6", "g6e", "p3dn", "p4d", "p4de", "p5", "p5e", "p5en", "trn1", "trn1n", "trn2"}
)

Key: TypeAlias = Annotated[
    str, Field(pattern=_KEY_PATTERN, max_length=2048, examples=["alias/batch-inference"])
]


class VpcSection(Noun):
    """The network in which the containers run."""

    subnets: tuple[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")], ...] = Field(
        min_length=1, max_length=16, description="Ids of the subnets; two free addresses for each instance."
    )
    security_groups: tuple[Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$")], ...] = Field(
        min_length=1,
        max_length=5,
        description="Ids of the security groups; they must let the instances reach each other, and S3.",
    )

    def as_request(self) -> dict[str, Any]:
        """VpcConfig."""
        return {"SecurityGroupIds": list(self.security_groups), "Subnets": list(self.subnets)}


class SecuritySection(Noun):
    """How the jobs are shut in. Nothing of it is on unless it is written."""

    volume_kms_key: Key | None = Field(
        default=None,
        description="KMS key of the instances' disks: id, ARN or alias. Types with local NVMe disks take none.",
    )
    output_kms_key: Key | None = Field(
        default=None,
        description="KMS key of what the jobs write to S3: id, ARN or alias. What Airflow writes and publishes is "
        "encrypted as the buckets' default says.",
    )
    vpc: VpcSection | None = Field(default=None, description="Run the containers in this VPC.")
    network_isolation: bool = Field(
        default=False, description="The containers can reach no network; SageMaker moves their data."
    )
    encrypt_traffic: bool = Field(
        default=False, description="Encrypt what the instances of preprocess send to each other."
    )
    permissions_boundary: Annotated[str, Field(pattern=_BOUNDARY_PATTERN, max_length=2048)] | None = Field(
        default=None,
        description="ARN of the policy that bounds the jobs' role; `make iam` makes it part of it.",
    )

    def volume(self) -> dict[str, str]:
        """Members of ClusterConfig and TransformResources."""
        return {} if self.volume_kms_key is None else {"VolumeKmsKeyId": self.volume_kms_key}

    def output(self) -> dict[str, str]:
        """Members of ProcessingOutputConfig and TransformOutput."""
        return {} if self.output_kms_key is None else {"KmsKeyId": self.output_kms_key}

    def model(self) -> dict[str, Any]:
        """Members of CreateModel, from which its transforms take them."""
        isolated = {"EnableNetworkIsolation": True} if self.network_isolation else {}
        return {**isolated, **({} if self.vpc is None else {"VpcConfig": self.vpc.as_request()})}

    def processing(self) -> dict[str, Any]:
        """Members of CreateProcessingJob."""
        encrypted = {"EnableInterContainerTrafficEncryption": True} if self.encrypt_traffic else {}
        network = {**encrypted, **self.model()}
        return {"NetworkConfig": network} if network else {}


def has_local_storage(instance_type: str) -> bool:
    """Whether e.g. "ml.g5.xlarge" or "ml.m5d.large" has NVMe disks, encrypted by themselves, that take no key."""
    family = instance_type.removeprefix("ml.").split(".")[0]
    letters = family.lstrip("abcdefghijklmnopqrstuvwxyz").lstrip("0123456789")
    return family in _NVME_FAMILIES or "d" in letters


def check_volume_key(security: SecuritySection, instance_types: Mapping[str, str]) -> None:
    """Raise ValueError when the disks of a type are to be encrypted with a key that it does not take.

    `instance_types` maps a field of the pipeline file to the type that it names. SageMaker refuses such a job when it
    is created: after the stages before it were paid for, or at night, when the first type had no capacity.
    """
    if security.volume_kms_key is None:
        return
    for field, instance_type in instance_types.items():
        if has_local_storage(instance_type):
            raise ValueError(f"{field}: found {instance_type} with security.volume_kms_key; {NO_VOLUME_KEY}")


#: Why, and what to do, where a type with local disks is given a key.
NO_VOLUME_KEY = (
    "it has local NVMe disks, which are encrypted with a key of their own, and SageMaker refuses another; drop "
    "security.volume_kms_key, or choose another type"
)


def check_model(security: SecuritySection, model: Mapping[str, Any]) -> None:
    """Raise ModelError unless an existing model, as DescribeModel tells of it, is shut in as the pipeline asks.

    Nothing in a transform's request could do it: it runs where its model says.
    """
    wanted = security.model()
    found = {name: model.get(name) for name in wanted}
    if "VpcConfig" in wanted:
        found["VpcConfig"] = _sorted(model.get("VpcConfig") or {})
        wanted["VpcConfig"] = _sorted(wanted["VpcConfig"])
    different = [f"{name} is {found[name] or 'not set'}" for name in wanted if found[name] != wanted[name]]
    if different:
        raise ModelError(
            f"model {model.get('ModelName')}: {' and '.join(different)}; the pipeline's security asks for "
            f"{' and '.join(f'{name} {value}' for name, value in wanted.items())}. A transform runs where its model "
            f"says: make the model anew with these, or list its containers in the pipeline file"
        )


def _sorted(vpc: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: sorted(ids) for name, ids in vpc.items()}
