"""Chooses how the transform reads an input without preprocessing: unsplit or in pieces, by one job or several.

With one job SageMaker assigns objects to instances, by a rule that is not documented, and bills every instance until
the slowest ends. Jobs of one instance, each with its own list of objects, end and stop being billed independently. The
layout with the least expected cost is chosen; among those of about the same cost, the simplest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal, NamedTuple

from batch_inference.common.errors import PlanError
from batch_inference.common.formatting import format_bytes, format_count, format_duration
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.planning.clusters import sizing
from batch_inference.planning.clusters.cluster_choice import ClusterDecision, PlanningContext, choose_clusters
from batch_inference.planning.clusters.cluster_model import SizedStage, StageWorkload
from batch_inference.planning.clusters.instance_quotas import list_instance_types
from batch_inference.planning.clusters.rate_model import Rate, compute_rate
from batch_inference.planning.clusters.work_division import (
    BalancedLists,
    EqualShards,
    EvenLists,
    SizeProfile,
    WholeObjects,
)
from batch_inference.planning.inputs.input_listing import InputPlan
from batch_inference.planning.inputs.input_split import MIN_SPLIT_BYTES
from batch_inference.planning.transform_settings import get_max_payload_mb

# A layout within this factor of the cheapest counts as equally cheap, given the precision of estimates.
COST_TOLERANCE = 1.015
# Merging small objects means reading and writing them, so it is limited to what a task can do in half an hour.
MAX_MERGED_OBJECTS = 500_000
MAX_MERGED_BYTES = 10_000_000_000
# Copies inside S3 that a task may ask for, and how long that takes with several at a time.
MAX_COPIES = 50_000
COPIES_PER_SECOND = 60.0
READS_PER_SECOND = 300.0
# An object this large is lost as a whole when it fails, and joined by one task: it is split where possible.
MAX_UNSPLIT_BYTES = 8 * sizing.MAX_SHARD_BYTES
# Of four plausible assignments of equal pieces (blocks by count and by bytes, in turn, by hash) the hash is uneven.
EQUAL_PIECES_HASH_WEIGHT = 1 / 4

LayoutMode = Literal["unsplit", "pieces"]


class LayoutPlan(FrozenModel):
    """How the transform reads the input.

    `jobs` transform jobs share `objects` objects (an estimate where they are pieces); with more than one job each has
    one instance. Objects below `merge_below_bytes` are merged, at most `merged_objects` of them, and larger ones split,
    to pieces of `piece_bytes`. Lists are balanced as if a request were `request_bytes` more of text.
    """

    mode: LayoutMode
    jobs: int
    objects: int
    piece_bytes: int = 0
    merge_below_bytes: int = 0
    merged_objects: int = 0
    request_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutCandidate:
    """A possible layout, and the cluster chosen for it."""

    mode: LayoutMode
    decision: ClusterDecision

    @property
    def has_lists(self) -> bool:
        """Whether each instance is a job with its own list."""
        return self.stage.workload.has_lists

    @property
    def stage(self) -> SizedStage:
        """The transform."""
        return self.decision.cluster_plan.get_stage("transform")

    @property
    def cost(self) -> float:
        """Dollars, or instance-seconds where the price is unknown."""
        dollars = self.decision.cluster_plan.dollars
        return self.decision.cluster_plan.billed_seconds if dollars is None else dollars


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutDecision:
    """The chosen layout and cluster, and the sentences that explain them."""

    decision: ClusterDecision
    layout: LayoutPlan
    sentences: tuple[str, ...]


def choose_layout(
    pipeline: Pipeline,
    params: RunParams,
    input_plan: InputPlan,
    sizes: Sequence[int],
    profile: SizeProfile,
    context: PlanningContext,
) -> LayoutDecision:
    """Choose the layout for objects of these sizes in bytes; `profile` has them as text.

    Raises PlanError when no layout meets the goals.
    """
    max_payload_mb = get_max_payload_mb(pipeline, params, is_inference_pipeline=context.model.containers > 1)
    small_objects = _find_small_objects(
        input_plan, sizes, _compute_merge_limit(pipeline, params, context, max_payload_mb)
    )
    candidates: list[LayoutCandidate] = []
    last_error = PlanError("there is no object to transform")
    for mode, workload in _build_workloads(
        pipeline, input_plan, sizes, profile, small_objects, max_payload_mb
    ):
        try:
            decision = choose_clusters(pipeline, params, [workload], context)
        except PlanError as error:
            last_error = error
            continue
        candidates.append(LayoutCandidate(mode=mode, decision=decision))
    if not candidates:
        raise last_error
    chosen = _choose_candidate(candidates)
    layout = _build_layout(chosen, input_plan, params, small_objects, max_payload_mb)
    sentences = (
        *_describe_pieces(layout, input_plan, chosen.stage.option.rate),
        *_describe_jobs(chosen, candidates, pipeline),
    )
    return LayoutDecision(decision=chosen.decision, layout=layout, sentences=sentences)


def _compute_merge_limit(
    pipeline: Pipeline, params: RunParams, context: PlanningContext, max_payload_mb: int
) -> int:
    """The size in bytes below which objects are merged, as a request of their own costs more than it is worth.

    A request holds no more than the payload, and S3 splits and joins larger objects without reading them.
    """
    rates = (
        compute_rate(context.history, stage="transform", instance_type=name, model_key=context.model.key)
        for name in list_instance_types(pipeline, params, "transform")
    )
    worth = max(rate.seconds_per_request / rate.seconds_per_byte for rate in rates) / sizing.MAX_REQUEST_SHARE
    return round(min(worth, max_payload_mb * sizing.BYTES_PER_PAYLOAD_MB, MIN_SPLIT_BYTES))


class _SmallObjects(NamedTuple):
    """Objects that are merged: their number and bytes, and the size that is too large."""

    objects: int = 0
    bytes: int = 0
    below_bytes: int = 0


def _find_small_objects(input_plan: InputPlan, sizes: Sequence[int], limit_bytes: int) -> _SmallObjects:
    """The objects below the limit, the smallest first, as many as one task can read; none where that is not two.

    What is not merged is copied, so nothing is merged where that would be too many.
    """
    if input_plan.compressed_objects:
        return _SmallObjects()
    number = sum(each < limit_bytes for each in sizes)
    if number < 2 or number > MAX_MERGED_OBJECTS + MAX_COPIES:
        return _SmallObjects()
    smallest = sorted(each for each in sizes if each < limit_bytes)[:MAX_MERGED_OBJECTS]
    sums = list(accumulate(smallest))
    count = bisect_right(sums, MAX_MERGED_BYTES)
    return _SmallObjects(count, sums[count - 1], smallest[count - 1] + 1) if count > 1 else _SmallObjects()


def _build_workloads(
    pipeline: Pipeline,
    input_plan: InputPlan,
    sizes: Sequence[int],
    profile: SizeProfile,
    small_objects: _SmallObjects,
    max_payload_mb: int,
) -> Iterator[tuple[LayoutMode, StageWorkload]]:
    """Each possible mode, and the transform's workload; simplest first."""
    is_compressed = bool(input_plan.compressed_objects)
    pieces = _estimate_pieces(input_plan, sizes, small_objects)
    # Where it can be split, an object above this size never stays whole, whatever the cost.
    can_stay_unsplit = is_compressed or input_plan.largest_bytes <= MAX_UNSPLIT_BYTES or pieces is None
    jobs, text_bytes = pipeline.transform.max_jobs, input_plan.text_bytes
    whole = WholeObjects(profile=profile, can_be_hashed=True, max_payload_mb=max_payload_mb)
    if can_stay_unsplit:
        yield "unsplit", StageWorkload(name="transform", work=whole)
    if pieces is not None:
        shards = EqualShards(
            bytes=text_bytes,
            max_parallelism=pieces.max_count,
            object_sizes=pieces.object_sizes,
            max_payload_mb=max_payload_mb,
            hash_weight=EQUAL_PIECES_HASH_WEIGHT,
        )
        split = StageWorkload(name="transform", work=shards, preparation_seconds=pieces.preparation_seconds)
        yield "pieces", split
    if jobs < 2:
        return
    if can_stay_unsplit:
        listed = BalancedLists(profile=profile, max_lists=jobs, max_payload_mb=max_payload_mb)
        yield "unsplit", StageWorkload(name="transform", work=listed, has_lists=True)
    if pieces is not None:
        even = EvenLists(
            bytes=text_bytes,
            requests=sizing.count_requests(len(pieces.object_sizes), text_bytes, max_payload_mb),
            max_parallelism=min(jobs, pieces.max_count),
        )
        yield "pieces", replace(split, work=even, has_lists=True)


