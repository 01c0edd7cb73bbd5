"""The plan of one run: from a listing of the input to the size of each cluster, with one sentence for each
choice.

`make_plan` is a pure function; it spends nothing and asks nobody. What it returns is stored as plan.json and
is the only source of the later tasks' numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from include.scoring import sizing
from include.scoring.choices import Choices
from include.scoring.config import Pipeline
from include.scoring.cost import Prices, load_prices
from include.scoring.errors import EmptyInputError
from include.scoring.estimate import Estimate, estimate
from include.scoring.limits import check_limits
from include.scoring.messages import count, size
from include.scoring.naming import RunPaths
from include.scoring.params import RunParams
from include.scoring.request_shape import batch_strategy, concurrency, payload_mb
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
    """What the listing held, without empty objects.

    `text_bytes` is `bytes` with what is packed counted as unpacked; `digest` changes when any key, size or
    etag does.
    """

    uri: str
    objects: int
    bytes: int
    largest_bytes: int
    text_bytes: int
    digest: str


class ModelPlan(Noun):
    """Which model scores: an existing one by name, or one made for the run of so many containers."""

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
    """All numbers of one run. `model_dump(mode="json")` is plan.json, `for_xcom()` what tasks hand on."""

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
    objects: Iterable[S3Object],
    *,
    run_id: str,
    nonce: str,
    moment: datetime,
    input_uri: str,
    output_uri: str,
    prices: Prices | None = None,
) -> Plan:
    """Size the clusters of one run.

    `objects` is the listing of `input_uri`; both URIs have their placeholders filled. Raises EmptyInputError
    when there is nothing to score and the pipeline wants that to fail, ParamsError when a typed param is
    outside the limits.
    """
    check_limits(pipeline, params)
    found = _describe_input(input_uri, objects, pipeline.input.compression)
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
        input_bytes=found.text_bytes,
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


def _describe_input(uri: str, objects: Iterable[S3Object], compression: str) -> InputPlan:
    digest = hashlib.sha256()
    number = total = largest = text = 0
    for item in objects:
        if item.size <= 0:
            continue
        number += 1
        total += item.size
        largest = max(largest, item.size)
        packed = compression == "gzip" or (compression == "auto" and item.key.endswith(".gz"))
        text += item.size * (sizing.GZIP_GROWTH if packed else 1)
        digest.update(json.dumps([item.key, item.size, item.etag]).encode())
    return InputPlan(
        uri=uri,
        objects=number,
        bytes=total,
        largest_bytes=largest,
        text_bytes=text,
        digest=digest.hexdigest(),
    )


def _stages(
    pipeline: Pipeline, params: RunParams, found: InputPlan, say: Choices
) -> tuple[PreprocessPlan, TransformPlan]:
    limits = pipeline.transform
    asked = params.transform_instance_count
    shards = sizing.shard_sizes(found.text_bytes, asked or limits.max_instances, asked_for=asked is not None)
    kind, number = say.cluster(
        "preprocess",
        typed_type=params.preprocess_instance_type,
        type_=pipeline.preprocess.instance_type,
        typed=params.preprocess_instance_count,
        limit=pipeline.preprocess.max_instances,
        units=found.objects,
        unit="input object",
    )
    preprocess = PreprocessPlan(
        instance_type=kind,
        instance_count=number,
        volume_size_gb=pipeline.preprocess.volume_size_gb,
        max_runtime_seconds=pipeline.preprocess.max_runtime_minutes * MINUTE,
        shard_bytes=shards.bytes,
        shards=shards.count,
        distribution=pipeline.distribution,
    )
    if found.objects:
        say.choose("preprocess.shard_bytes", "plan", _about_shards(shards, found))
    kind, number = say.cluster(
        "transform",
        typed_type=params.transform_instance_type,
        type_=limits.instance_type,
        typed=asked,
        limit=limits.max_instances,
        units=shards.count,
        unit="shard",
    )
    quiet = say if found.objects else Choices()
    payload = payload_mb(pipeline, params, quiet)
    return preprocess, TransformPlan(
        instance_type=kind,
        instance_count=number,
        max_concurrent_transforms=concurrency(pipeline, params, kind, payload, quiet),
        max_payload_mb=payload,
        batch_strategy=batch_strategy(pipeline, params, quiet),
        max_runtime_seconds=limits.max_runtime_minutes * MINUTE,
        shards=shards.count,
    )


def _about_shards(shards: sizing.ShardSizes, found: InputPlan) -> str:
    packed = (
        "" if found.text_bytes == found.bytes else f", counting gzip as {sizing.GZIP_GROWTH} times its size"
    )
    return (
        f"Records are cut into about {count(shards.count, 'equal shard')} of {size(shards.bytes)}{packed}, because "
        f"an instance without a shard is billed all the same."
    )
