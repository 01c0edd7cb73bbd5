"""Chooses how an input is handed to the transform without preprocessing: as it lies or in pieces, to how many jobs.

One job leaves it to SageMaker which instance gets which object, by a rule that is not documented, and bills every
instance until the slowest ends. Jobs of one instance with a list each end, and stop being billed, on their own. What is
expected to cost least is taken; of what costs about the same, the simplest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from include.scoring import sizing
from include.scoring.cluster import Sized
from include.scoring.config import Pipeline
from include.scoring.decision import Decision, Knowledge, Work, decide
from include.scoring.errors import PlanError
from include.scoring.layout import SMALLEST_CUT, fullest_lists
from include.scoring.listing import InputPlan
from include.scoring.messages import count, size
from include.scoring.params import RunParams
from include.scoring.rules import Noun

# Whoever is within so much of the cheapest costs the same, by what such estimates are worth; then the simplest wins.
SAME_COST = 1.03
# Objects are put together by reading and writing them, so that is only done for what a task moves in minutes.
SMALL_OBJECT = sizing.SMALLEST_SHARD
MOST_MERGED = 200_000
MOST_MERGED_BYTES = 2_000_000_000
# Copies inside S3 that a task may ask for, and how long that takes with several at a time.
MOST_COPIES = 50_000
COPIES_PER_SECOND = 60.0
READS_PER_SECOND = 300.0
# An object this large is one loss when it fails, and one task to join: it is cut where that can be done.
LARGEST_UNCUT = 8 * sizing.LARGEST_SHARD
# Contiguous runs and turns give equal pieces evenly to instances, and a hash does not: one of three ways.
DOUBT_ABOUT_EQUAL_PIECES = 1 / 3

Way = Literal["as it lies", "pieces"]


class LayoutPlan(Noun):
    """How the input is handed over.

    `jobs` transform jobs share `objects` objects (about so many, where they are pieces); with more than one job each
    has one instance. Objects below `merge_below` bytes are put together, larger ones cut, to pieces of `piece_bytes`.
    """

    way: Way
    jobs: int
    piece_bytes: int
    merge_below: int
    objects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to hand the input over, and the cluster that it would take."""

    way: Way
    lists: bool
    decision: Decision

    @property
    def stage(self) -> Sized:
        """The transform."""
        return self.decision.choice.stages[-1]

    @property
    def cost(self) -> float:
        """Dollars, or instance-seconds where the price is unknown."""
        dollars = self.decision.choice.dollars
        return self.decision.choice.billed_seconds if dollars is None else dollars


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """What was chosen, the layout that follows from it, and why, in sentences."""

    decision: Decision
    layout: LayoutPlan
    sentences: tuple[str, ...]


def hand_over(
    pipeline: Pipeline,
    params: RunParams,
    found: InputPlan,
    sizes: Sequence[int],
    known: Knowledge,
) -> HandedOver:
    """Weigh the ways for objects of these sizes in bytes.

    Raises PlanError when none meets the goals.
    """
    small = _small(found, sizes)
    candidates: list[Candidate] = []
    failed = PlanError("there is no object to hand over")
    for way, lists, work in _works(pipeline, found, sizes, small):
        try:
            decision = decide(pipeline, params, {"transform": work}, known)
        except PlanError as error:
            failed = error
            continue
        candidates.append(Candidate(way=way, lists=lists, decision=decision))
    if not candidates:
        raise failed
    chosen = _preferred(candidates)
    layout = _layout(chosen, found, params, merge_below=SMALL_OBJECT if small.objects else 0)
    sentences = (
        *_about_pieces(layout, found, small.objects),
        *_about_jobs(chosen, candidates, pipeline),
    )
    return HandedOver(decision=chosen.decision, layout=layout, sentences=sentences)


class _Small(NamedTuple):
    """Objects that can be put together."""

    objects: int
    bytes: int


def _small(found: InputPlan, sizes: Sequence[int]) -> _Small:
    """Those that are small, if there are several and a task can read them all; else none."""
    if found.packed_objects:
        return _Small(0, 0)
    number = sum(each < SMALL_OBJECT for each in sizes)
    total = sum(each for each in sizes if each < SMALL_OBJECT)
    fits = 2 <= number <= MOST_MERGED and total <= MOST_MERGED_BYTES
    return _Small(number, total) if fits else _Small(0, 0)


