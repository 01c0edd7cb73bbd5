"""What the tasks of this chain hand on in S3, since it grows with the listing: XCom holds the figures alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from include.orchestration.storage import Storage
from include.scoring.laid_out import PieceFile
from include.scoring.listing import S3Object
from include.scoring.naming import LayoutPaths


def write_listing(storage: Storage, paths: LayoutPaths, objects: Iterable[S3Object]) -> None:
    """Keep what was planned: a line of key, size and etag for each object that is not empty."""
    lines = (json.dumps([each.key, each.size, each.etag]) for each in objects if each.size > 0)
    storage.write(paths.listing, "".join(f"{line}\n" for line in lines))


def read_listing(storage: Storage, paths: LayoutPaths) -> list[S3Object]:
    """The objects that were planned, in the order of their keys."""
    return [S3Object(*json.loads(line)) for line in storage.read(paths.listing).splitlines()]


def write_group(storage: Storage, paths: LayoutPaths, number: int, pieces: Sequence[PieceFile]) -> None:
    """Keep the pieces that one join puts beside their answers."""
    storage.write_json(paths.group(number), {"pieces": [piece.as_dict() for piece in pieces]})


def read_group(storage: Storage, paths: LayoutPaths, number: int) -> list[PieceFile]:
    """The pieces of one join."""
    return [PieceFile.of(each) for each in storage.read_json(paths.group(number))["pieces"]]


def read_groups(storage: Storage, paths: LayoutPaths, number: int) -> Iterator[PieceFile]:
    """The pieces of so many groups, in the order of their positions."""
    for each in range(number):
        yield from read_group(storage, paths, each)
