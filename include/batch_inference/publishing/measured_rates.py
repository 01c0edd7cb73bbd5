"""The rates that runs have measured: a table in S3, one Parquet file for each run with one row for each stage."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

import pyarrow
import pyarrow.json
import pyarrow.parquet
from pydantic import ValidationError

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import build_history_prefix
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.planning.clusters.rate_history import HistoryRow

log = logging.getLogger(__name__)

#: A plan's rates use the last 20 runs of one model on one instance type; more files are read, because some runs may
#: have had another type.
MAX_HISTORY_FILES = 28
#: With `calibrate: explore`, the runs whose settings are compared, and whose cost gives what trials may cost.
MAX_EXPLORED_FILES = 60
#: Files that are read at a time.
READ_WORKERS = 8
_COLUMN_TYPES: dict[Any, Any] = {
    str: pyarrow.string(), str | None: pyarrow.string(), int: pyarrow.int64(), bool: pyarrow.bool_(),
}  # fmt: skip
#: The columns of a file; figures that may be unknown are floats.
SCHEMA = pyarrow.schema(
    (name, _COLUMN_TYPES.get(field.annotation, pyarrow.float64()))
    for name, field in HistoryRow.model_fields.items()
)


def read_rate_history(storage: Storage, pipeline: Pipeline) -> list[HistoryRow]:
    """Read the rows of the last runs, without those that another version wrote with other columns."""
    prefix = build_history_prefix(work=pipeline.work, pipeline=pipeline.name)
    count = MAX_EXPLORED_FILES if pipeline.goals.calibrate == "explore" else MAX_HISTORY_FILES
    # What runs cost lies in folders, which sort after the files of the rates; the listing ends there.
    bucket = split_s3_uri(prefix)[0]
    uris = (f"s3://{bucket}/{each.key}" for each in storage.list_objects(prefix))
    newest = list(takewhile(lambda uri: "/" not in uri.removeprefix(prefix), uris))[-count:]
    with ThreadPoolExecutor(READ_WORKERS) as pool:
        files = list(pool.map(storage.read, newest))
    # Not `read_table`, which imports pandas; that takes as long as all else in a plan.
    tables = (pyarrow.parquet.ParquetFile(io.BytesIO(file)).read() for file in files)
    rows: list[HistoryRow] = []
    for row in (row for table in tables for row in table.to_pylist()):
        try:
            rows.append(HistoryRow.model_validate(row))
        except ValidationError as error:
            log.warning(
                "the rates measured by the run %s are not used, as another version wrote them: %s",
                row.get("run_id"),
                error,
            )
    return rows


def add_run_to_rate_history(
    storage: Storage, pipeline: Pipeline, nonce: str, rows: Sequence[HistoryRow]
) -> None:
    """Add one run; idempotent. File names begin with the run's data time, so a listing is in order of time."""
    if not rows:
        return
    # Not `Table.from_pylist`, which imports pandas.
    lines = io.BytesIO("\n".join(row.model_dump_json() for row in rows).encode())
    options = pyarrow.json.ParseOptions(explicit_schema=SCHEMA)
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.json.read_json(lines, parse_options=options), buffer)
    data_time = datetime.fromisoformat(rows[0].data_time).astimezone(UTC)
    name = f"{data_time:%Y%m%dT%H%M%SZ}-{nonce}.parquet"
    uri = f"{build_history_prefix(work=pipeline.work, pipeline=pipeline.name)}{name}"
    storage.write(uri, buffer.getvalue(), content_type="application/vnd.apache.parquet")
