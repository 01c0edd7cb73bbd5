"""Checks the instances of jobs: quotas per type and over all jobs of a kind, and types with local storage."""

from __future__ import annotations

from collections.abc import Callable

from local_aws.api.errors import ValidationError
from local_aws.api.resources.job_kinds import JobKind
from local_aws.api.rules import aws_messages
from local_aws.settings import Settings
from local_aws.state.jobs import InstancesByType, Job

# EC2 families with NVMe instance storage that SageMaker offers; general families have a "d" after the generation,
# accelerated ones do not show it in their name.
NVME_FAMILIES = frozenset(
    {"g4dn", "g5", "g6", "g6e", "p3dn", "p4d", "p4de", "p5", "p5e", "p5en", "trn1", "trn1n", "trn2"}
)


def build_quota_check(settings: Settings, kind: JobKind, job: Job) -> Callable[[InstancesByType], None]:
    """The check for JobTable.create_within_quota; it raises ResourceLimitExceeded, naming the quota."""

    def check(in_use: InstancesByType) -> None:
        instance_quota_name = get_instance_quota_name(kind, job.instance_type)
        for name, used in (
            (instance_quota_name, in_use.get(job.instance_type, 0)),
            (kind.total_quota_name, sum(in_use.values())),
        ):
            limit = get_quota_limit(settings, kind, name)
            if used + job.instance_count > limit:
                raise aws_messages.quota_exceeded(name, limit, used, job.instance_count)

    return check


def get_instance_quota_name(kind: JobKind, instance_type: str) -> str:
    """AWS's name of the quota of one instance type."""
    return f"{instance_type} for {kind.display_name} usage"


def get_quota_limit(settings: Settings, kind: JobKind, quota_name: str) -> int:
    """The quota of this name: of an instance type, or the one across all jobs of the kind."""
    default = settings.default_instance_quota
    if quota_name == kind.total_quota_name:
        transform = kind.name == "transform"
        default = settings.transform_instances_quota if transform else settings.processing_instances_quota
    return settings.instance_quotas.get(quota_name, default)


def has_local_storage(instance_type: str) -> bool:
    """Whether e.g. "ml.g5.xlarge" or "ml.m5d.large" has local storage."""
    family = instance_type.removeprefix("ml.").split(".")[0]
    letters = family.lstrip("abcdefghijklmnopqrstuvwxyz").lstrip("0123456789")
    return family in NVME_FAMILIES or "d" in letters


def refuse_volume_key(resources: dict[str, object], instance_type: str) -> None:
    """Raise ValidationError for a VolumeKmsKeyId on a type with local storage, which AWS encrypts by itself."""
    if resources.get("VolumeKmsKeyId") and has_local_storage(instance_type):
        raise ValidationError(
            f"VolumeKmsKeyId cannot be given for {instance_type}: it has local storage, which is encrypted with its "
            "own key"
        )
