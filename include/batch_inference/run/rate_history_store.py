"""The history of a pipeline's measured runs: a table in S3, one Parquet file per run and one row per stage."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow
import pyarrow.parquet

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import build_history_prefix
from batch_inference.config.pipeline import Pipeline
from batch_inference.planning.clusters.rate_history import HistoryRow

#: A plan's rates use the last seven runs of one model on one instance type; twice as many files are read, because some
#: runs may have had another type.
MAX_FILES = 14


def build_prefix(pipeline: Pipeline) -> str:
    """The prefix of the pipeline's history."""
    return build_history_prefix(work=pipeline.work, pipeline=pipeline.name)


def read_history(storage: Storage, pipeline: Pipeline) -> list[HistoryRow]:
    """Read the rows of the last runs."""
    newest = sorted(storage.list_uris(build_prefix(pipeline)))[-MAX_FILES:]
    tables = (pyarrow.parquet.read_table(io.BytesIO(storage.read(uri))) for uri in newest)
    return [HistoryRow.model_validate(row) for table in tables for row in table.to_pylist()]


def write_history(storage: Storage, pipeline: Pipeline, nonce: str, rows: Sequence[HistoryRow]) -> None:
    """Add one run; idempotent. File names begin with the run's data time, so a listing is in order of time."""
    if not rows:
        return
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row.model_dump() for row in rows]), buffer)
    data_time = datetime.fromisoformat(rows[0].data_time).astimezone(UTC)
    name = f"{data_time:%Y%m%dT%H%M%SZ}-{nonce}.parquet"
    storage.write(
        f"{build_prefix(pipeline)}{name}", buffer.getvalue(), content_type="application/vnd.apache.parquet"
    )
