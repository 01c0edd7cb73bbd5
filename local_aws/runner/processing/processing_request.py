"""A CreateProcessingJob request as typed inputs and outputs, and the two files of /opt/ml/config."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_aws.runner.data.s3_objects import S3Address
from local_aws.runner.failures import ClientFailedError
from local_aws.runner.runner_spec import RunnerSpec

DEFAULT_MAX_RUNTIME_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class ProcessingInput:
    name: str
    uri: str
    local_path: str
    data_type: str
    is_pipe: bool
    is_sharded: bool
    is_gzip: bool


@dataclass(frozen=True, slots=True)
class ProcessingOutput:
    name: str
    uri: str
    local_path: str
    is_continuous: bool

    @property
    def prefix(self) -> S3Address:
        """Where files go: always with a slash at the end."""
        return S3Address.parse(self.uri.rstrip("/") + "/")


def parse_inputs(spec: RunnerSpec) -> list[ProcessingInput]:
    """Raises ClientFailedError for an input that the service cannot manage."""
    inputs = []
    for entry in spec.request.get("ProcessingInputs", []):
        if entry.get("AppManaged") or "S3Input" not in entry:
            continue
        s3 = entry["S3Input"]
        missing = [name for name in ("LocalPath", "S3InputMode") if not s3.get(name)]
        if missing:
            names = ", ".join(f'"{name}"' for name in missing)
            raise ClientFailedError(
                f"Input {entry['InputName']} missing one or more required fields for SageMaker-managed S3Input: {names}"
            )
        inputs.append(
            ProcessingInput(
                name=entry["InputName"],
                uri=s3["S3Uri"],
                local_path=s3["LocalPath"].rstrip("/"),
                data_type=s3.get("S3DataType", "S3Prefix"),
                is_pipe=s3["S3InputMode"] == "Pipe",
                is_sharded=s3.get("S3DataDistributionType") == "ShardedByS3Key",
                is_gzip=s3.get("S3CompressionType") == "Gzip",
            )
        )
    return inputs


def parse_outputs(spec: RunnerSpec) -> list[ProcessingOutput]:
    config = spec.request.get("ProcessingOutputConfig") or {}
    return [
        ProcessingOutput(
            name=entry["OutputName"],
            uri=entry["S3Output"]["S3Uri"],
            local_path=entry["S3Output"]["LocalPath"].rstrip("/"),
            is_continuous=entry["S3Output"]["S3UploadMode"] == "Continuous",
        )
        for entry in config.get("Outputs", [])
        if not entry.get("AppManaged") and "S3Output" in entry
    ]


def get_max_runtime_seconds(spec: RunnerSpec) -> int:
    condition = spec.request.get("StoppingCondition") or {}
    return int(condition.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME_SECONDS))


def write_config_files(folder: Path, spec: RunnerSpec, host: str) -> None:
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


def _job_config(spec: RunnerSpec) -> dict[str, Any]:
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
        "StoppingCondition": {"MaxRuntimeInSeconds": get_max_runtime_seconds(spec)},
        "NetworkConfig": request.get("NetworkConfig"),
        "ExperimentConfig": request.get("ExperimentConfig"),
        "Tags": request.get("Tags"),
    }


def _dump(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
