"""Stores what runs cost: a record for each run, and for each month the sums of a pipeline.

The sums of a month are one object, which concurrent runs change by conditional PUTs. They hold nothing that the records
do not have: a month that is missing, or was written by another version, is built again.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import CostPaths
from batch_inference.pricing.run_costs import CostMonth, RunCost, build_month

log = logging.getLogger(__name__)

#: Writers that are overtaken try again; with this many tries, some hundred runs may end in the same second.
MAX_TRIES = 12
MAX_PAUSE_SECONDS = 2.0
#: Records that are read at a time.
READ_WORKERS = 8


class CostMonthConflictError(Exception):
    """Other runs changed the month each time before it was written. The record of the run is stored all the same."""


def write_run_cost(storage: Storage, paths: CostPaths, cost: RunCost) -> RunCost:
    """Store what a run cost, and count it in its months; returns it with the jobs that only its earlier record has.

    Idempotent: a second call for the same plan replaces what the first one wrote.

    Raises:
        CostMonthConflictError: see there.
    """
    for month in cost.months:
        earlier = read_record(storage, paths.build_record_uri(month, cost.token))
        cost = cost if earlier is None else cost.add_earlier_jobs(earlier)
    for month in cost.months:
        storage.write(paths.build_record_uri(month, cost.token), cost.model_dump_json())
    for month in cost.months:
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
        stored = storage.read_json_with_etag(uri)
        etag = None if stored is None else stored[1]
        found = None if stored is None else CostMonth.from_document(stored[0])
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
        stored = storage.read_json_with_etag(paths.build_month_uri(month))
        found = None if stored is None else CostMonth.from_document(stored[0])
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
