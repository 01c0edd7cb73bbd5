"""Reads files of a pipeline's runs from S3, with the pipeline's connection and region."""

from __future__ import annotations

import time
from functools import lru_cache

from batch_inference.aws.s3 import Storage
from batch_runs.airflow_state import PipelinePlace
from batch_runs.jobs import FAST_FAIL_CONFIG

#: How long a client is kept: building one takes longer than a call, and a changed connection counts soon.
CLIENT_SECONDS, CLIENT_CACHE_SIZE = 60, 32


def open_storage(place: PipelinePlace) -> Storage:
    """S3 through the pipeline's connection and region. Raises the errors in `READ_ERRORS`."""
    return _open_storage(place, int(time.time() / CLIENT_SECONDS))


@lru_cache(maxsize=CLIENT_CACHE_SIZE)
def _open_storage(place: PipelinePlace, window: int) -> Storage:  # noqa: ARG001 - opened anew in each window
    return Storage(place.aws_conn_id, place.region, config=FAST_FAIL_CONFIG)


def close_clients() -> None:
    """Forget all clients; the next are opened anew."""
    _open_storage.cache_clear()


def require_run_file(place: PipelinePlace, uri: str) -> str:
    """`uri`, if it is below the run files of the pipeline.

    Otherwise a user who may write XComs of this DAG could have any object read with the pipeline's connection.

    Raises:
        ValueError: it is elsewhere.
    """
    if not uri.startswith(place.runs_prefix):
        raise ValueError(
            f"its XCom names {uri}, but the run files of the pipeline are below {place.runs_prefix}"
        )
    return uri
