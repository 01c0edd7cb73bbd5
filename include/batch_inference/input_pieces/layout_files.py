"""Files that the tasks without `preprocess` pass on in S3, as they grow with the listing; XCom has the counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import LayoutPaths
from batch_inference.planning.inputs.input_listing import S3Object
from batch_inference.verification.transform_objects import TransformObject


def write_listing(storage: Storage, paths: LayoutPaths, objects: Iterable[S3Object]) -> None:
    """Write the planned objects: a line of key, size and etag for each object that is not empty."""
    lines = (json.dumps([each.key, each.size, each.etag]) for each in objects if each.size > 0)
    storage.write(paths.listing, "".join(f"{line}\n" for line in lines))


def read_listing(storage: Storage, paths: LayoutPaths) -> list[S3Object]:
    """Read the planned objects, in key order."""
    return [S3Object(*json.loads(line)) for line in storage.read(paths.listing).splitlines()]


def write_group(storage: Storage, paths: LayoutPaths, number: int, pieces: Sequence[TransformObject]) -> None:
    """Write the pieces of one join task."""
    storage.write_json(paths.build_join_group_uri(number), {"pieces": [piece.to_dict() for piece in pieces]})


def read_group(storage: Storage, paths: LayoutPaths, number: int) -> list[TransformObject]:
    """Read the pieces of one join task."""
    return [
        TransformObject.from_dict(each)
        for each in storage.read_json(paths.build_join_group_uri(number))["pieces"]
    ]


def read_groups(storage: Storage, paths: LayoutPaths, count: int) -> Iterator[TransformObject]:
    """Read the pieces of the first `count` groups, in the order of their positions."""
    for each in range(count):
        yield from read_group(storage, paths, each)
