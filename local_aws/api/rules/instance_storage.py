"""Refuses a volume key for instance types with local storage."""

from __future__ import annotations

from local_aws.api.errors import ValidationError

# EC2 families with NVMe instance storage that SageMaker offers; general families have a "d" after the generation,
# accelerated ones do not show it in their name.
NVME_FAMILIES = frozenset(
    {"g4dn", "g5", "g6", "g6e", "p3dn", "p4d", "p4de", "p5", "p5e", "p5en", "trn1", "trn1n", "trn2"}
)


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
