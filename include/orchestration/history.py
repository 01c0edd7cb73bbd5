"""What earlier runs of a pipeline measured: a table in S3, one Parquet file per run and one row per stage."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow
import pyarrow.parquet

from include.orchestration.storage import Storage
from include.scoring.config import Pipeline
from include.scoring.history import HistoryRow
from include.scoring.naming import history_prefix

#: A plan's rates rest on the last seven runs of one model on one instance type; twice that many files are read, so
#: that a few runs on another type do not hide them.
FILES_READ = 14


def prefix_of(pipeline: Pipeline) -> str:
    """Where the pipeline's history lies."""
    return history_prefix(work=pipeline.work, pipeline=pipeline.name)


def read(storage: Storage, pipeline: Pipeline) -> list[HistoryRow]:
    """The rows of the last runs."""
    newest = sorted(storage.uris(prefix_of(pipeline)))[-FILES_READ:]
    tables = (pyarrow.parquet.read_table(io.BytesIO(storage.read(uri))) for uri in newest)
    return [HistoryRow.of(row) for table in tables for row in table.to_pylist()]


def write(storage: Storage, pipeline: Pipeline, nonce: str, rows: Sequence[HistoryRow]) -> None:
    """Add one run, once however often it is reported. Names begin with the moment, so a listing is in order of time."""
    if not rows:
        return
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row.as_dict() for row in rows]), buffer)
    moment = datetime.fromisoformat(rows[0].moment).astimezone(UTC)
    name = f"{moment:%Y%m%dT%H%M%SZ}-{nonce}.parquet"
    storage.write(
        f"{prefix_of(pipeline)}{name}", buffer.getvalue(), content_type="application/vnd.apache.parquet"
    )