@dataclass(frozen=True, slots=True)
class _PieceEstimate:
    """The most pieces that the input gives, sizes of what is not merged, ascending, and the seconds to write all."""

    max_count: int
    object_sizes: Sequence[int]
    preparation_seconds: float


def _estimate_pieces(
    input_plan: InputPlan, sizes: Sequence[int], small_objects: _SmallObjects
) -> _PieceEstimate | None:
    """None where nothing can be split or merged, or where that would take a task too long."""
    if input_plan.compressed_objects or len(sizes) - small_objects.objects > MAX_COPIES:
        return None
    if not small_objects.objects and input_plan.largest_bytes <= MIN_SPLIT_BYTES:
        return None
    object_sizes = sorted(sizes)[small_objects.objects :]
    copy_count = sum(max(1, each // sizing.MAX_SHARD_BYTES) for each in object_sizes)
    if copy_count > MAX_COPIES:
        return None
    splittable = (sizing.compute_max_shards(each) if each > MIN_SPLIT_BYTES else 1 for each in object_sizes)
    return _PieceEstimate(
        max_count=sum(splittable)
        + (sizing.compute_max_shards(small_objects.bytes) if small_objects.objects else 0),
        object_sizes=object_sizes,
        preparation_seconds=copy_count / COPIES_PER_SECOND + small_objects.objects / READS_PER_SECOND,
    )


def _choose_candidate(candidates: Sequence[LayoutCandidate]) -> LayoutCandidate:
    def rank(each: LayoutCandidate) -> tuple[float, ...]:
        goals, choice = each.decision.goals, each.decision.cluster_plan
        # As `choose_best` weighs what is not safe, or was not measured.
        late = choice.is_measured and not goals.is_safe(choice)
        fixed = each.stage.workload.requested_instance_count or 0
        return (
            max(0, fixed - each.stage.instance_count),
            each.decision.approval_reason is not None,
            late,
            choice.seconds if goals.prefer == "speed" else each.cost * goals.weigh_lateness(choice),
        )

    *flags, least = min(rank(each) for each in candidates)
    return next(
        each
        for each in candidates
        if rank(each)[:-1] == tuple(flags) and rank(each)[-1] <= least * COST_TOLERANCE + 1e-9
    )


def _build_layout(
    chosen: LayoutCandidate,
    input_plan: InputPlan,
    params: RunParams,
    small_objects: _SmallObjects,
    max_payload_mb: int,
) -> LayoutPlan:
    jobs, rate = chosen.stage.instance_count if chosen.has_lists else 1, chosen.stage.option.rate
    request_bytes = round(rate.seconds_per_request / rate.seconds_per_byte)
    if chosen.mode == "unsplit":
        return LayoutPlan(mode="unsplit", jobs=jobs, objects=input_plan.objects, request_bytes=request_bytes)
    per_instance = sizing.SHARDS_PER_INSTANCE
    if not chosen.has_lists:
        per_instance = sizing.choose_shards_per_instance(
            chosen.stage.working_seconds, chosen.stage.instance_count, rate.seconds_per_request
        )
    shards = sizing.compute_shard_sizes(
        input_plan.text_bytes,
        chosen.stage.instance_count,
        is_count_requested=params.transform_instance_count is not None,
        per_instance=per_instance,
        payload_bytes=sizing.choose_payload_bytes(
            max_payload_mb, rate.seconds_per_byte, rate.seconds_per_request
        ),
    )
    return LayoutPlan(
        mode="pieces",
        jobs=jobs,
        piece_bytes=shards.bytes,
        merge_below_bytes=small_objects.below_bytes,
        merged_objects=small_objects.objects,
        objects=shards.count,
        request_bytes=request_bytes,
    )


def _describe_pieces(layout: LayoutPlan, input_plan: InputPlan, rate: Rate) -> Iterator[str]:
    if layout.mode == "unsplit":
        yield "The objects are transformed unsplit, each by one instance."
        return
    if input_plan.largest_bytes > MIN_SPLIT_BYTES:
        yield (
            f"Objects are split at line ends, inside S3, into about {format_count(layout.objects, 'piece')} of "
            f"{format_bytes(layout.piece_bytes)}, because SageMaker gives an object to one instance as a whole."
        )
    if layout.merged_objects:
        basis = "is measured to take" if rate.runs else "is assumed to take"
        yield (
            f"{format_count(layout.merged_objects, 'object')} below {format_bytes(layout.merge_below_bytes)} are "
            f"merged, because each would be a request of its own, which {basis} {rate.seconds_per_request:.2g} s."
        )


def _describe_jobs(
    chosen: LayoutCandidate, candidates: Sequence[LayoutCandidate], pipeline: Pipeline
) -> Iterator[str]:
    chosen_stage = chosen.stage
    if chosen_stage.instance_count < 2:
        return
    others = [
        each.stage
        for each in candidates
        if each.has_lists != chosen.has_lists and each.stage.instance_count > 1
    ]
    other = min(others, key=lambda stage: stage.billed_seconds, default=None)
    if chosen.has_lists:
        comparison = "" if other is None else (
            f", where one job of {other.instance_count} is expected to be billed "
            f"{format_duration(other.billed_seconds)}"
        )  # fmt: skip
        yield (
            f"{chosen_stage.instance_count} jobs of one instance work through balanced lists, because each stops being "
            "billed when its own list is done: about "
            f"{format_duration(chosen_stage.billed_seconds)} in all{comparison}."
        )
    elif pipeline.transform.max_jobs < 2:
        yield "One job takes all objects, because transform.max_jobs is 1."
    elif other is not None:
        yield (
            f"One job takes all objects and is billed about {format_duration(chosen_stage.billed_seconds)}; "
            f"{other.instance_count} jobs of one instance, with lists of their own, would be billed "
            f"{format_duration(other.billed_seconds)} in all."
        )
