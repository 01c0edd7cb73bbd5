"""Files that the tasks without `preprocess` pass on in S3, as they grow with the listing; XCom has the counts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic import TypeAdapter

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import HandoffError
from batch_inference.common.names import InputLayoutPaths
from batch_inference.planning.inputs.input_listing import S3Object, parse_listing_line
from batch_inference.planning.plan import Plan
from batch_inference.verification.transform_objects import TransformObject

_GROUP = TypeAdapter(list[TransformObject])


def read_listing(storage: Storage, plan: Plan) -> list[S3Object]:
    """Read the planned objects that are not empty, in key order.

    Raises:
        HandoffError: the listing is not the plan's.
    """
    uri = plan.paths.input_listing
    content = storage.read(uri)
    if hashlib.sha256(content).hexdigest() != plan.input.digest:
        raise HandoffError(
            f"{uri} is not the listing of this plan ({plan.nonce[:6]}): clear `plan` with all that follows it"
        )
    return [parse_listing_line(line.decode()) for line in content.splitlines()]


def write_join_group(
    storage: Storage, paths: InputLayoutPaths, number: int, pieces: Sequence[TransformObject]
) -> None:
    """Write the pieces of one join task."""
    storage.write(paths.build_join_group_uri(number), _GROUP.dump_json(list(pieces)))


def read_join_group(storage: Storage, paths: InputLayoutPaths, number: int) -> list[TransformObject]:
    """Read the pieces of one join task."""
    return _GROUP.validate_json(storage.read(paths.build_join_group_uri(number)))
