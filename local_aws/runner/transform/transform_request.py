"""A CreateTransformJob request as typed values, completed by /execution-parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_aws.runner.data.inputs import InputObject
from local_aws.runner.data.s3_objects import S3Address
from local_aws.runner.runner_spec import RunnerSpec

BATCH_STRATEGIES = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}
# The container's variable for each parameter that a request may set.
VARIABLES = {
    "BatchStrategy": "SAGEMAKER_BATCH_STRATEGY",
    "MaxConcurrentTransforms": "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS",
    "MaxPayloadInMB": "SAGEMAKER_MAX_PAYLOAD_IN_MB",
}


@dataclass(frozen=True, slots=True)
class TransformParameters:
    """Concurrency of an instance, payload in MB (0: unlimited, chunked) and strategy."""

    max_concurrent_transforms: int
    max_payload_mb: int
    batch_strategy: str

    def __str__(self) -> str:
        return (
            f"MaxConcurrentTransforms={self.max_concurrent_transforms}, MaxPayloadInMB={self.max_payload_mb}, "
            f"BatchStrategy={self.batch_strategy}"
        )


@dataclass(frozen=True, slots=True)
class DataProcessing:
    input_filter: str = "$"
    output_filter: str = "$"
    join_input: bool = False


@dataclass(frozen=True, slots=True)
class TransformRequest:
    """What the request says; None where the caller left it open.

    `requested_parameters` are those of VARIABLES that the caller set, with values as /execution-parameters has them.
    """

    data_type: str
    uri: str
    content_type: str | None
    is_gzip: bool
    split_type: str
    output_uri: str
    accept: str | None
    assemble_with_line: bool
    timeout_seconds: int
    max_retries: int
    data_processing: DataProcessing
    capture_uri: str | None
    needs_inference_id: bool
    requested_parameters: dict[str, Any]

    @classmethod
    def from_spec(cls, spec: RunnerSpec) -> TransformRequest:
        request = spec.request
        source, target = request["TransformInput"], request["TransformOutput"]
        s3 = source["DataSource"]["S3DataSource"]
        client = request.get("ModelClientConfig") or {}
        processing = request.get("DataProcessing") or {}
        capture = request.get("DataCaptureConfig") or {}
        requested = {name: request[name] for name in VARIABLES if request.get(name) is not None}
        # 0 concurrent transforms means "not set" (API reference); payload 0 means unlimited.
        if requested.get("MaxConcurrentTransforms") == 0:
            del requested["MaxConcurrentTransforms"]
        if "BatchStrategy" in requested:
            requested["BatchStrategy"] = BATCH_STRATEGIES[requested["BatchStrategy"]]
        return cls(
            data_type=s3["S3DataType"],
            uri=s3["S3Uri"],
            content_type=source.get("ContentType"),
            is_gzip=source.get("CompressionType") == "Gzip",
            split_type=source.get("SplitType", "None"),
            output_uri=target["S3OutputPath"],
            accept=target.get("Accept"),
            assemble_with_line=target.get("AssembleWith") == "Line",
            timeout_seconds=int(client.get("InvocationsTimeoutInSeconds", 600)),
            max_retries=int(client.get("InvocationsMaxRetries", 3)),
            data_processing=DataProcessing(
                processing.get("InputFilter", "$"),
                processing.get("OutputFilter", "$"),
                processing.get("JoinSource", "None") == "Input",
            ),
            capture_uri=capture.get("DestinationS3Uri"),
            needs_inference_id=bool(capture.get("GenerateInferenceId")),
            requested_parameters=requested,
        )

    def resolve_parameters(self, execution_parameters: Mapping[str, Any]) -> TransformParameters:
        """Request before /execution-parameters, whose invalid values are ignored, before defaults."""
        offered = {name: each for name, each in execution_parameters.items() if _is_valid(name, each)}
        defaults = {"MaxConcurrentTransforms": 1, "MaxPayloadInMB": 6, "BatchStrategy": "MULTI_RECORD"}
        chosen = {**defaults, **offered, **self.requested_parameters}
        return TransformParameters(
            chosen["MaxConcurrentTransforms"], chosen["MaxPayloadInMB"], chosen["BatchStrategy"]
        )

    def build_environment(self) -> dict[str, str]:
        """SAGEMAKER_BATCH always, the others only when the caller set them."""
        requested = {VARIABLES[name]: str(value) for name, value in self.requested_parameters.items()}
        return {"SAGEMAKER_BATCH": "true", **requested}

    def get_output_address(self, input_object: InputObject, *, flatten: bool) -> S3Address:
        """Where the object's predictions go: its name below the input, with .out."""
        base = S3Address.parse(self.output_uri.rstrip("/") + "/")
        name = input_object.relative_key.rsplit("/", 1)[-1] if flatten else input_object.relative_key
        return S3Address(base.bucket, f"{base.key}{name}.out")


def _is_valid(name: str, value: object) -> bool:
    match name:
        case "MaxConcurrentTransforms":
            return isinstance(value, int) and value > 0
        case "MaxPayloadInMB":
            return isinstance(value, int) and value >= 0
    return name == "BatchStrategy" and value in BATCH_STRATEGIES.values()
