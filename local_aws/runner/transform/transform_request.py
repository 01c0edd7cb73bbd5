"""A CreateTransformJob request as typed values, completed by /execution-parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from local_aws.runner.data.inputs import InputObject
from local_aws.runner.data.s3_objects import S3Address
from local_aws.runner.runner_spec import RunnerSpec

BATCH_STRATEGIES = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}


@dataclass(frozen=True, slots=True)
class TransformParameters:
    """Concurrency of an instance, payload in MB (0: unlimited, chunked) and strategy."""

    max_concurrent_transforms: int = 1
    max_payload_mb: int = 6
    batch_strategy: str = "MULTI_RECORD"

    def merge_execution_parameters(self, execution_parameters: Mapping[str, Any]) -> TransformParameters:
        """Merged with the response of /execution-parameters; invalid values are ignored."""
        concurrency, payload = (
            execution_parameters.get("MaxConcurrentTransforms"),
            execution_parameters.get("MaxPayloadInMB"),
        )
        strategy = execution_parameters.get("BatchStrategy")
        result = self
        if isinstance(concurrency, int) and concurrency > 0:
            result = replace(result, max_concurrent_transforms=concurrency)
        if isinstance(payload, int) and payload >= 0:
            result = replace(result, max_payload_mb=payload)
        if strategy in BATCH_STRATEGIES.values():
            result = replace(result, batch_strategy=str(strategy))
        return result

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

    @property
    def is_needed(self) -> bool:
        return self != DataProcessing()


@dataclass(frozen=True, slots=True)
class DataCapture:
    destination_uri: str
    generate_inference_id: bool


@dataclass(frozen=True, slots=True)
class TransformRequest:
    """What the request says; None where the caller left it open."""

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
    data_capture: DataCapture | None
    requested_parameters: TransformParameters
    requested_names: frozenset[str]

    @classmethod
    def from_spec(cls, spec: RunnerSpec) -> TransformRequest:
        request = spec.request
        source, target = request["TransformInput"], request["TransformOutput"]
        s3 = source["DataSource"]["S3DataSource"]
        client = request.get("ModelClientConfig") or {}
        processing = request.get("DataProcessing") or {}
        capture = request.get("DataCaptureConfig")
        names = set()
        requested = TransformParameters()
        # 0 concurrent transforms means "not set" (API reference); payload 0 means unlimited.
        if request.get("MaxConcurrentTransforms"):
            names.add("MaxConcurrentTransforms")
            requested = replace(requested, max_concurrent_transforms=int(request["MaxConcurrentTransforms"]))
        if request.get("MaxPayloadInMB") is not None:
            names.add("MaxPayloadInMB")
            requested = replace(requested, max_payload_mb=int(request["MaxPayloadInMB"]))
        if request.get("BatchStrategy"):
            names.add("BatchStrategy")
            requested = replace(requested, batch_strategy=BATCH_STRATEGIES[request["BatchStrategy"]])
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
            data_capture=(
                DataCapture(capture["DestinationS3Uri"], bool(capture.get("GenerateInferenceId")))
                if capture
                else None
            ),
            requested_parameters=requested,
            requested_names=frozenset(names),
        )

    def resolve_parameters(self, execution_parameters: Mapping[str, Any]) -> TransformParameters:
        """Request before /execution-parameters before defaults."""
        return self.requested_parameters.merge_execution_parameters(
            {name: value for name, value in execution_parameters.items() if name not in self.requested_names}
        )

    def build_environment(self) -> dict[str, str]:
        """SAGEMAKER_BATCH always, the others only when the caller set them."""
        values = {
            "MaxPayloadInMB": ("SAGEMAKER_MAX_PAYLOAD_IN_MB", str(self.requested_parameters.max_payload_mb)),
            "BatchStrategy": ("SAGEMAKER_BATCH_STRATEGY", self.requested_parameters.batch_strategy),
            "MaxConcurrentTransforms": (
                "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS",
                str(self.requested_parameters.max_concurrent_transforms),
            ),
        }
        return {"SAGEMAKER_BATCH": "true", **dict(values[name] for name in sorted(self.requested_names))}

    def get_output_address(self, input_object: InputObject, *, flatten: bool) -> S3Address:
        """Where the object's predictions go: its name below the input, with .out."""
        base = S3Address.parse(self.output_uri.rstrip("/") + "/")
        name = input_object.relative_key.rsplit("/", 1)[-1] if flatten else input_object.relative_key
        return S3Address(base.bucket, f"{base.key}{name}.out")
