"""Shards cut into pieces, to find the records that a model cannot take.

A piece is an object of its own whose name says which records of which shard it holds, so that nothing else has to be
remembered: `algo-1-00003.17-32.csv` is records 17 to 32, counted from 1, of the shard `algo-1-00003`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from include.scoring.errors import ReconciliationError

_NAME = re.compile(r"(?P<shard>[A-Za-z0-9-]+)\.(?P<first>[1-9]\d*)-(?P<last>[1-9]\d*)(?P<suffix>\.[a-z]+)")


@dataclass(frozen=True, slots=True)
class Piece:
    """Records `first` to `last` of a shard, counted from 1; `whole` if it is the shard's own object.

    `suffix` is that of the object with the features, such as `.csv`.
    """

    shard: str
    first: int
    last: int
    suffix: str
    whole: bool = False

    @property
    def records(self) -> int:
        """How many records it holds."""
        return self.last - self.first + 1

    @property
    def name(self) -> str:
        """Name of the object."""
        span = "" if self.whole else f".{self.first}-{self.last}"
        return f"{self.shard}{span}{self.suffix}"

    def cut(self) -> Iterator[Piece]:
        """What it is cut into: a shard into about as many pieces as each then has records, a piece into its records.

        Two rounds then cost the fewest objects: twice the root of the shard's records for one that is bad.
        """
        size = math.ceil(math.sqrt(self.records)) if self.whole else 1
        for first in range(self.first, self.last + 1, size):
            yield Piece(self.shard, first, min(first + size - 1, self.last), self.suffix)


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
    return Piece(found["shard"], int(found["first"]), int(found["last"]), found["suffix"])


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
