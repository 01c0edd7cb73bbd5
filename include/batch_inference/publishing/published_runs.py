"""Records of a pipeline's published runs: their rows and statistics, which the gates of later runs compare with.

A small document for each run, and its statistics, are below `<work>/<pipeline>/_published/` and outlive the run's
prefix. Names begin with the run's data time, so a listing is in order of time, and a run that is published again
replaces its own document.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import build_published_runs_prefix, slugify_run_id
from batch_inference.config.pipeline import Pipeline

log = logging.getLogger(__name__)


def build_prefix(pipeline: Pipeline) -> str:
    """The prefix of the pipeline's records. No run id begins like it: Airflow's begin with the type of the run."""
    return build_published_runs_prefix(work=pipeline.work, pipeline=pipeline.name)


def build_record_uri(pipeline: Pipeline, data_time: str, run_id: str) -> str:
    """The URI of a run's document; `data_time` is that of its plan."""
    name = f"{_format_timestamp(datetime.fromisoformat(data_time))}-{slugify_run_id(run_id)}.json"
    return f"{build_prefix(pipeline)}runs/{name}"


def record_run(
    storage: Storage,
    pipeline: Pipeline,
    manifest: Mapping[str, Any],
    statistics_uri: str,
    *,
    expected_etag: str | None,
    is_current: Callable[[], bool],
) -> None:
    """Record a run that was committed.

    `expected_etag` is the ETag of its document before the commit: when it has changed since, another attempt of the run
    has written the document, and only the attempt whose manifest `is_current` replaces it.
    """
    uri = build_record_uri(pipeline, manifest["data_time"], manifest["run_id"])
    # Named by its content, so that the statistics of another attempt are never overwritten.
    digest = str(storage.read_etag(statistics_uri)).strip('"')
    name = uri.rsplit("/", 1)[1].removesuffix(".json")
    kept_uri = f"{build_prefix(pipeline)}statistics/{name}-{digest[:12]}.json"
    storage.copy(statistics_uri, kept_uri, source_etag=digest)
    document = {
        "version": 1,
        "run_id": manifest["run_id"],
        "data_time": manifest["data_time"],
        "rows": manifest["rows"],
        "output_uri": manifest["output_uri"],
        "plan_uri": manifest["plan_uri"],
        "statistics": kept_uri,
    }
    while storage.write_json_conditionally(uri, document, expected_etag=expected_etag) is None:
        expected_etag = storage.read_etag(uri)
        if not is_current():
            log.warning("%s was written by a later attempt of this run, and stays as it is", uri)
            return


def read_runs_before(
    storage: Storage, pipeline: Pipeline, *, data_time: datetime, run_id: str, limit: int
) -> list[dict[str, Any]]:
    """The last published runs before this data time, at most `limit`, the latest last; never `run_id` itself."""
    if limit < 1:
        return []
    names = [
        uri
        for uri in sorted(storage.list_uris(f"{build_prefix(pipeline)}runs/"))
        if uri.rsplit("/", 1)[1] < _format_timestamp(data_time)
        and not uri.endswith(f"-{slugify_run_id(run_id)}.json")
    ]
    return [storage.read_json(uri) for uri in names[-limit:]]


def _format_timestamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
