"""Shards cut into pieces, to find the records that a model cannot take.

A piece is an object of its own whose name says which records of which shard it holds, so that nothing else has to be
remembered: `algo-1-00003.17-32.csv` is records 17 to 32, counted from 1, of the shard `algo-1-00003`. A single record
may have company: `algo-1-00003.17-17.with.algo-1-00001.1.csv` is record 17 and, behind it, record 1 of the shard
`algo-1-00001`, which the model is known to answer.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from include.scoring.errors import ReconciliationError

_NAME = re.compile(
    r"(?P<shard>[A-Za-z0-9-]+)\.(?P<first>[1-9]\d*)-(?P<last>[1-9]\d*)"
    r"(\.with\.(?P<other>[A-Za-z0-9-]+)\.(?P<number>[1-9]\d*))?(?P<suffix>\.[a-z]+)"
)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a shard, counted from 1."""

    shard: str
    number: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Records `first` to `last` of a shard, counted from 1; `whole` if it is the shard's own object.

    `suffix` is that of the object with the features, such as `.csv`. `company` is one more record, which is sent behind
    them and is not theirs to be answered for.
    """

    shard: str
    first: int
    last: int
    suffix: str
    whole: bool = False
    company: Record | None = None

    @property
    def records(self) -> int:
        """How many records it is about, company aside."""
        return self.last - self.first + 1

    @property
    def sent(self) -> int:
        """How many records the object holds."""
        return self.records + (self.company is not None)

    @property
    def span(self) -> tuple[str, int, int]:
        """Which records it is about, whatever object they are sent in."""
        return (self.shard, self.first, self.last)

    @property
    def name(self) -> str:
        """Name of the object."""
        span = "" if self.whole else f".{self.first}-{self.last}"
        company = "" if self.company is None else f".with.{self.company.shard}.{self.company.number}"
        return f"{self.shard}{span}{company}{self.suffix}"

    def cut(self, company: Record | None = None) -> Iterator[Piece]:
        """What it is cut into: a shard into about as many pieces as each then has records, a piece into its records.

        Two rounds then cost the fewest objects: twice the root of the shard's records for one that is bad. A shard of
        several records leaves no piece of one, since there are models that do not answer a record alone; each record
        of a piece is given `company`.
        """
        if not self.whole or self.records == 1:
            for number in range(self.first, self.last + 1):
                yield Piece(self.shard, number, number, self.suffix, company=company)
            return
        size = math.ceil(math.sqrt(self.records))
        first = self.first
        while first <= self.last:
            last = self.last if self.last - first <= size else first + size - 1
            yield Piece(self.shard, first, last, self.suffix)
            first = last + 1


class Spans:
    """The records that pieces are about, to be asked whether a piece is within one of them."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._spans: dict[str, list[tuple[int, int]]] = {}
        # A piece is within another or apart from it: of those that begin at one record, the first holds the others.
        for piece in sorted(pieces, key=lambda each: (each.shard, each.first, -each.last)):
            spans = self._spans.setdefault(piece.shard, [])
            if not spans or piece.first > spans[-1][1]:
                spans.append((piece.first, piece.last))

    def __contains__(self, piece: Piece) -> bool:
        spans = self._spans.get(piece.shard, [])
        at = bisect_right(spans, piece.first, key=lambda span: span[0]) - 1
        return at >= 0 and piece.last <= spans[at][1]


def read_name(name: str, shards: Mapping[str, Piece]) -> Piece:
    """The piece of this name; `shards` maps the names of whole objects.

    Raises ReconciliationError for a name that is none.
    """
    if name in shards:
        return shards[name]
    found = _NAME.fullmatch(name)
    if found is None:
        raise ReconciliationError(
            f"found the object {name!r} among those of the transform; it is no piece of a shard"
        )
    company = Record(found["other"], int(found["number"])) if found["other"] else None
    return Piece(found["shard"], int(found["first"]), int(found["last"]), found["suffix"], company=company)


def cover(shard: Piece, pieces: Iterable[Piece], refused: Collection[Piece]) -> list[Piece]:
    """The pieces with an answer and the single refused records that together are the shard, in order.

    Where pieces overlap, because a piece was answered and so was a part of it, the larger one counts. Raises
    ReconciliationError when a record is in none.
    """
    starts: dict[int, Piece] = {}
    for piece in sorted((*refused, *pieces), key=lambda each: (each.records, each not in refused)):
        starts[piece.first] = piece
    found: list[Piece] = []
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
            f"shard {shard.shard}: the piece {found[-1].name} goes beyond its {shard.records:,} records; "
            f"nothing is published",
            shard.shard,
        )
    return found
