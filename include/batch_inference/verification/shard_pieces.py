"""Splits shards into pieces, to find the records that a model refuses.

A piece is an object whose name says which records of which shard it holds, so that no other state is needed:
`algo-1-00003.17-32.csv` is records 17 to 32, counted from 1, of the shard `algo-1-00003`. A single record may have a
companion: `algo-1-00003.17-17.with.algo-1-00001.1.csv` is record 17 followed by record 1 of the shard `algo-1-00001`,
for which the model is known to return a prediction.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from batch_inference.common.errors import ReconciliationError

_NAME = re.compile(
    r"(?P<shard>[A-Za-z0-9-]+)\.(?P<first>[1-9]\d*)-(?P<last>[1-9]\d*)"
    r"(\.with\.(?P<other>[A-Za-z0-9-]+)\.(?P<number>[1-9]\d*))?(?P<suffix>\.[a-z]+)"
)


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """One record of a shard, counted from 1."""

    shard: str
    number: int


@dataclass(frozen=True, slots=True)
class ShardPiece:
    """Records `first` to `last` of a shard, counted from 1; `is_whole` if it is the shard's own object.

    `suffix` is that of the features object, such as `.csv`. `companion` is one more record at the end of the object,
    whose prediction is discarded.
    """

    shard: str
    first: int
    last: int
    suffix: str
    is_whole: bool = False
    companion: ShardRecord | None = None

    @property
    def numbers(self) -> range:
        """The numbers of its records in the shard, the companion not counted."""
        return range(self.first, self.last + 1)

    @property
    def record_count(self) -> int:
        """How many records of the shard it holds, the companion not counted."""
        return self.last - self.first + 1

    @property
    def sent_count(self) -> int:
        """How many records the object holds."""
        return self.record_count + (self.companion is not None)

    @property
    def record_range(self) -> tuple[str, int, int]:
        """Shard, first and last record; equal for pieces with and without a companion."""
        return (self.shard, self.first, self.last)

    @property
    def name(self) -> str:
        """Name of the object."""
        span = "" if self.is_whole else f".{self.first}-{self.last}"
        company = "" if self.companion is None else f".with.{self.companion.shard}.{self.companion.number}"
        return f"{self.shard}{span}{company}{self.suffix}"

    def split(self, companion: ShardRecord | None = None) -> Iterator[ShardPiece]:
        """Split a shard into pieces of about the square root of its records, or a piece into its single records.

        Two rounds then need the fewest objects: twice that root for one bad record. A shard of several records is never
        split into single ones, since some models do not answer a request of one record; each single record gets
        `companion`.
        """
        if not self.is_whole or self.record_count == 1:
            for number in self.numbers:
                yield ShardPiece(self.shard, number, number, self.suffix, companion=companion)
            return
        size = math.ceil(math.sqrt(self.record_count))
        first = self.first
        while first <= self.last:
            last = self.last if self.last - first <= size else first + size - 1
            yield ShardPiece(self.shard, first, last, self.suffix)
            first = last + 1


class RecordRanges:
    """The ranges of records of some pieces; `in` says whether another piece is within one of them."""

    def __init__(self, pieces: Iterable[ShardPiece]) -> None:
        self._spans: dict[str, list[tuple[int, int]]] = {}
        # Pieces are nested or disjoint: of those with the same first record, the first contains the others.
        for piece in sorted(pieces, key=lambda each: (each.shard, each.first, -each.last)):
            spans = self._spans.setdefault(piece.shard, [])
            if not spans or piece.first > spans[-1][1]:
                spans.append((piece.first, piece.last))

    def __contains__(self, piece: ShardPiece) -> bool:
        spans = self._spans.get(piece.shard, [])
        at = bisect_right(spans, piece.first, key=lambda span: span[0]) - 1
        return at >= 0 and piece.last <= spans[at][1]


def parse_piece_name(name: str, shards: Mapping[str, ShardPiece]) -> ShardPiece:
    """The piece of an object's name; `shards` maps the names of the shards' own objects.

    Raises ReconciliationError for a name that is not a piece's.
    """
    if name in shards:
        return shards[name]
    found = _NAME.fullmatch(name)
    if found is None:
        raise ReconciliationError(
            f"found the object {name!r} among those of the transform; it is not a piece of a shard"
        )
    first, last = int(found["first"]), int(found["last"])
    company = ShardRecord(found["other"], int(found["number"])) if found["other"] else None
    return ShardPiece(found["shard"], first, last, found["suffix"], companion=company)


def select_covering_pieces(
    shard: ShardPiece, pieces: Iterable[ShardPiece], refused_pieces: Collection[ShardPiece]
) -> list[ShardPiece]:
    """The pieces with predictions and the single refused records that together make up the shard, in order.

    Of overlapping pieces, where a piece and a part of it both have predictions, the larger one is used. Raises
    ReconciliationError when a record is in no piece.
    """
    starts: dict[int, ShardPiece] = {}
    for piece in sorted(
        (*refused_pieces, *pieces), key=lambda each: (each.record_count, each not in refused_pieces)
    ):
        starts[piece.first] = piece
    found: list[ShardPiece] = []
    at = shard.first
    while at <= shard.last:
        if at not in starts:
            raise ReconciliationError(
                f"shard {shard.shard}: record {at:,} is in no piece that was answered, nor was it refused alone; "
                f"nothing is published",
                shard.shard,
            )
        found.append(starts[at])
        at = starts[at].last + 1
    if at != shard.last + 1:
        raise ReconciliationError(
            f"shard {shard.shard}: the piece {found[-1].name} goes beyond its {shard.record_count:,} records; "
            f"nothing is published",
            shard.shard,
        )
    return found
