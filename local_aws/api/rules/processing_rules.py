"""Validates CreateProcessingJob beyond its shapes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from local_aws.api.errors import ValidationError
from local_aws.api.rules.instance_storage import refuse_volume_key

LOCAL_PATH_ROOT = "/opt/ml/processing/"
REQUIRED_INPUT_MEMBERS = ("LocalPath", "S3InputMode")


def check_processing_request(request: dict[str, Any]) -> None:
    """Raise ValidationError for inputs, outputs and clusters that AWS refuses."""
    inputs = request.get("ProcessingInputs", [])
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    _check_names([item["InputName"] for item in inputs], "InputName")
    _check_names([item["OutputName"] for item in outputs], "OutputName")
    for item in inputs:
        _check_input(item)
    for item in outputs:
        _check_output(item)
    _check_uris(inputs, outputs)
    for instance_type, _ in list_clusters(request):
        refuse_volume_key(request["ProcessingResources"]["ClusterConfig"], instance_type)


def list_clusters(request: dict[str, Any]) -> list[tuple[str, int]]:
    """Instance type and count, in order of preference; one unless InstancePreferences are given."""
    cluster = request["ProcessingResources"]["ClusterConfig"]
    preferences = cluster.get("InstancePreferences")
    if (preferences is None) == ("InstanceType" not in cluster):
        found = "both" if preferences is not None else "neither"
        raise ValidationError(
            f"Give either InstanceType or InstancePreferences in ClusterConfig, found {found}"
        )
    options = preferences if preferences is not None else [cluster]
    chosen = []
    for option in options:
        count = option.get("InstanceCount", cluster.get("InstanceCount"))
        if count is None:
            raise ValidationError(f"InstanceCount is missing for {option['InstanceType']} in ClusterConfig")
        chosen.append((option["InstanceType"], count))
    return chosen


def _check_names(names: list[str], member: str) -> None:
    duplicates = sorted(name for name, count in Counter(names).items() if count > 1)
    if duplicates:
        raise ValidationError(
            f"{member} must be unique within a job; given more than once: {', '.join(duplicates)}"
        )


def _check_input(item: dict[str, Any]) -> None:
    name = item["InputName"]
    source = _require_s3_member(item, f"Input {name}", "S3Input")
    if any(member not in source for member in REQUIRED_INPUT_MEMBERS):
        # The wording AWS uses (sagemaker.md, section 6); it names all three members whichever is missing.
        raise ValidationError(
            f"Input {name} missing one or more required fields for SageMaker-managed S3Input: "
            '"LocalPath", "S3DownloadMode", "S3InputMode"'
        )
    _check_local_path(f"Input {name}", source["LocalPath"])
    if source.get("S3CompressionType") == "Gzip" and source["S3InputMode"] != "Pipe":
        raise ValidationError(f"Input {name}: S3CompressionType Gzip requires S3InputMode Pipe")


def _check_output(item: dict[str, Any]) -> None:
    name = item["OutputName"]
    target = _require_s3_member(item, f"Output {name}", "S3Output")
    if "LocalPath" not in target:
        raise ValidationError(f"Output {name} has no LocalPath in S3Output")
    _check_local_path(f"Output {name}", target["LocalPath"])


def _require_s3_member(item: dict[str, Any], where: str, member: str) -> dict[str, Any]:
    if item.get("AppManaged"):
        raise ValidationError(f"{where}: AppManaged is not implemented by the embedded AWS; leave it out")
    found: dict[str, Any] | None = item.get(member)
    if found is None:
        raise ValidationError(f"{where} has no {member}")
    return found


def _check_local_path(where: str, path: str) -> None:
    parts = path.split("/")
    if not path.startswith(LOCAL_PATH_ROOT) or path == LOCAL_PATH_ROOT or ".." in parts or "\0" in path:
        raise ValidationError(f"{where}: LocalPath is '{path}', it must be a folder below {LOCAL_PATH_ROOT}")


def _check_uris(inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
    input_names = {item["S3Input"]["S3Uri"].rstrip("/"): item["InputName"] for item in inputs}
    for item in outputs:
        uri = item["S3Output"]["S3Uri"].rstrip("/")
        if uri in input_names:
            raise ValidationError(
                f"Output {item['OutputName']} and input {input_names[uri]} have the same S3Uri {uri}; give the "
                "output its own prefix"
            )
