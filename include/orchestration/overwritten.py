"""Whether the objects that a job read were those that the plan listed, or newer ones under the same keys."""

from __future__ import annotations

import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from include.orchestration.storage import Storage
from include.scoring.errors import ReconciliationError
from include.scoring.listing import replaced
from include.scoring.s3uri import split

log = logging.getLogger(__name__)

#: Greater than any URI.
PAST_ALL = chr(0x10FFFF)


def check_not_overwritten(storage: Storage, input_uri: str, listing_uri: str, *, read_until: float) -> None:
    """List the input once more and compare it with the plan's listing; memory stays flat.

    `read_until` are the epoch seconds at which the job that read it had ended: what was overwritten later is the next
    run's, and what was deleted was either read before or is missed when the objects are counted. S3 tells the time of
    the last writing only: an object that was overwritten while it was read, and again afterwards, is not noticed.

    Raises:
        ReconciliationError: an object may have been read in another version than the plan's.
    """
    bucket, later = split(input_uri)[0], 0
    # Asked for only if an object differs; in the same order as the other listings.
    times = storage.written(input_uri)
    found, written = "", datetime.min.replace(tzinfo=UTC)
    with tempfile.TemporaryDirectory(prefix="listing-") as folder:
        listing = storage.download(listing_uri, Path(folder) / "input.listing")
        with listing.open(encoding="utf-8") as lines:
            for planned, now in replaced(lines, storage.objects(input_uri)):
                uri = f"s3://{bucket}/{now.key}"
                while found < uri:
                    found, written = next(times, (PAST_ALL, written))
                if found != uri or written.timestamp() > read_until:
                    later += 1
                    continue
                raise ReconciliationError(
                    f"{uri} was overwritten at {written:%Y-%m-%d %H:%M:%S} UTC, while this run was to read it: its "
                    f"etag is {now.etag}, and the plan was made for {planned.etag}. Nothing is published. Clear the "
                    f"run's `plan` to score what is there now; input must be complete before a run begins"
                )
    if later:
        log.info(
            "objects that were overwritten after they had been read, which are the next run's: %s", later
        )
