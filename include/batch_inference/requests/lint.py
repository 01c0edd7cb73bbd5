"""Finds, before submission, what SageMaker would reject late or silently misread in a transform or processing request.

Each problem is one sentence: what was found, why it fails, what to write instead. Limits are those of the API reference
and developer guide; quoted AWS messages were seen by users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from batch_inference.common.errors import RequestLintError
from batch_inference.common.formatting import format_bytes
from batch_inference.common.names import build_runs_prefix
from batch_inference.common.s3_uri import find_overlap_problems, prefix_includes
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.filters import find_data_processing_problem, find_filter_problems
from batch_inference.config.sections.security import NO_VOLUME_KEY_REASON, has_local_storage
from batch_inference.config.sections.stages import (
    DEFAULT_MAX_PAYLOAD_MB,
    INFERENCE_PIPELINE_MAX_PAYLOAD_MB,
    MAX_PAYLOAD_MB_IN_FLIGHT,
)
from batch_inference.planning.clusters.sizing import compute_preprocess_volume_size_gb
from batch_inference.planning.inputs.input_probe import ProbeResult
from batch_inference.planning.plan import Plan
from batch_inference.requests.sagemaker import Request, get_cluster_config

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


Check: TypeAlias = Callable[[Request, LintContext], Iterable[str]]


def check_requests(
    pipeline: Pipeline, plan: Plan, requests: Mapping[str, Request], probe_result: ProbeResult | None = None
) -> None:
    """Raise RequestLintError when SageMaker would reject or misread one of the plan's requests; an empty plan has none.

    `probe_result` is that of an input without preprocessing.
    """
    if not requests:
        return
    runs_prefix = build_runs_prefix(work=pipeline.work, pipeline=plan.pipeline)
    overlaps = find_overlap_problems(plan.input.uri, plan.output_uri, plan.run_prefix, runs_prefix)
    problems = [f"{field}: {problem}" for field, problem in overlaps]
    if plan.preprocess is not None:
        problems += lint_processing(
            requests["preprocess"], LintContext(host_input_bytes=plan.preprocess.host_bytes)
        )
    if "join" in requests:
        problems += lint_processing(requests["join"], LintContext())
    context = LintContext(
        container_count=max(1, plan.model.containers),
        # Preprocessing writes features without a header line; without it, the input was probed.
        has_header=probe_result is not None and probe_result.has_header,
        largest_record_bytes=None if probe_result is None else probe_result.largest_record_bytes,
        input_uri=plan.input.uri if plan.layout else None,
    )
    problems += lint_transform(requests["transform"], context)
    raise_for_problems(problems)


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
            f"{MAX_PAYLOAD_MB_IN_FLIGHT // payload} or MaxPayloadInMB {MAX_PAYLOAD_MB_IN_FLIGHT // concurrent}"
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
            f"MaxConcurrentTransforms: not stated for {facts.container_count} containers; SageMaker would ask one of "
            "them for it, which one is not documented, and take 1 where it does not answer; state a number"
        )


def _batch_strategy(request: Request, _: LintContext) -> Iterable[str]:
    strategy = request.get("BatchStrategy")
    split = request["TransformInput"].get("SplitType", "None")
    if strategy is not None and split == "None":
        yield (
            f"BatchStrategy {strategy} without SplitType; whole objects are sent when nothing says how to find a "
            "record; write SplitType Line, RecordIO or TFRecord, or drop BatchStrategy"
        )


def _record_size(request: Request, facts: LintContext) -> Iterable[str]:
    payload, longest = _payload(request), facts.largest_record_bytes
    if longest is not None and payload and longest > payload * MEBIBYTE:
        wanted = -(-longest // MEBIBYTE)
        most = INFERENCE_PIPELINE_MAX_PAYLOAD_MB if facts.container_count > 1 else 100
        advice = "shorten the records, for no payload is enough"
        if wanted <= most:
            advice = f"write MaxPayloadInMB {wanted}"
        yield (
            f"MaxPayloadInMB: found {payload}, but a record of the input is {format_bytes(longest)}; a record is never "
            f"cut, and one that does not fit fails its whole object; {advice}"
        )


def _header(request: Request, facts: LintContext) -> Iterable[str]:
    if facts.has_header and request["TransformInput"].get("SplitType") == "Line":
        yield (
            "TransformInput: the objects begin with a line of column names, which SageMaker would send to the model as "
            "a record; let preprocessing remove it, or upload the objects without it"
        )


def _output(request: Request, facts: LintContext) -> Iterable[str]:
    uri = facts.input_uri or request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    output = request["TransformOutput"]["S3OutputPath"]
    if prefix_includes(uri, output):
        yield (
            f"S3OutputPath: found {output}, below the input {uri}; the next run would score what this one wrote; "
            "choose another prefix"
        )


def _filters(request: Request, _: LintContext) -> Iterable[str]:
    for field in ("InputFilter", "OutputFilter"):
        if (text := request.get("DataProcessing", {}).get(field)) is not None:
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
    volume, held = get_cluster_config(request)["VolumeSizeInGB"], facts.host_input_bytes
    if held is not None and volume < (wanted := compute_preprocess_volume_size_gb(held)):
        yield (
            f"VolumeSizeInGB: found {volume}, but each instance holds {format_bytes(held)} of input and writes about "
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
