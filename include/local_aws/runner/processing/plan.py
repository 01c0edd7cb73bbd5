"""A CreateProcessingJob request as typed inputs and outputs, and the two files of /opt/ml/config."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.local_aws.runner.failures import ClientFailedError
from include.local_aws.runner.s3 import Address
from include.local_aws.runner.spec import Spec

DEFAULT_MAX_RUNTIME = 86_400


@dataclass(frozen=True, slots=True)
class Input:
    name: str
    uri: str
    local_path: str
    data_type: str
    pipe: bool
    sharded: bool
    gzip: bool


@dataclass(frozen=True, slots=True)
class Output:
    name: str
    uri: str
    local_path: str
    continuous: bool

    @property
    def address(self) -> Address:
        """Where files go: always with a slash at the end."""
        return Address.parse(self.uri.rstrip("/") + "/")


def inputs_of(spec: Spec) -> list[Input]:
    """Raises ClientFailedError for an input that the service cannot manage."""
    found = []
    for entry in spec.request.get("ProcessingInputs", []):
        if entry.get("AppManaged") or "S3Input" not in entry:
            continue
        s3 = entry["S3Input"]
        needed = [name for name in ("LocalPath", "S3InputMode") if not s3.get(name)]
        if needed:
            names = ", ".join(f'"{name}"' for name in needed)
            raise ClientFailedError(
                f"Input {entry['InputName']} missing one or more required fields for SageMaker-managed S3Input: {names}"
            )
        found.append(
            Input(
                name=entry["InputName"],
                uri=s3["S3Uri"],
                local_path=s3["LocalPath"].rstrip("/"),
                data_type=s3.get("S3DataType", "S3Prefix"),
                pipe=s3["S3InputMode"] == "Pipe",
                sharded=s3.get("S3DataDistributionType") == "ShardedByS3Key",
                gzip=s3.get("S3CompressionType") == "Gzip",
            )
        )
    return found


def outputs_of(spec: Spec) -> list[Output]:
    config = spec.request.get("ProcessingOutputConfig") or {}
    return [
        Output(
            name=entry["OutputName"],
            uri=entry["S3Output"]["S3Uri"],
            local_path=entry["S3Output"]["LocalPath"].rstrip("/"),
            continuous=entry["S3Output"]["S3UploadMode"] == "Continuous",
        )
        for entry in config.get("Outputs", [])
        if not entry.get("AppManaged") and "S3Output" in entry
    ]


def max_runtime(spec: Spec) -> int:
    condition = spec.request.get("StoppingCondition") or {}
    return int(condition.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME))


def write_config(folder: Path, spec: Spec, host: str) -> None:
    """/opt/ml/config: the request with its ARN and AWS's defaults, and who the hosts are."""
    folder.mkdir(parents=True, exist_ok=True)
    _dump(folder / "processingjobconfig.json", _job_config(spec))
    _dump(
        folder / "resourceconfig.json",
        {
            "current_host": host,
            "current_instance_type": spec.request["ProcessingResources"]["ClusterConfig"].get("InstanceType"),
            "hosts": spec.hosts,
            "network_interface_name": "lo",
        },
    )


def _job_config(spec: Spec) -> dict[str, Any]:
    request = spec.request
    inputs = []
    for entry in request.get("ProcessingInputs", []):
        copy = {"AppManaged": False, "DatasetDefinition": None, **entry}
        if "S3Input" in entry:
            copy["S3Input"] = {
                "S3DataDistributionType": "FullyReplicated",
                "S3CompressionType": "None",
                "S3DownloadMode": "StartOfJob",
                **entry["S3Input"],
            }
        inputs.append(copy)
    output_config = request.get("ProcessingOutputConfig") or {}
    app = request["AppSpecification"]
    cluster = request["ProcessingResources"]["ClusterConfig"]
    return {
        "ProcessingJobArn": spec.arn,
        "ProcessingJobName": spec.name,
        "AppSpecification": {"ContainerEntrypoint": None, "ContainerArguments": None, **app},
        "Environment": request.get("Environment"),
        "ProcessingInputs": inputs,
        "ProcessingOutputConfig": {
            "KmsKeyId": None,
            **output_config,
            "Outputs": [
                {"AppManaged": False, "FeatureStoreOutput": None, **entry}
                for entry in output_config.get("Outputs", [])
            ],
        },
        "ProcessingResources": {"ClusterConfig": {"VolumeKmsKeyId": None, **cluster}},
        "RoleArn": request.get("RoleArn"),
        "StoppingCondition": {"MaxRuntimeInSeconds": max_runtime(spec)},
        "NetworkConfig": request.get("NetworkConfig"),
        "ExperimentConfig": request.get("ExperimentConfig"),
        "Tags": request.get("Tags"),
    }


def _dump(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
