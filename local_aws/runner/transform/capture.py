"""Data capture: writes manifests of the objects that a job read and wrote, below the current hour."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence

from local_aws.runner.data.s3_objects import S3Address, S3Storage
from local_aws.runner.transform.transform_request import DataCapture


def write_capture_manifests(
    s3: S3Storage, capture: DataCapture, inputs: Sequence[S3Address], outputs: Sequence[S3Address]
) -> None:
    """`<destination>/input/yyyy/mm/dd/hh/<id>.json` and the same below output/; raises S3Error."""
    base = S3Address.parse(capture.destination_uri.rstrip("/") + "/")
    hour = time.strftime("%Y/%m/%d/%H", time.gmtime())
    for folder, addresses in (("input", inputs), ("output", outputs)):
        with s3.open_writer(
            S3Address(base.bucket, f"{base.key}{folder}/{hour}/{uuid.uuid4()}.json")
        ) as target:
            target.write(build_manifest(addresses))


def build_manifest(addresses: Sequence[S3Address]) -> bytes:
    """A JSON list: the prefix that all share (up to a slash), then each name after it."""
    keys = sorted(address.key for address in addresses)
    shared = _common_folder(keys)
    prefix = S3Address(addresses[0].bucket, shared)
    return json.dumps([{"prefix": str(prefix)}, *(key[len(shared) :] for key in keys)]).encode()


def _common_folder(keys: Sequence[str]) -> str:
    first, last = keys[0], keys[-1]
    length = next(
        (at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[: first.rfind("/", 0, length) + 1]
