"""Stores what runs cost: a record for each run, and for each month the sums of a pipeline.

The sums of a month are one object, which concurrent runs change by conditional PUTs. They hold nothing that the records
do not have: a month that is missing, or was written by another version, is built again.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Container, Iterable
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import CostPaths
from batch_inference.pricing.run_costs import CostMonth, CostSums, RunCost, add_up, build_month

log = logging.getLogger(__name__)

#: Writers that are overtaken try again; with this many tries, some hundred runs may end in the same second.
MAX_TRIES = 12
MAX_PAUSE_SECONDS = 2.0
#: Records that are read at a time.
READ_WORKERS = 8


class CostMonthConflictError(Exception):
    """Other runs changed the month each time before it was written. The record of the run is stored all the same."""


def write_run_cost(storage: Storage, paths: CostPaths, cost: RunCost) -> RunCost:
    """Store what a run cost, and count it in its months; returns it with what only its earlier record has.

    Idempotent: a second call for the same plan replaces what the first one wrote, in the month of a job's creation too,
    where it counted before it started.

    Raises:
        CostMonthConflictError: see there.
    """
    written_before: set[str] = set()
    for month in sorted({*cost.months, *cost.creation_months}):
        earlier = read_record(storage, paths.build_record_uri(month, cost.token))
        if earlier is not None:
            cost = cost.add_earlier(earlier)
            written_before |= {month, *earlier.months}
    months = sorted({*cost.months, *written_before})
    for month in months:
        storage.write(paths.build_record_uri(month, cost.token), cost.model_dump_json())
    for month in months:
        update_month(storage, paths, cost.pipeline, month, lambda found: found.add_run(cost))
    return cost


def rebuild_month(storage: Storage, paths: CostPaths, pipeline: str, month: str) -> CostMonth:
    """Build a month from the records of its runs, and replace the stored one."""
    return update_month(
        storage, paths, pipeline, month, lambda _: read_records(storage, paths, pipeline, month)
    )


def update_month(
    storage: Storage, paths: CostPaths, pipeline: str, month: str, change: Callable[[CostMonth], CostMonth]
) -> CostMonth:
    """Change a month; `change` is called again when another writer was first.

    Raises:
        CostMonthConflictError: see there.
    """
    uri = paths.build_month_uri(month)
    for number in range(MAX_TRIES):
        found, etag = read_month(storage, uri)
        changed = change(read_records(storage, paths, pipeline, month) if found is None else found)
        try:
            content = json.dumps(changed.to_document(), ensure_ascii=False, separators=(",", ":"))
            if storage.write_conditionally(uri, content, expected_etag=etag) is not None:
                return changed
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalRequestConflict":
                raise
        time.sleep(random.uniform(0, MAX_PAUSE_SECONDS * (number + 1) / MAX_TRIES))  # noqa: S311 - not a secret
    raise CostMonthConflictError(
        f"{uri} was changed by other runs {MAX_TRIES} times before it was written; `batch-inference costs "
        f"--rebuild` counts all runs again"
    )


def read_month(storage: Storage, uri: str) -> tuple[CostMonth | None, str | None]:
    """A month and its ETag; no month when there is none, another version wrote it, or it is damaged."""
    stored = storage.read_snapshot(uri)
    if stored is None:
        return None, None
    try:
        return CostMonth.from_document(json.loads(stored.content)), stored.etag
    except ValueError as error:
        log.warning("%s is damaged, and is built again when a run of its month ends: %s", uri, error)
        return None, stored.etag


def sum_run(
    storage: Storage, paths: CostPaths, months: Iterable[str], run_id: str, *, except_for: Container[str]
) -> CostSums:
    """What these months have of a run, without its plans with these tokens."""
    found = (read_month(storage, paths.build_month_uri(month))[0] for month in months)
    return add_up(month.sum_run(run_id, except_for=except_for) for month in found if month is not None)


def read_records(storage: Storage, paths: CostPaths, pipeline: str, month: str) -> CostMonth:
    """A month built from the records of its runs."""
    with ThreadPoolExecutor(READ_WORKERS) as pool:
        found = list(
            pool.map(
                lambda uri: read_record(storage, uri), storage.list_uris(paths.build_records_prefix(month))
            )
        )
    return build_month(pipeline, month, filter(None, found))


def list_unended_runs(storage: Storage, paths: CostPaths, months: Iterable[str]) -> list[RunCost]:
    """The records of the runs in these months that have a job that had not ended when it was counted."""
    tokens: dict[str, str] = {}
    for month in months:
        found, _ = read_month(storage, paths.build_month_uri(month))
        tokens |= dict.fromkeys([] if found is None else found.find_unended_tokens(), month)
    records = (read_record(storage, paths.build_record_uri(month, token)) for token, month in tokens.items())
    return [cost for cost in records if cost is not None]


def read_record(storage: Storage, uri: str) -> RunCost | None:
    """The record of a run; None when there is none, or another version wrote it."""
    stored = storage.read_snapshot(uri)
    if stored is None:
        return None
    try:
        return RunCost.model_validate_json(stored.content)
    except ValueError as error:
        log.warning("%s is not counted, as another version of this package wrote it: %s", uri, error)
        return None
