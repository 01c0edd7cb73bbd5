"""A CreateTransformJob request as typed values, and what /execution-parameters may still decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from include.local_aws.runner.inputs import InputObject
from include.local_aws.runner.s3 import Address
from include.local_aws.runner.spec import Spec

STRATEGIES = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}


@dataclass(frozen=True, slots=True)
class Parameters:
    """Concurrency of an instance, payload in MB (0: unlimited, chunked) and strategy."""

    max_concurrent_transforms: int = 1
    max_payload_mb: int = 6
    strategy: str = "MULTI_RECORD"

    def updated(self, answer: Mapping[str, Any]) -> Parameters:
        """With what /execution-parameters answered; values that make no sense are left out."""
        concurrency, payload = answer.get("MaxConcurrentTransforms"), answer.get("MaxPayloadInMB")
        strategy = answer.get("BatchStrategy")
        result = self
        if isinstance(concurrency, int) and concurrency > 0:
            result = replace(result, max_concurrent_transforms=concurrency)
        if isinstance(payload, int) and payload >= 0:
            result = replace(result, max_payload_mb=payload)
        if strategy in STRATEGIES.values():
            result = replace(result, strategy=str(strategy))
        return result

    def __str__(self) -> str:
        return (
            f"MaxConcurrentTransforms={self.max_concurrent_transforms}, MaxPayloadInMB={self.max_payload_mb}, "
            f"BatchStrategy={self.strategy}"
        )


@dataclass(frozen=True, slots=True)
class DataProcessing:
    input_filter: str = "$"
    output_filter: str = "$"
    join: bool = False

    @property
    def needed(self) -> bool:
        return self != DataProcessing()


@dataclass(frozen=True, slots=True)
class DataCapture:
    destination: str
    inference_id: bool


@dataclass(frozen=True, slots=True)
class TransformPlan:
    """What the request says; None where the caller left it open."""

    data_type: str
    uri: str
    content_type: str | None
    gzip: bool
    split: str
    output_uri: str
    accept: str | None
    assemble_line: bool
    timeout_seconds: int
    max_retries: int
    processing: DataProcessing
    capture: DataCapture | None
    given: Parameters
    given_names: frozenset[str]

    @classmethod
    def of(cls, spec: Spec) -> TransformPlan:
        request = spec.request
        source, target = request["TransformInput"], request["TransformOutput"]
        s3 = source["DataSource"]["S3DataSource"]
        client = request.get("ModelClientConfig") or {}
        processing = request.get("DataProcessing") or {}
        capture = request.get("DataCaptureConfig")
        names = set()
        given = Parameters()
        # 0 concurrent transforms means "not set" (API reference); payload 0 means unlimited.
        if request.get("MaxConcurrentTransforms"):
            names.add("MaxConcurrentTransforms")
            given = replace(given, max_concurrent_transforms=int(request["MaxConcurrentTransforms"]))
        if request.get("MaxPayloadInMB") is not None:
            names.add("MaxPayloadInMB")
            given = replace(given, max_payload_mb=int(request["MaxPayloadInMB"]))
        if request.get("BatchStrategy"):
            names.add("BatchStrategy")
            given = replace(given, strategy=STRATEGIES[request["BatchStrategy"]])
        return cls(
            data_type=s3["S3DataType"],
            uri=s3["S3Uri"],
            content_type=source.get("ContentType"),
            gzip=source.get("CompressionType") == "Gzip",
            split=source.get("SplitType", "None"),
            output_uri=target["S3OutputPath"],
            accept=target.get("Accept"),
            assemble_line=target.get("AssembleWith") == "Line",
            timeout_seconds=int(client.get("InvocationsTimeoutInSeconds", 600)),
            max_retries=int(client.get("InvocationsMaxRetries", 3)),
            processing=DataProcessing(
                processing.get("InputFilter", "$"),
                processing.get("OutputFilter", "$"),
                processing.get("JoinSource", "None") == "Input",
            ),
            capture=(
                DataCapture(capture["DestinationS3Uri"], bool(capture.get("GenerateInferenceId")))
                if capture
                else None
            ),
            given=given,
            given_names=frozenset(names),
        )

    def parameters(self, answer: Mapping[str, Any]) -> Parameters:
        """Request before /execution-parameters before defaults."""
        return self.given.updated(
            {name: value for name, value in answer.items() if name not in self.given_names}
        )

    def environment(self) -> dict[str, str]:
        """SAGEMAKER_BATCH always, the others only when the caller set them."""
        values = {
            "MaxPayloadInMB": ("SAGEMAKER_MAX_PAYLOAD_IN_MB", str(self.given.max_payload_mb)),
            "BatchStrategy": ("SAGEMAKER_BATCH_STRATEGY", self.given.strategy),
            "MaxConcurrentTransforms": (
                "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS",
                str(self.given.max_concurrent_transforms),
            ),
        }
        return {"SAGEMAKER_BATCH": "true", **dict(values[name] for name in sorted(self.given_names))}

    def output_of(self, item: InputObject, *, flatten: bool) -> Address:
        """Where the object's predictions go: its name below the input, with .out."""
        base = Address.parse(self.output_uri.rstrip("/") + "/")
        name = item.relative.rsplit("/", 1)[-1] if flatten else item.relative
        return Address(base.bucket, f"{base.key}{name}.out")
