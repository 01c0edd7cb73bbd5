"""The runs that a pipeline has published: their rows and statistics, which later runs are judged by.

A small document for each below `<work>/<pipeline>/_published/`, and its statistics beside it, outlive the run's own
prefix. Names begin with the moment that the run is for, so a listing is in order of time, and a run that is
published again takes its own place.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from include.orchestration.storage import Storage
from include.scoring.config import Pipeline
from include.scoring.naming import run_slug


def prefix_of(pipeline: Pipeline) -> str:
    """Where they lie. No run id begins like it: Airflow's begin with the type of the run."""
    return f"{pipeline.work.rstrip('/')}/{pipeline.name}/_published/"


def record(storage: Storage, pipeline: Pipeline, manifest: Mapping[str, Any], statistics: str) -> None:
    """Remember a run that was committed; `statistics` is the URI of its statistics.json."""
    name = f"{_stamp(datetime.fromisoformat(manifest['moment']))}-{run_slug(manifest['run_id'])}.json"
    kept = f"{prefix_of(pipeline)}statistics/{name}"
    storage.copy(statistics, kept)
    storage.write_json(
        f"{prefix_of(pipeline)}runs/{name}",
        {
            "version": 1,
            "run_id": manifest["run_id"],
            "moment": manifest["moment"],
            "rows": manifest["rows"],
            "output_uri": manifest["output_uri"],
            "plan_uri": manifest["plan_uri"],
            "statistics": kept,
        },
    )


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