def _works(
    pipeline: Pipeline, found: InputPlan, sizes: Sequence[int], small: _Small
) -> Iterator[tuple[Way, bool, Work]]:
    """Each way, whether jobs get lists of their own, and the work that the transform then has; simplest first."""
    packed = bool(found.packed_objects)
    pieces = _pieces(found, sizes, small)
    # Where all of it can be cut, an object as large as this is not left whole, whatever it costs.
    leave = packed or found.largest_bytes <= LARGEST_UNCUT or pieces is None
    jobs = pipeline.transform.max_jobs
    if leave:
        equal = found.squares * found.objects <= 1.01 * float(found.text_bytes) ** 2
        yield "as it lies", False, Work(
            bytes=found.text_bytes,
            units=found.objects,
            largest=found.largest_text_bytes,
            squares=found.squares,
            doubt=DOUBT_ABOUT_EQUAL_PIECES if equal else 1.0,
            objects=found.objects,
        )  # fmt: skip
    if pieces is not None:
        yield "pieces", False, Work(
            bytes=found.text_bytes, units=pieces.most, hashed=True, doubt=DOUBT_ABOUT_EQUAL_PIECES, before=pieces.before
        )  # fmt: skip
    if leave and jobs > 1:
        growth = sizing.PACKED_GROWTH if packed else 1
        lists = fullest_lists(sizes, jobs)
        yield "as it lies", True, Work(
            bytes=found.text_bytes,
            units=len(lists),
            lists=tuple(growth * each for each in lists),
            objects=found.objects,
        )  # fmt: skip
    if pieces is not None and jobs > 1:
        most = min(jobs, pieces.most)
        yield "pieces", True, Work(
            bytes=found.text_bytes,
            units=most,
            lists=tuple(-(-found.text_bytes // lists) for lists in range(1, most + 1)),
            before=pieces.before,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Pieces:
    """How many pieces the input gives at most, and seconds that making them takes."""

    most: int
    before: float


def _pieces(found: InputPlan, sizes: Sequence[int], small: _Small) -> _Pieces | None:
    """None where nothing can be cut or put together, or where it would take a task too long."""
    if found.packed_objects:
        return None
    cut = [each for each in sizes if each > SMALLEST_CUT]
    whole = len(sizes) - len(cut) - small.objects
    copies = sum(max(1, each // sizing.LARGEST_SHARD) for each in cut) + whole
    if not (cut or small.objects) or copies > MOST_COPIES:
        return None
    return _Pieces(
        most=sum(map(sizing.most_shards, cut))
        + whole
        + (sizing.most_shards(small.bytes) if small.objects else 0),
        before=copies / COPIES_PER_SECOND + small.objects / READS_PER_SECOND,
    )


def _preferred(candidates: Sequence[Candidate]) -> Candidate:
    def rank(each: Candidate) -> tuple[float, ...]:
        goals, choice = each.decision.goals, each.decision.choice
        late = goals.seconds is not None and choice.slowest > goals.seconds
        fixed = each.decision.works[-1].fixed or 0
        return (
            max(0, fixed - each.stage.count),
            each.decision.approval is not None,
            late,
            choice.seconds if goals.prefer == "speed" else each.cost,
        )

    *flags, least = min(rank(each) for each in candidates)
    return next(
        each
        for each in candidates
        if rank(each)[:-1] == tuple(flags) and rank(each)[-1] <= least * SAME_COST + 1e-9
    )


def _layout(chosen: Candidate, found: InputPlan, params: RunParams, *, merge_below: int) -> LayoutPlan:
    jobs = chosen.stage.count if chosen.lists else 1
    if chosen.way == "as it lies":
        return LayoutPlan(way="as it lies", jobs=jobs, piece_bytes=0, merge_below=0, objects=found.objects)
    working = chosen.stage.seconds - chosen.stage.option.rate.start_seconds
    shards = sizing.shard_sizes(
        found.text_bytes,
        chosen.stage.count,
        asked_for=params.transform_instance_count is not None,
        per_instance=sizing.SHARDS_PER_INSTANCE if chosen.lists else sizing.shards_per_instance(working),
    )
    return LayoutPlan(
        way="pieces", jobs=jobs, piece_bytes=shards.bytes, merge_below=merge_below, objects=shards.count
    )


def _about_pieces(layout: LayoutPlan, found: InputPlan, small: int) -> Iterator[str]:
    if layout.way == "as it lies":
        yield "The objects are transformed where they lie, each by one instance."
        return
    if found.largest_bytes > SMALLEST_CUT:
        yield (
            f"Objects are cut at line ends, inside S3, to about {count(layout.objects, 'piece')} of "
            f"{size(layout.piece_bytes)}, because SageMaker gives an object to one instance as a whole."
        )
    if small:
        yield (
            f"{count(small, 'object')} below {size(layout.merge_below)} are put together, because each would cost "
            f"round trips of its own."
        )


def _about_jobs(chosen: Candidate, candidates: Sequence[Candidate], pipeline: Pipeline) -> Iterator[str]:
    ours = chosen.stage
    if ours.count < 2:
        return
    others = [each.stage for each in candidates if each.lists != chosen.lists and each.stage.count > 1]
    other = min(others, key=lambda stage: stage.billed_seconds, default=None)
    if chosen.lists:
        instead = "" if other is None else (
            f", where one job of {other.count} is expected to be billed {other.billed_seconds:,.0f}"
        )  # fmt: skip
        yield (
            f"{ours.count} jobs of one instance work through balanced lists, because each stops being billed when its "
            f"own list is done: about {ours.billed_seconds:,.0f} instance-seconds{instead}."
        )
    elif pipeline.transform.max_jobs < 2:
        yield "One job takes all objects, because transform.max_jobs is 1."
    elif other is not None:
        yield (
            f"One job takes all objects: about {ours.billed_seconds:,.0f} instance-seconds, and {other.count} jobs of "
            f"one instance, with lists of their own, would be billed {other.billed_seconds:,.0f}."
        )
