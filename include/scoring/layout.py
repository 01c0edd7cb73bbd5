"""How the objects of an input become pieces and lists, when no preprocessing cuts them into equal shards.

SageMaker hands whole objects to instances. So what is large is cut by copying byte ranges inside S3, what is tiny is
put together, and what one-instance jobs read is listed in balanced manifests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace, nlargest

from include.scoring.listing import S3Object

# S3 copies a range only of a source above 5 MB (UploadPartCopy, CopySourceRange). A piece is one part, which may be of
# any size, since the last part of an upload is not bound to 5 MiB.
SMALLEST_CUT = 5 * 1024 * 1024
# Objects that decide how even lists are; all others together fill up what these leave.
HEAVIEST = 2000


@dataclass(frozen=True, slots=True)
class Span:
    """A byte range of an input object, `start` included and `end` not; a whole object runs from 0 to its size.

    The ends of a cut are wishes: the caller moves each to the next line end, which it finds by a small range read.
    """

    key: str
    etag: str
    start: int
    end: int
    size: int

    @property
    def bytes(self) -> int:
        """Bytes in the range."""
        return self.end - self.start

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its object."""
        return (self.start, self.end) == (0, self.size)


Piece = tuple[Span, ...]
"""What becomes one object for the transform: one span, or several small whole objects put together."""


def lay_out(
    objects: Iterable[S3Object], *, piece_bytes: int, merge_below: int, splittable: bool
) -> Iterator[Piece]:
    """Every byte of every object in exactly one piece; empty objects are left out.

    An object that gives two pieces or more of `piece_bytes` is cut into equal ones, where it is splittable and large
    enough for S3 to copy ranges of it. Objects smaller than `merge_below` are put together until they make a piece.
    """
    waiting: list[Span] = []
    held = 0
    for item in objects:
        if item.size <= 0:
            continue
        if item.size < merge_below:
            waiting.append(_whole(item))
            held += item.size
            if held >= piece_bytes:
                yield tuple(waiting)
                waiting, held = [], 0
            continue
        for start, end in _cuts(item.size, piece_bytes, splittable):
            yield (Span(item.key, item.etag, start, end, item.size),)
    if waiting:
        yield tuple(waiting)


def _whole(item: S3Object) -> Span:
    return Span(item.key, item.etag, 0, item.size, item.size)


def _cuts(size: int, piece_bytes: int, splittable: bool) -> Iterator[tuple[int, int]]:
    parts = max(1, size // piece_bytes) if splittable and size > SMALLEST_CUT else 1
    for part in range(parts):
        yield size * part // parts, size * (part + 1) // parts


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


def fullest_lists(sizes: Sequence[int], most: int) -> tuple[int, ...]:
    """Bytes in the fullest of 1, 2, … `most` balanced lists of objects, however many objects there are."""
    heaviest = nlargest(HEAVIEST, sizes)
    total = sum(sizes)
    fullest = []
    for lists in range(1, min(most, len(sizes)) + 1):
        loads = [0] * lists
        for size in heaviest:
            heapreplace(loads, loads[0] + size)
        fullest.append(max(max(loads), -(-total // lists)))
    return tuple(fullest)
