"""The runs that a pipeline has published: their rows and statistics, which later runs are judged by.

A small document for each below `<work>/<pipeline>/_published/`, and its statistics beside it, outlive the run's own
prefix. Names begin with the moment that the run is for, so a listing is in order of time, and a run that is
published again takes its own place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from include.orchestration.storage import Storage
from include.scoring.config import Pipeline
from include.scoring.naming import published_prefix, run_slug

log = logging.getLogger(__name__)


def prefix_of(pipeline: Pipeline) -> str:
    """Where they lie. No run id begins like it: Airflow's begin with the type of the run."""
    return published_prefix(work=pipeline.work, pipeline=pipeline.name)


def uri_of(pipeline: Pipeline, moment: str, run_id: str) -> str:
    """Where the document of a run lies; `moment` is the one it is for, as the plan has it."""
    name = f"{_stamp(datetime.fromisoformat(moment))}-{run_slug(run_id)}.json"
    return f"{prefix_of(pipeline)}runs/{name}"


def record(
    storage: Storage,
    pipeline: Pipeline,
    manifest: Mapping[str, Any],
    statistics: str,
    *,
    replacing: str | None,
    is_current: Callable[[], bool],
) -> None:
    """Remember a run that was committed; `statistics` is the URI of its statistics.json.

    `replacing` is the ETag of its document before it was committed: where that has changed since, another try of
    the run has written it, and only the try whose manifest `is_current` takes its place.
    """
    uri = uri_of(pipeline, manifest["moment"], manifest["run_id"])
    # Named by what it holds: what another try kept is never overwritten by something else.
    digest = str(storage.etag(statistics)).strip('"')
    name = uri.rsplit("/", 1)[1].removesuffix(".json")
    kept = f"{prefix_of(pipeline)}statistics/{name}-{digest[:12]}.json"
    storage.copy(statistics, kept, etag=digest)
    document = {
        "version": 1,
        "run_id": manifest["run_id"],
        "moment": manifest["moment"],
        "rows": manifest["rows"],
        "output_uri": manifest["output_uri"],
        "plan_uri": manifest["plan_uri"],
        "statistics": kept,
    }
    while storage.commit_json(uri, document, replacing=replacing) is None:
        replacing = storage.etag(uri)
        if not is_current():
            log.warning("%s was written by a later try of this run; it stays as it is", uri)
            return


def before(
    storage: Storage, pipeline: Pipeline, *, moment: datetime, run_id: str, most: int
) -> list[dict[str, Any]]:
    """The last runs published for moments before this one, at most so many, the latest last; never `run_id` itself."""
    if most < 1:
        return []
    names = [
        uri
        for uri in sorted(storage.uris(f"{prefix_of(pipeline)}runs/"))
        if uri.rsplit("/", 1)[1] < _stamp(moment) and not uri.endswith(f"-{run_slug(run_id)}.json")
    ]
    return [storage.read_json(uri) for uri in names[-most:]]


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
