"""The plan of one run: from a listing of the input to the size of each cluster, with one sentence for each choice.

`make_plan` is a pure function; it spends nothing and asks nobody. What it returns is stored as plan.json and is the only
source of the later tasks' numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from include.scoring import sizing
from include.scoring.choices import Choices
from include.scoring.config import MAX_PAYLOAD_TIMES_CONCURRENCY, PIPELINE_MAX_PAYLOAD_MB, Pipeline
from include.scoring.cost import Prices, load_prices
from include.scoring.errors import EmptyInputError, ParamsError
from include.scoring.estimate import Estimate, estimate
from include.scoring.messages import count, size
from include.scoring.naming import RunPaths
from include.scoring.params import RunParams
from include.scoring.rules import Noun

MINUTE = 60
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class S3Object:
    """One object of a listing; `size` in bytes."""

    key: str
    size: int
    etag: str = ""


class InputPlan(Noun):
    """What the listing held; empty objects are not counted. `digest` changes when any key, size or etag does."""

    uri: str
    objects: int
    bytes: int
    largest_bytes: int
    digest: str


class ModelPlan(Noun):
    """Which model scores: the name of an existing one, or the number of containers of the one made for the run."""

    name: str | None
    containers: int


class PreprocessPlan(Noun):
    """The processing job. `shards` is what is expected; rejected records may lower it."""

    instance_type: str
    instance_count: int
    volume_size_gb: int
    max_runtime_seconds: int
    shard_bytes: int
    shards: int
    distribution: Literal["FullyReplicated", "ShardedByS3Key"]


class TransformPlan(Noun):
    """The batch transform job; concurrency is per instance."""

    instance_type: str
    instance_count: int
    max_concurrent_transforms: int
    max_payload_mb: int
    batch_strategy: Literal["MultiRecord", "SingleRecord"]
    max_runtime_seconds: int
    shards: int


class JoinPlan(Noun):
    """Shards are joined in groups of about so many bytes, one mapped task and one published file each."""

    group_bytes: int


class Plan(Noun):
    """All numbers of one run. Frozen; `model_dump(mode="json")` is plan.json, `for_xcom()` what tasks hand on."""

    version: Literal[1] = 1
    pipeline: str
    run_id: str
    nonce: str
    moment: datetime
    run_prefix: str
    input: InputPlan
    output_uri: str
    empty: bool
    dry_run: bool
    model: ModelPlan
    preprocess: PreprocessPlan
    transform: TransformPlan
    join: JoinPlan
    estimate: Estimate
    sentences: tuple[str, ...]
    chosen_by: dict[str, str]

    @property
    def paths(self) -> RunPaths:
        """Where the run works."""
        return RunPaths(self.run_prefix)

    def for_xcom(self) -> dict[str, Any]:
        """The plan as a small JSON-safe dict; it never grows with the listing."""
        return self.model_dump(mode="json")


def make_plan(
    pipeline: Pipeline,
    params: RunParams,
    objects: Sequence[S3Object],
    *,
    run_id: str,
    nonce: str,
    moment: datetime,
    input_uri: str,
    output_uri: str,
    prices: Prices | None = None,
) -> Plan:
    """Size the clusters of one run.

    `objects` is the listing of `input_uri`; both URIs have their placeholders filled. Raises EmptyInputError when there
    is nothing to score and the pipeline wants that to fail, ParamsError when a typed param is outside the limits.
    """
    _check_limits(pipeline, params)
    found = _describe_input(input_uri, objects)
    say = Choices()
    empty = found.objects == 0
    if empty:
        if pipeline.on_empty == "fail":
            raise EmptyInputError(
                f"the input is empty: {input_uri} holds no object with content, and on_empty is 'fail'; "
                f"upload the data, correct the URI, or set on_empty: skip"
            )
        say.note(f"Nothing to score: {input_uri} holds no object with content, and on_empty is 'skip'.")
    else:
        say.note(
            f"Input is {count(found.objects, 'object')} of {size(found.bytes)} in all, "
            f"the largest {size(found.largest_bytes)}."
        )
    preprocess, transform = _stages(pipeline, params, found, say)
    estimated = estimate(
        input_bytes=_text_bytes(pipeline, found),
        preprocess=(preprocess.instance_type, preprocess.instance_count),
        transform=(transform.instance_type, transform.instance_count),
        prices=prices or load_prices(),
    )
    if not empty:
        say.note(estimated.sentence())
    return Plan(
        pipeline=pipeline.name,
        run_id=run_id,
        nonce=nonce,
        moment=moment.astimezone(UTC),
        run_prefix=RunPaths.of(work=pipeline.work, pipeline=pipeline.name, run_id=run_id).run_prefix,
        input=found,
        output_uri=output_uri,
        empty=empty,
        dry_run=params.dry_run,
        model=ModelPlan(name=pipeline.model.name, containers=len(pipeline.model.containers)),
        preprocess=preprocess,
        transform=transform,
        join=JoinPlan(group_bytes=pipeline.join.group_mb * MEGABYTE),
        estimate=estimated,
        sentences=tuple(say.sentences),
        chosen_by=dict(say.chosen_by),
    )


def _describe_input(uri: str, objects: Sequence[S3Object]) -> InputPlan:
    digest = hashlib.sha256()
    number = total = largest = 0
    for item in objects:
        if item.size <= 0:
            continue
        number += 1
        total += item.size
        largest = max(largest, item.size)
        digest.update(json.dumps([item.key, item.size, item.etag]).encode())
    return InputPlan(uri=uri, objects=number, bytes=total, largest_bytes=largest, digest=digest.hexdigest())


def _text_bytes(pipeline: Pipeline, found: InputPlan) -> int:
    return found.bytes * (sizing.GZIP_GROWTH if pipeline.input.compression == "gzip" else 1)


def _stages(
    pipeline: Pipeline, params: RunParams, found: InputPlan, say: Choices
) -> tuple[PreprocessPlan, TransformPlan]:
    limits, text_bytes = pipeline.transform, _text_bytes(pipeline, found)
    asked = params.transform_instance_count
    shards = sizing.shard_sizes(text_bytes, asked or limits.max_instances, asked_for=asked is not None)
    preprocess = PreprocessPlan(
        instance_type=say.instance_type(
            "preprocess", typed=params.preprocess_instance_type, default=pipeline.preprocess.instance_type
        ),
        instance_count=say.instance_count(
            "preprocess",
            typed=params.preprocess_instance_count,
            limit=pipeline.preprocess.max_instances,
            units=found.objects,
            unit="input object",
        ),
        volume_size_gb=pipeline.preprocess.volume_size_gb,
        max_runtime_seconds=pipeline.preprocess.max_runtime_minutes * MINUTE,
        shard_bytes=shards.bytes,
        shards=shards.count,
        distribution=pipeline.distribution,
    )
    if found.objects:
        unpacked = (
            f", counting gzip as {sizing.GZIP_GROWTH} times its size" if text_bytes != found.bytes else ""
        )
        say.choose(
            "preprocess.shard_bytes",
            "plan",
            f"Records are cut into about {count(shards.count, 'equal shard')} of {size(shards.bytes)}{unpacked}, "
            f"because an instance without a shard is billed all the same.",
        )
    instance_type = say.instance_type(
        "transform", typed=params.transform_instance_type, default=limits.instance_type
    )
    instance_count = say.instance_count(
        "transform", typed=asked, limit=limits.max_instances, units=shards.count, unit="shard"
    )
    payload = _payload(pipeline, params, say)
    return preprocess, TransformPlan(
        instance_type=instance_type,
        instance_count=instance_count,
        max_concurrent_transforms=_concurrency(pipeline, params, instance_type, payload, say),
        max_payload_mb=payload,
        batch_strategy=_strategy(pipeline, params, say),
        max_runtime_seconds=limits.max_runtime_minutes * MINUTE,
        shards=shards.count,
    )


def _payload(pipeline: Pipeline, params: RunParams, say: Choices) -> int:
    typed = params.transform_max_payload_mb
    if typed is not None:
        say.choose(
            "transform.max_payload_mb",
            "trigger form",
            f"A request holds up to {typed} MB, because the trigger form said {typed}.",
        )
        return typed
    payload = pipeline.max_payload_mb
    why = (
        "the pipeline says so"
        if pipeline.transform.max_payload_mb
        else (
            "several containers can hand each other no more"
            if pipeline.model.is_serial_pipeline
            else "that is SageMaker's default"
        )
    )
    say.choose("transform.max_payload_mb", "pipeline", f"A request holds up to {payload} MB, because {why}.")
    return payload


def _concurrency(
    pipeline: Pipeline, params: RunParams, instance_type: str, payload: int, say: Choices
) -> int:
    typed, stated = params.transform_max_concurrent, pipeline.transform.max_concurrent_transforms
    field = "transform.max_concurrent_transforms"
    if typed is not None:
        say.choose(
            field,
            "trigger form",
            f"Each instance works on {count(typed, 'request')} at a time, because the trigger form said {typed}.",
        )
        return typed
    most = MAX_PAYLOAD_TIMES_CONCURRENCY // payload
    if stated is not None:
        lowered = (
            f", lowered from {stated} because {stated} × {payload} MB is above SageMaker's 100 MB"
            if stated > most
            else ""
        )
        chosen = min(stated, most)
        say.choose(
            field,
            "pipeline",
            f"Each instance works on {count(chosen, 'request')} at a time, because the pipeline says so{lowered}.",
        )
        return chosen
    chosen = sizing.concurrency(instance_type, payload, MAX_PAYLOAD_TIMES_CONCURRENCY)
    say.choose(
        field,
        "plan",
        f"Each instance works on {count(chosen, 'request')} at a time, one per vCPU of {instance_type} within 100 MB in flight.",
    )
    return chosen


def _strategy(pipeline: Pipeline, params: RunParams, say: Choices) -> Literal["MultiRecord", "SingleRecord"]:
    chosen = params.transform_batch_strategy or pipeline.transform.strategy
    typed = params.transform_batch_strategy is not None
    who = "the trigger form said so" if typed else "the pipeline says so"
    many = "as many records as fit" if chosen == "MultiRecord" else "one record"
    say.choose(
        "transform.batch_strategy",
        "trigger form" if typed else "pipeline",
        f"A request holds {many} ({chosen}), because {who}.",
    )
    return chosen


def _check_limits(pipeline: Pipeline, params: RunParams) -> None:
    problems = []
    for stage, limits in (("preprocess", pipeline.preprocess), ("transform", pipeline.transform)):
        asked = getattr(params, f"{stage}_instance_count")
        if asked is not None and asked > limits.max_instances:
            problems.append(
                f"{stage}_instance_count: found {asked}; allowed is at most {limits.max_instances}, "
                f"{stage}.max_instances of the pipeline {pipeline.name}"
            )
    payload = params.transform_max_payload_mb
    if payload is not None and pipeline.model.is_serial_pipeline and payload > PIPELINE_MAX_PAYLOAD_MB:
        problems.append(
            f"transform_max_payload_mb: found {payload}; allowed is at most {PIPELINE_MAX_PAYLOAD_MB}, because the model "
            f"has {len(pipeline.model.containers)} containers and requests between them are limited to 5 MB"
        )
    concurrent = params.transform_max_concurrent
    in_flight = (payload or pipeline.max_payload_mb) * (concurrent or 1)
    if in_flight > MAX_PAYLOAD_TIMES_CONCURRENCY:
        problems.append(
            f"transform_max_concurrent: found {concurrent} times {payload or pipeline.max_payload_mb} MB = {in_flight} MB; "
            f"SageMaker allows at most {MAX_PAYLOAD_TIMES_CONCURRENCY}; write "
            f"{MAX_PAYLOAD_TIMES_CONCURRENCY // (payload or pipeline.max_payload_mb)} or less, or lower the MB per request"
        )
    if problems:
        raise ParamsError(tuple(problems))
