"""Finds, before submission, what SageMaker would reject late or silently misread in a transform or processing request.

Each problem is one sentence: what was found, why it fails, what to write instead. Limits are those of the API reference
and developer guide; quoted AWS messages were seen by users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from batch_inference.common import s3_uri
from batch_inference.common.errors import RequestLintError
from batch_inference.common.formatting import format_bytes
from batch_inference.config.sections.filters import find_data_processing_problem, find_filter_problems
from batch_inference.config.sections.security import NO_VOLUME_KEY_REASON, has_local_storage
from batch_inference.config.sections.stages import (
    DEFAULT_MAX_PAYLOAD_MB,
    INFERENCE_PIPELINE_MAX_PAYLOAD_MB,
    MAX_PAYLOAD_MB_IN_FLIGHT,
)
from batch_inference.planning.clusters.sizing import compute_preprocess_volume_size_gb
from batch_inference.requests.sagemaker import get_cluster_config

MEBIBYTE = 1024 * 1024
NO_DATA_PROCESSING = {"JoinSource": "None", "InputFilter": "$", "OutputFilter": "$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LintContext:
    """Facts that a request does not contain; None where they are not known.

    `has_header` says whether the input's objects begin with column names. `input_uri` is the prefix that a manifest was
    built from, `host_input_bytes` the input that an instance of a processing job holds.
    """

    container_count: int = 1
    largest_record_bytes: int | None = None
    has_header: bool | None = None
    input_uri: str | None = None
    host_input_bytes: int | None = None


Request: TypeAlias = Mapping[str, Any]
Check: TypeAlias = Callable[[Request, LintContext], Iterable[str]]


def lint_transform(request: Request, context: LintContext) -> tuple[str, ...]:
    """The problems of a CreateTransformJob request, in the order of its fields; empty when there are none."""
    return tuple(problem for check in _TRANSFORM for problem in check(request, context))


def lint_processing(request: Request, context: LintContext) -> tuple[str, ...]:
    """The problems of a CreateProcessingJob request; empty when there are none."""
    return tuple(problem for check in _PROCESSING for problem in check(request, context))


def raise_for_problems(problems: Sequence[str]) -> None:
    """Raise RequestLintError when there are problems."""
    if problems:
        raise RequestLintError(tuple(problems))


def _payload(request: Request) -> int:
    payload: int = request.get("MaxPayloadInMB", DEFAULT_MAX_PAYLOAD_MB)
    return payload


def _in_flight(request: Request, _: LintContext) -> Iterable[str]:
    payload, concurrent = _payload(request), request.get("MaxConcurrentTransforms", 0)
    if concurrent and payload * concurrent > MAX_PAYLOAD_MB_IN_FLIGHT:
        yield (
            f"MaxConcurrentTransforms {concurrent} times MaxPayloadInMB {payload} is {concurrent * payload} MB; "
            f"SageMaker allows {MAX_PAYLOAD_MB_IN_FLIGHT} MB in flight; write MaxConcurrentTransforms "
            f"{MAX_PAYLOAD_MB_IN_FLIGHT // payload} or MaxPayloadInMB "
            f"{MAX_PAYLOAD_MB_IN_FLIGHT // concurrent}"
        )


def _several_containers(request: Request, facts: LintContext) -> Iterable[str]:
    if facts.container_count < 2:
        return
    payload = _payload(request)
    if payload > INFERENCE_PIPELINE_MAX_PAYLOAD_MB or payload == 0:
        yield (
            f"MaxPayloadInMB: found {payload} for {facts.container_count} containers; a request from one container "
            "to the next holds 5 MB at most, and a larger one fails as 'Request Entity Too Large'; write "
            f"{INFERENCE_PIPELINE_MAX_PAYLOAD_MB} or less"
        )
    if not request.get("MaxConcurrentTransforms"):
        yield (
            f"MaxConcurrentTransforms: not stated for {facts.container_count} containers; SageMaker "
            f"would ask one of them for "
            f"it, which one is not documented, and take 1 where it does not answer; state a number"
        )


def _batch_strategy(request: Request, _: LintContext) -> Iterable[str]:
    strategy = request.get("BatchStrategy")
    split = request["TransformInput"].get("SplitType", "None")
    if strategy is not None and split == "None":
        yield (
            f"BatchStrategy {strategy} without SplitType; whole objects are sent when nothing says "
            f"how to find a record; "
            f"write SplitType Line, RecordIO or TFRecord, or drop BatchStrategy"
        )


def _record_size(request: Request, facts: LintContext) -> Iterable[str]:
    payload = _payload(request)
    longest = facts.largest_record_bytes
    if longest is not None and payload and longest > payload * MEBIBYTE:
        wanted = -(-longest // MEBIBYTE)
        most = INFERENCE_PIPELINE_MAX_PAYLOAD_MB if facts.container_count > 1 else 100
        advice = (
            f"write MaxPayloadInMB {wanted}"
            if wanted <= most
            else "shorten the records, for no payload is enough"
        )
        yield (
            f"MaxPayloadInMB: found {payload}, but a record of the input is {format_bytes(longest)}; a "
            f"record is never cut, and "
            f"one that does not fit fails its whole object; {advice}"
        )


def _header(request: Request, facts: LintContext) -> Iterable[str]:
    if facts.has_header and request["TransformInput"].get("SplitType") == "Line":
        yield (
            "TransformInput: the objects begin with a line of column names, which SageMaker would "
            "send to the model as a "
            "record; let preprocessing remove it, or upload the objects without it"
        )


def _output(request: Request, facts: LintContext) -> Iterable[str]:
    uri = facts.input_uri or request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    output = request["TransformOutput"]["S3OutputPath"]
    if s3_uri.prefix_includes(uri, output):
        yield (
            f"S3OutputPath: found {output}, below the input {uri}; the next run would score what "
            f"this one wrote; choose another prefix"
        )


def _filters(request: Request, _: LintContext) -> Iterable[str]:
    for field in ("InputFilter", "OutputFilter"):
        text = request.get("DataProcessing", {}).get(field)
        if text is None:
            continue
        yield from (f"{field}: {problem}" for problem in find_filter_problems(text))


def _data_processing(request: Request, _: LintContext) -> Iterable[str]:
    """Checks DataProcessing as far as it has an effect; `$` and None are SageMaker's defaults."""
    stated = {**NO_DATA_PROCESSING, **request.get("DataProcessing", {})}
    active = [
        f"{name} {stated[name]}" for name, nothing in NO_DATA_PROCESSING.items() if stated[name] != nothing
    ]
    if not active:
        return
    source, output = request["TransformInput"], request["TransformOutput"]
    problem = find_data_processing_problem(
        " and ".join(active),
        content_type=source.get("ContentType"),
        accept=output.get("Accept"),
        split_type=source.get("SplitType"),
        assemble_with=output.get("AssembleWith"),
    )
    if problem is not None:
        yield problem


def _volume(request: Request, facts: LintContext) -> Iterable[str]:
    volume = get_cluster_config(request)["VolumeSizeInGB"]
    if facts.host_input_bytes is None:
        return
    wanted = compute_preprocess_volume_size_gb(facts.host_input_bytes)
    if volume < wanted:
        yield (
            f"VolumeSizeInGB: found {volume}, but each instance holds {format_bytes(facts.host_input_bytes)} of "
            f"input and writes about "
            f"twice as much in addition; write {wanted}, or use more instances where the input is divided among them"
        )


def _volume_key(request: Request, _: LintContext) -> Iterable[str]:
    cluster = get_cluster_config(request)
    if cluster.get("VolumeKmsKeyId") and has_local_storage(cluster["InstanceType"]):
        yield f"VolumeKmsKeyId: found a key for {cluster['InstanceType']}; {NO_VOLUME_KEY_REASON}"


_TRANSFORM: tuple[Check, ...] = (
    _in_flight, _several_containers, _batch_strategy, _record_size, _header, _output, _filters, _data_processing,
    _volume_key,
)  # fmt: skip
_PROCESSING: tuple[Check, ...] = (_volume, _volume_key)
