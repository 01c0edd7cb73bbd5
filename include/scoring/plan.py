"""The plan of one run: from a listing of the input to the size of each cluster, with one sentence for each
choice.

`make_plan` is a pure function; it spends nothing and asks nobody. What it returns is stored as plan.json and
is the only source of the later tasks' numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from pydantic import Field

from include.scoring import sizing
from include.scoring.choices import Choices
from include.scoring.config import Pipeline
from include.scoring.cost import Prices, load_prices
from include.scoring.decision import Decision, Knowledge, Work, clock, decide
from include.scoring.errors import EmptyInputError
from include.scoring.estimate import Estimate, estimate, nothing
from include.scoring.history import HistoryRow, Stage
from include.scoring.limits import check_limits
from include.scoring.messages import count, money, size
from include.scoring.naming import RunPaths
from include.scoring.params import RunParams
from include.scoring.request_shape import batch_strategy, concurrency, payload_mb
from include.scoring.rules import Noun

MINUTE = 60
MEGABYTE = 1_000_000
# Hashing a thousand lines at once is five times as fast as one by one.
LINES_AT_A_TIME = 1000


class S3Object(NamedTuple):
    """One object of a listing; `size` in bytes. A tuple, since listings hold millions of them."""

    key: str
    size: int
    etag: str = ""


class InputPlan(Noun):
    """What the listing held, without empty objects.

    `text_bytes` is `bytes` with what is packed counted as unpacked, `squares` the sum of squared sizes of text;
    `digest` changes when any key, size or etag does.
    """

    uri: str
    objects: int
    bytes: int
    largest_bytes: int
    text_bytes: int
    largest_text_bytes: int
    squares: float
    packed_objects: int
    digest: str


class ModelPlan(Noun):
    """Which model scores: an existing one by name, or one made for the run of so many containers."""

    name: str | None
    containers: int
    key: str


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


class NaivePlan(Noun):
    """What an unsized run would do, for comparison: the most instances allowed, objects handed out in turn."""

    instance_count: int
    fullest_bytes: int


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
    naive: NaivePlan
    prices: dict[str, float] = Field(default_factory=dict)
    deadline: datetime | None = None
    budget: float | None = None
    approval: str | None = None
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
    history: Iterable[HistoryRow] = (),
    quotas: Mapping[str, int] | None = None,
    now: datetime | None = None,
) -> Plan:
    """Size the clusters of one run.

    `objects` is the listing of `input_uri`, read once and not kept; both URIs have their placeholders filled. `history`
    holds rows of earlier runs of this pipeline, `quotas` the account's by AWS's names, `now` the time from which a
    deadline counts (default: `moment`).

    Raises EmptyInputError when there is nothing to score and the pipeline wants that to fail, ParamsError when a typed
    param is outside the limits, PlanError when no cluster meets the goals.
    """
    check_limits(pipeline, params)
    found, naive = _describe_input(
        input_uri, objects, pipeline.input.compression, pipeline.transform.max_instances
    )
    model = ModelPlan(
        name=pipeline.model.name, containers=len(pipeline.model.containers), key=model_key(pipeline)
    )
    say = Choices()
    decision: Decision | None = None
    if found.objects == 0:
        if pipeline.on_empty == "fail":
            raise EmptyInputError(
                f"the input is empty: {input_uri} holds no object with content, and on_empty is 'fail'; "
                f"upload the data, correct the URI, or set on_empty: skip"
            )
        say.note(f"Nothing to score: {input_uri} holds no object with content, and on_empty is 'skip'.")
    else:
        known = Knowledge(
            prices=(prices or load_prices()).overridden(pipeline.prices),
            history=tuple(history),
            quotas=quotas or {},
            model=model.key,
            now=(now or moment).astimezone(UTC),
        )
        decision = decide(pipeline, params, _works(params, found), known)
        _introduce(found, decision, known.now, say)
    preprocess, transform = _stages(pipeline, params, found, decision, say)
    estimated = nothing() if decision is None else estimate(decision.choice)
    if decision is not None:
        say.note(estimated.sentence())
        say.note(f"That rests on these rates: {estimated.basis}.")
    return Plan(
        pipeline=pipeline.name,
        run_id=run_id,
        nonce=nonce,
        moment=moment.astimezone(UTC),
        run_prefix=RunPaths.of(work=pipeline.work, pipeline=pipeline.name, run_id=run_id).run_prefix,
        input=found,
        output_uri=output_uri,
        empty=decision is None,
        dry_run=params.dry_run,
        model=model,
        preprocess=preprocess,
        transform=transform,
        join=JoinPlan(group_bytes=pipeline.join.group_mb * MEGABYTE),
        naive=naive,
        prices=dict(pipeline.prices),
        deadline=None if decision is None else decision.deadline,
        budget=None if decision is None else decision.goals.budget,
        approval=None if decision is None else decision.approval,
        estimate=estimated,
        sentences=tuple(say.sentences),
        chosen_by=dict(say.chosen_by),
    )


def model_key(pipeline: Pipeline) -> str:
    """What tells one model from another in history: a name, or the images and artefacts of the containers."""
    if pipeline.model.name is not None:
        return pipeline.model.name
    parts = [f"{container.image} {container.model_data}" for container in pipeline.model.containers]
    return f"containers-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:12]}"


def _describe_input(
    uri: str, objects: Iterable[S3Object], compression: str, instances: int
) -> tuple[InputPlan, NaivePlan]:
    digest = hashlib.sha256()
    number = total = largest = text = largest_text = packed_objects = 0
    squares = 0.0
    in_turn = [0] * instances
    lines: list[str] = []
    for key, size_, etag in objects:
        if size_ <= 0:
            continue
        packed = compression == "gzip" or (compression == "auto" and key.endswith(".gz"))
        unpacked = size_ * sizing.GZIP_GROWTH if packed else size_
        packed_objects += packed
        total += size_
        text += unpacked
        largest = max(largest, size_)
        largest_text = max(largest_text, unpacked)
        squares += float(unpacked) * unpacked
        in_turn[number % instances] += unpacked
        number += 1
        # Keys hold no line break that S3 would not escape, and sizes no text, so this is unambiguous.
        lines.append(f"{size_} {etag} {key!r}\n")
        if len(lines) == LINES_AT_A_TIME:
            digest.update("".join(lines).encode())
            lines.clear()
    digest.update("".join(lines).encode())
    described = InputPlan(
        uri=uri,
        objects=number,
        bytes=total,
        largest_bytes=largest,
        text_bytes=text,
        largest_text_bytes=largest_text,
        squares=squares,
        packed_objects=packed_objects,
        digest=digest.hexdigest(),
    )
    return described, NaivePlan(instance_count=instances, fullest_bytes=max(in_turn))


def _works(params: RunParams, found: InputPlan) -> dict[Stage, Work]:
    asked = params.transform_instance_count is not None
    return {
        # An object is read by one instance; what preprocessing writes is cut as needed.
        "preprocess": Work(
            bytes=found.text_bytes,
            units=found.objects,
            largest=found.largest_text_bytes,
            squares=found.squares,
        ),
        "transform": Work(
            bytes=found.text_bytes, units=sizing.most_shards(found.text_bytes, asked_for=asked), hashed=True
        ),
    }


def _introduce(found: InputPlan, decision: Decision, now: datetime, say: Choices) -> None:
    say.note(
        f"Input is {count(found.objects, 'object')} of {size(found.bytes)} in all, "
        f"the largest {size(found.largest_bytes)}."
    )
    if found.packed_objects:
        say.note(
            f"{count(found.packed_objects, 'object')} packed by gzip cannot be divided, so one instance reads each; "
            f"the text is taken to be {sizing.GZIP_GROWTH} times as large."
        )
    if decision.deadline is not None:
        say.note(f"The deadline is {clock(decision.deadline, now)}.")
    if decision.approval is not None:
        say.note(f"A person must approve this run: {decision.approval}.")
    elif decision.goals.budget is not None:
        say.note(f"The budget is {money(decision.goals.budget)}.")


def _stages(
    pipeline: Pipeline, params: RunParams, found: InputPlan, decision: Decision | None, say: Choices
) -> tuple[PreprocessPlan, TransformPlan]:
    limits = pipeline.transform
    kinds = [pipeline.preprocess.instance_type, limits.instance_type]
    counts, shards = [0, 0], sizing.shard_sizes(0, 1)
    if decision is not None:
        chosen = decision.choice.stages
        kinds, counts = [each.option.instance_type for each in chosen], [each.count for each in chosen]
        working = chosen[1].seconds - chosen[1].option.rate.start_seconds
        shards = sizing.shard_sizes(
            found.text_bytes,
            counts[1],
            asked_for=params.transform_instance_count is not None,
            per_instance=sizing.shards_per_instance(working),
        )
        reason = _reason(decision)
        say.cluster(
            decision.works[0],
            chosen[0],
            unit="input object",
            typed_type=params.preprocess_instance_type is not None,
            reason=reason,
        )
        say.choose("preprocess.shard_bytes", "plan", _about_shards(shards))
        say.cluster(
            decision.works[1],
            chosen[1],
            unit="shard",
            typed_type=params.transform_instance_type is not None,
            reason=reason,
        )
    quiet = say if decision is not None else Choices()
    payload = payload_mb(pipeline, params, quiet)
    preprocess = PreprocessPlan(
        instance_type=kinds[0],
        instance_count=counts[0],
        volume_size_gb=pipeline.preprocess.volume_size_gb,
        max_runtime_seconds=pipeline.preprocess.max_runtime_minutes * MINUTE,
        shard_bytes=shards.bytes,
        shards=shards.count,
        distribution=pipeline.distribution,
    )
    return preprocess, TransformPlan(
        instance_type=kinds[1],
        instance_count=counts[1],
        max_concurrent_transforms=concurrency(pipeline, params, kinds[1], payload, quiet),
        max_payload_mb=payload,
        batch_strategy=batch_strategy(pipeline, params, quiet),
        max_runtime_seconds=limits.max_runtime_minutes * MINUTE,
        shards=shards.count,
    )


def _reason(decision: Decision) -> str:
    """Why the chosen clusters are these, for a stage whose number nobody typed."""
    goals = decision.goals
    within = "" if goals.budget is None or decision.approval else " and the budget"
    if decision.deadline is None:
        if goals.prefer == "speed":
            return f"speed is preferred and the limits{within} allow no faster"
        return "cost is preferred, there is no deadline, and more instances never cost less"
    end = f"{decision.deadline:%H:%M} UTC"
    if goals.seconds is not None and decision.choice.slowest > goals.seconds:
        return f"{end} is met only if the rates hold, and nothing within the limits is safer"
    if goals.prefer == "speed":
        return f"speed is preferred, {end} is met and the limits{within} allow no faster"
    return f"that is the cheapest that is done by {end}, also at the slow end of the rates"


def _about_shards(shards: sizing.ShardSizes) -> str:
    return (
        f"Records are cut into about {count(shards.count, 'equal shard')} of {size(shards.bytes)}, because an "
        f"instance without a shard is billed all the same."
    )
