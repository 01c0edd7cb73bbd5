"""How a listing of objects is laid out over instances, when no preprocessing cuts it into equal shards.

SageMaker hands whole objects to instances, by a rule that is not documented, and bills every instance until the slowest
ends. So what can be cut is cut, what is small is put together, and what is left is listed in balanced manifests, one
per one-instance job, where that is cheaper than leaving the assignment to SageMaker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import Literal

from include.scoring.plan import S3Object
from include.scoring.sizing import hashed_excess

# S3 copies byte ranges of 5 MiB and more as parts of a multipart upload; only the last part may be smaller.
SMALLEST_PART = 5 * 1024 * 1024
# A request to S3 and one to the model that are paid for each object, however small it is.
SECONDS_PER_OBJECT = 0.05

Way = Literal["as it lies", "cut", "manifests"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A byte range of an object, `start` included and `end` not; a whole object runs from 0 to its size.

    The ends of a cut are wishes: the caller moves each to the next line end, which it finds by a small range read.
    """

    key: str
    start: int
    end: int

    @property
    def bytes(self) -> int:
        """Bytes in the range."""
        return self.end - self.start


def cut(objects: Iterable[S3Object], piece_bytes: int, *, splittable: bool) -> Iterator[Piece]:
    """Every byte of every object exactly once, in equal pieces of an object of about `piece_bytes`.

    Objects that are not splittable (gzip, or CSV with line breaks in quotes) come whole, as do those that would give
    pieces smaller than S3 copies. Empty objects are left out.
    """
    wanted = max(piece_bytes, SMALLEST_PART)
    for item in objects:
        if item.size <= 0:
            continue
        parts = max(1, item.size // wanted) if splittable else 1
        for part in range(parts):
            start, end = item.size * part // parts, item.size * (part + 1) // parts
            yield Piece(item.key, start, end)


def balanced(weights: Sequence[float], bins: int) -> list[list[int]]:
    """Positions of the weights in `bins` groups of nearly equal sums: the heaviest first, each to the lightest group.

    The fullest group is at most 4/3 of the best possible (Graham's bound for LPT). Equal input gives equal output.
    Groups may be empty when there are fewer weights than bins.
    """
    groups: list[list[int]] = [[] for _ in range(bins)]
    heap = [(0.0, number) for number in range(bins)]
    heapify(heap)
    for position in sorted(range(len(weights)), key=lambda at: (-weights[at], at)):
        load, number = heap[0]
        groups[number].append(position)
        heapreplace(heap, (load + weights[position], number))
    return groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a stage's input is handed over.

    `jobs` is 1 with `instances` instances, or `instances` jobs of one instance with one manifest each. `fullest` and
    `billed_seconds` are expected at the given rate; `sentence` says why this way.
    """

    way: Way
    jobs: int
    instances: int
    fullest_seconds: float
    billed_seconds: float
    sentence: str


def choose_layout(
    seconds: Sequence[float], *, instances: int, start_seconds: float, cuttable: bool, jobs_allowed: int
) -> Layout:
    """The cheapest way to hand objects to `instances` instances.

    `seconds` is the work in each object. With `cuttable` the caller can cut and join objects to equal shards without a
    worker. `jobs_allowed` limits how many jobs of their own the account can run at a time.
    """
    work = sum(seconds) + SECONDS_PER_OBJECT * len(seconds)
    largest = max(seconds, default=0.0)
    if cuttable:
        share = sum(seconds) / instances
        return Layout(
            way="cut",
            jobs=1,
            instances=instances,
            fullest_seconds=share,
            billed_seconds=instances * (start_seconds + share),
            sentence=f"Objects are cut and put together to equal shards for one job of {instances} instances.",
        )
    usable = min(instances, max(1, len(seconds)))
    in_turn = [sum(seconds[at::usable]) for at in range(usable)]
    fullest = max(max(in_turn), largest, work / usable * hashed_excess(len(seconds), usable))
    one_job = usable * (start_seconds + fullest)
    alone = min(usable, jobs_allowed)
    groups = balanced(seconds, alone)
    loads = [sum(seconds[at] for at in group) + SECONDS_PER_OBJECT * len(group) for group in groups]
    many_jobs = alone * start_seconds + sum(loads)
    if alone > 1 and many_jobs < one_job:
        return Layout(
            way="manifests",
            jobs=alone,
            instances=alone,
            fullest_seconds=max(loads),
            billed_seconds=many_jobs,
            sentence=(
                f"{alone} jobs of one instance work through balanced lists of objects, because each stops being billed "
                f"when its own list is done: {many_jobs:,.0f} instance-seconds, where one job of {usable} would take "
                f"{one_job:,.0f}."
            ),
        )
    return Layout(
        way="as it lies",
        jobs=1,
        instances=usable,
        fullest_seconds=fullest,
        billed_seconds=one_job,
        sentence=f"One job of {usable} takes the objects as they lie: no list would make it cheaper.",
    )
