"""Data capture: manifests of what a job read and wrote, below the hour they were captured in."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence

from include.local_aws.runner.s3 import Address, Bucketeer
from include.local_aws.runner.transform.plan import DataCapture


def write_manifests(
    s3: Bucketeer, capture: DataCapture, inputs: Sequence[Address], outputs: Sequence[Address]
) -> None:
    """`<destination>/input/yyyy/mm/dd/hh/<id>.json` and the same below output/; raises S3Error."""
    base = Address.parse(capture.destination.rstrip("/") + "/")
    hour = time.strftime("%Y/%m/%d/%H", time.gmtime())
    for folder, addresses in (("input", inputs), ("output", outputs)):
        with s3.writer(Address(base.bucket, f"{base.key}{folder}/{hour}/{uuid.uuid4()}.json")) as target:
            target.write(manifest(addresses))


def manifest(addresses: Sequence[Address]) -> bytes:
    """A JSON list: the prefix that all share (up to a slash), then each name after it."""
    keys = sorted(address.key for address in addresses)
    shared = _common_folder(keys)
    prefix = Address(addresses[0].bucket, shared)
    return json.dumps([{"prefix": str(prefix)}, *(key[len(shared) :] for key in keys)]).encode()


def _common_folder(keys: Sequence[str]) -> str:
    first, last = keys[0], keys[-1]
    length = next(
        (at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[: first.rfind("/", 0, length) + 1]
