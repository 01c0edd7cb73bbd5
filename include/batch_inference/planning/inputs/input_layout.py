"""Chooses how the transform reads an input without preprocessing: unsplit or in pieces, by one job or several.

With one job SageMaker assigns objects to instances, by a rule that is not documented, and bills every instance until
the slowest ends. Jobs of one instance, each with its own list of objects, end and stop being billed independently. The
layout with the least expected cost is chosen; among those of about the same cost, the simplest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from batch_inference.common.errors import PlanError
from batch_inference.common.formatting import format_bytes, format_count
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.planning.clusters import sizing
from batch_inference.planning.clusters.cluster_choice import ClusterDecision, PlanningContext, choose_clusters
from batch_inference.planning.clusters.cluster_model import SizedStage, StageWorkload
from batch_inference.planning.inputs.input_listing import InputPlan
from batch_inference.planning.inputs.input_split import MIN_SPLIT_BYTES, compute_largest_list_bytes

# A layout within this factor of the cheapest counts as equally cheap, given the precision of estimates.
COST_TOLERANCE = 1.03
# Merging small objects means reading and writing them, so it is limited to what a task can do in minutes.
SMALL_OBJECT_BYTES = sizing.MIN_SHARD_BYTES
MAX_MERGED_OBJECTS = 200_000
MAX_MERGED_BYTES = 2_000_000_000
# Copies inside S3 that a task may ask for, and how long that takes with several at a time.
MAX_COPIES = 50_000
COPIES_PER_SECOND = 60.0
READS_PER_SECOND = 300.0
# An object this large is lost as a whole when it fails, and joined by one task: it is split where possible.
MAX_UNSPLIT_BYTES = 8 * sizing.MAX_SHARD_BYTES
# Of three plausible assignments of equal pieces (contiguous, in turn, by hash), only the hash is uneven.
EQUAL_PIECES_SKEW_WEIGHT = 1 / 3

LayoutMode = Literal["unsplit", "pieces"]


class LayoutPlan(FrozenModel):
    """How the transform reads the input.

    `jobs` transform jobs share `objects` objects (an estimate where they are pieces); with more than one job each has
    one instance. Objects below `merge_below_bytes` are merged, larger ones split, to pieces of `piece_bytes`.
    """

    mode: LayoutMode
    jobs: int
    objects: int
    piece_bytes: int = 0
    merge_below_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutCandidate:
    """A possible layout, and the cluster chosen for it. With `has_lists` each instance is a job with its own list."""

    mode: LayoutMode
    has_lists: bool
    decision: ClusterDecision

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
    context: PlanningContext,
) -> LayoutDecision:
    """Choose the layout for objects of these sizes in bytes.

    Raises PlanError when no layout meets the goals.
    """
    small_objects = _find_small_objects(input_plan, sizes)
    candidates: list[LayoutCandidate] = []
    last_error = PlanError("there is no object to transform")
    for mode, has_lists, workload in _build_workloads(pipeline, input_plan, sizes, small_objects):
        try:
            decision = choose_clusters(pipeline, params, [workload], context)
        except PlanError as error:
            last_error = error
            continue
        candidates.append(LayoutCandidate(mode=mode, has_lists=has_lists, decision=decision))
    if not candidates:
        raise last_error
    chosen = _choose_candidate(candidates)
    layout = _build_layout(
        chosen, input_plan, params, merge_below_bytes=SMALL_OBJECT_BYTES if small_objects.objects else 0
    )
    sentences = (
        *_describe_pieces(layout, input_plan, small_objects.objects),
        *_describe_jobs(chosen, candidates, pipeline),
    )
    return LayoutDecision(decision=chosen.decision, layout=layout, sentences=sentences)


class _SmallObjects(NamedTuple):
    """Objects that can be merged."""

    objects: int
    bytes: int


def _find_small_objects(input_plan: InputPlan, sizes: Sequence[int]) -> _SmallObjects:
    """The small objects, if there are several and one task can read them all; else none."""
    number = sum(each < SMALL_OBJECT_BYTES for each in sizes)
    total = sum(each for each in sizes if each < SMALL_OBJECT_BYTES)
    is_mergeable = not input_plan.compressed_objects and 2 <= number <= MAX_MERGED_OBJECTS
    return _SmallObjects(number, total) if is_mergeable and total <= MAX_MERGED_BYTES else _SmallObjects(0, 0)


def _build_workloads(
    pipeline: Pipeline, input_plan: InputPlan, sizes: Sequence[int], small_objects: _SmallObjects
) -> Iterator[tuple[LayoutMode, bool, StageWorkload]]:
    """Each possible mode, whether jobs have their own lists, and the transform's workload; simplest first."""
    is_compressed = bool(input_plan.compressed_objects)
    pieces = _estimate_pieces(input_plan, sizes, small_objects)
    # Where it can be split, an object above this size never stays whole, whatever the cost.
    can_stay_unsplit = is_compressed or input_plan.largest_bytes <= MAX_UNSPLIT_BYTES or pieces is None
    jobs = pipeline.transform.max_jobs
    unsplit = StageWorkload(
        name="transform",
        bytes=input_plan.text_bytes,
        max_parallelism=input_plan.objects,
        object_count=input_plan.objects,
    )
    if can_stay_unsplit:
        has_equal_objects = (
            input_plan.sum_squared_bytes * input_plan.objects <= 1.01 * float(input_plan.text_bytes) ** 2
        )
        yield "unsplit", False, replace(
            unsplit,
            largest_object_bytes=input_plan.largest_text_bytes,
            sum_squared_bytes=input_plan.sum_squared_bytes,
            skew_weight=EQUAL_PIECES_SKEW_WEIGHT if has_equal_objects else 1.0,
        )  # fmt: skip
    if pieces is not None:
        split = replace(
            unsplit,
            max_parallelism=pieces.max_count,
            object_count=0,
            preparation_seconds=pieces.preparation_seconds,
        )
        yield "pieces", False, replace(split, has_equal_shards=True, skew_weight=EQUAL_PIECES_SKEW_WEIGHT)
    if can_stay_unsplit and jobs > 1:
        compression_ratio = sizing.ASSUMED_COMPRESSION_RATIO if is_compressed else 1
        lists = tuple(compression_ratio * each for each in compute_largest_list_bytes(sizes, jobs))
        yield "unsplit", True, replace(unsplit, max_parallelism=len(lists), largest_list_bytes=lists)
    if pieces is not None and jobs > 1:
        counts = range(1, min(jobs, pieces.max_count) + 1)
        lists = tuple(-(-input_plan.text_bytes // count) for count in counts)
        yield "pieces", True, replace(split, max_parallelism=len(lists), largest_list_bytes=lists)


@dataclass(frozen=True, slots=True)
class _PieceEstimate:
    """The most pieces that the input gives, and the seconds that it takes to write them."""

    max_count: int
    preparation_seconds: float


def _estimate_pieces(
    input_plan: InputPlan, sizes: Sequence[int], small_objects: _SmallObjects
) -> _PieceEstimate | None:
    """None where nothing can be split or merged, or where that would take a task too long."""
    if input_plan.compressed_objects:
        return None
    splittable_sizes = [each for each in sizes if each > MIN_SPLIT_BYTES]
    unsplit_count = len(sizes) - len(splittable_sizes) - small_objects.objects
    copy_count = sum(max(1, each // sizing.MAX_SHARD_BYTES) for each in splittable_sizes) + unsplit_count
    if not (splittable_sizes or small_objects.objects) or copy_count > MAX_COPIES:
        return None
    return _PieceEstimate(
        max_count=sum(map(sizing.compute_max_shards, splittable_sizes))
        + unsplit_count
        + (sizing.compute_max_shards(small_objects.bytes) if small_objects.objects else 0),
        preparation_seconds=copy_count / COPIES_PER_SECOND + small_objects.objects / READS_PER_SECOND,
    )


def _choose_candidate(candidates: Sequence[LayoutCandidate]) -> LayoutCandidate:
    def rank(each: LayoutCandidate) -> tuple[float, ...]:
        goals, choice = each.decision.goals, each.decision.cluster_plan
        late = goals.seconds_to_deadline is not None and choice.seconds_high > goals.seconds_to_deadline
        fixed = each.stage.workload.requested_instance_count or 0
        return (
            max(0, fixed - each.stage.instance_count),
            each.decision.approval_reason is not None,
            late,
            choice.seconds if goals.prefer == "speed" else each.cost,
        )

    *flags, least = min(rank(each) for each in candidates)
    return next(
        each
        for each in candidates
        if rank(each)[:-1] == tuple(flags) and rank(each)[-1] <= least * COST_TOLERANCE + 1e-9
    )


def _build_layout(
    chosen: LayoutCandidate, input_plan: InputPlan, params: RunParams, *, merge_below_bytes: int
) -> LayoutPlan:
    jobs = chosen.stage.instance_count if chosen.has_lists else 1
    if chosen.mode == "unsplit":
        return LayoutPlan(mode="unsplit", jobs=jobs, objects=input_plan.objects)
    per_instance = sizing.SHARDS_PER_INSTANCE
    if not chosen.has_lists:
        working_seconds = chosen.stage.seconds - chosen.stage.option.rate.start_seconds
        per_instance = sizing.choose_shards_per_instance(working_seconds)
    shards = sizing.compute_shard_sizes(
        input_plan.text_bytes,
        chosen.stage.instance_count,
        is_count_requested=params.transform_instance_count is not None,
        per_instance=per_instance,
    )
    return LayoutPlan(
        mode="pieces",
        jobs=jobs,
        piece_bytes=shards.bytes,
        merge_below_bytes=merge_below_bytes,
        objects=shards.count,
    )


def _describe_pieces(layout: LayoutPlan, input_plan: InputPlan, small_count: int) -> Iterator[str]:
    if layout.mode == "unsplit":
        yield "The objects are transformed unsplit, each by one instance."
        return
    if input_plan.largest_bytes > MIN_SPLIT_BYTES:
        yield (
            f"Objects are split at line ends, inside S3, into about {format_count(layout.objects, 'piece')} of "
            f"{format_bytes(layout.piece_bytes)}, because SageMaker gives an object to one instance as a whole."
        )
    if small_count:
        yield (
            f"{format_count(small_count, 'object')} below {format_bytes(layout.merge_below_bytes)} are merged, because "
            "each would cost round trips of its own."
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
            f", where one job of {other.instance_count} is expected to be billed {other.billed_seconds:,.0f}"
        )  # fmt: skip
        yield (
            f"{chosen_stage.instance_count} jobs of one instance work through balanced lists, because each stops being "
            f"billed when its own list is done: about {chosen_stage.billed_seconds:,.0f} instance-seconds{comparison}."
        )
    elif pipeline.transform.max_jobs < 2:
        yield "One job takes all objects, because transform.max_jobs is 1."
    elif other is not None:
        yield (
            f"One job takes all objects: about {chosen_stage.billed_seconds:,.0f} instance-seconds, and "
            f"{other.instance_count} jobs of one instance, with lists of their own, would be billed "
            f"{other.billed_seconds:,.0f}."
        )
