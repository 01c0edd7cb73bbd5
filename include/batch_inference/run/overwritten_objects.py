"""Checks that a job read the objects that the plan listed, not newer ones under the same keys."""

from __future__ import annotations

import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ReconciliationError
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.planning.inputs.input_listing import find_replaced_objects

log = logging.getLogger(__name__)

#: Greater than any URI.
AFTER_LAST_URI = chr(0x10FFFF)


def check_not_overwritten(storage: Storage, input_uri: str, listing_uri: str, *, read_until: float) -> None:
    """List the input again and compare it with the plan's listing, in constant memory.

    `read_until` is the end of the job that read the input, in epoch seconds. Objects that were overwritten later are
    for the next run; deleted objects were either read before or are found missing when objects are counted. S3 has only
    the time of the last write: an object that was overwritten while it was read, and again afterwards, is not noticed.

    Raises:
        ReconciliationError: an object may have been read in another version than the plan's.
    """
    bucket, overwritten_later = split_s3_uri(input_uri)[0], 0
    # Consumed only if an object differs; in the same order as the other listings.
    write_times = storage.list_write_times(input_uri)
    listed_uri, written = "", datetime.min.replace(tzinfo=UTC)
    with tempfile.TemporaryDirectory(prefix="listing-") as folder:
        listing = storage.download(listing_uri, Path(folder) / "input.listing")
        with listing.open(encoding="utf-8") as lines:
            for planned, current in find_replaced_objects(lines, storage.list_objects(input_uri)):
                uri = f"s3://{bucket}/{current.key}"
                while listed_uri < uri:
                    listed_uri, written = next(write_times, (AFTER_LAST_URI, written))
                if listed_uri != uri or written.timestamp() > read_until:
                    overwritten_later += 1
                    continue
                raise ReconciliationError(
                    f"{uri} was overwritten at {written:%Y-%m-%d %H:%M:%S} UTC, before this run had read it: its "
                    f"etag is {current.etag}, and the plan has {planned.etag}. Nothing is published. Clear the "
                    f"run's `plan` to score what is there now; input must be complete before a run begins"
                )
    if overwritten_later:
        log.info(
            "objects overwritten after this run had read them, left for the next run: %s", overwritten_later
        )
