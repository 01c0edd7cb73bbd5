"""Divides the objects of an input into pieces and balanced lists, for runs without preprocessing.

SageMaker assigns whole objects to instances. So large objects are split by copying byte ranges inside S3, small ones
are merged, and jobs of one instance read balanced lists of objects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import Any, Protocol, TypeVar

from batch_inference.planning.inputs.input_listing import S3Object

# S3 copies a range only of a source above 5 MB (UploadPartCopy, CopySourceRange). A piece is one part, which may be of
# any size: the minimum of 5 MiB does not apply to the last part of an upload.
MIN_SPLIT_BYTES = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A byte range of an input object, `start` included and `end` not; a whole object runs from 0 to its size.

    The caller moves both ends to the next line end, which it finds by a small range read.
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


InputPiece = tuple[ByteRange, ...]
"""The content of one object for the transform: one byte range, or several small whole objects merged."""


def split_objects(
    objects: Iterable[S3Object],
    *,
    piece_bytes: int,
    merge_below_bytes: int,
    merged_objects: int | None = None,
    is_splittable: bool,
) -> Iterator[InputPiece]:
    """Pieces that hold every byte of every object exactly once; empty objects are skipped.

    An object of two `piece_bytes` or more is split into equal pieces, where it is splittable and large enough for S3 to
    copy ranges of it. Objects smaller than `merge_below_bytes` are merged until they make a piece, the first
    `merged_objects` of them; None: all.
    """
    small_objects: list[ByteRange] = []
    small_bytes, left = 0, math.inf if merged_objects is None else merged_objects
    for item in objects:
        if item.size <= 0:
            continue
        if item.size < merge_below_bytes and left > 0:
            left -= 1
            small_objects.append(_take_whole(item))
            small_bytes += item.size
            if small_bytes >= piece_bytes:
                yield tuple(small_objects)
                small_objects, small_bytes = [], 0
            continue
        for start, end in _split_range(item.size, piece_bytes, is_splittable):
            yield (ByteRange(item.key, item.etag, start, end, item.size),)
    if small_objects:
        yield tuple(small_objects)


def _take_whole(item: S3Object) -> ByteRange:
    return ByteRange(item.key, item.etag, 0, item.size, item.size)


def _split_range(size: int, piece_bytes: int, is_splittable: bool) -> Iterator[tuple[int, int]]:
    parts = max(1, size // piece_bytes) if is_splittable and size > MIN_SPLIT_BYTES else 1
    for part in range(parts):
        yield size * part // parts, size * (part + 1) // parts


def balance_weights(weights: Sequence[float], bins: int) -> list[list[int]]:
    """Positions of the weights in `bins` groups of nearly equal sums: each, heaviest first, goes to the lightest group.

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


class HasBytes(Protocol):
    """Anything with a size."""

    @property
    def bytes(self) -> int:
        """Its size."""


Item = TypeVar("Item", bound=HasBytes)


def group_neighbours(
    items: Sequence[Item], group_bytes: int, *, get_columns: Callable[[Item], Any] = lambda _: None
) -> list[range]:
    """The positions of neighbouring items in groups of at most `group_bytes`, and of at least one item.

    Items of a group have the same columns: some shards carry the label and others do not.
    """
    groups: list[range] = []
    filled = 0
    for position, item in enumerate(items):
        is_alike = position > 0 and get_columns(items[position - 1]) == get_columns(item)
        if is_alike and filled + item.bytes <= group_bytes:
            groups[-1] = range(groups[-1].start, position + 1)
            filled += item.bytes
        else:
            groups.append(range(position, position + 1))
            filled = item.bytes
    return groups
