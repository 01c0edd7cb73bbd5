"""Counting the rows of a file that lies in S3, by reading it back."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.json
import pyarrow.parquet

from include.jobs.join import count_records
from include.jobs.parts import sha256_of
from include.orchestration.storage import Storage


def local_copy(storage: Storage, uri: str, folder: str) -> Path:
    """The object as a local file."""
    return storage.download(uri, Path(folder) / uri.rsplit("/", 1)[1])


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What an object in S3 really holds."""

    rows: int
    sha256: str


def read_back(storage: Storage, uri: str) -> ReadBack:
    """Rows and digest of a published part; its suffix says the format. For CSV the header does not count."""
    with tempfile.TemporaryDirectory(prefix="readback-") as folder:
        path = local_copy(storage, uri, folder)
        if path.suffix == ".parquet":
            rows: int = pyarrow.parquet.read_metadata(path).num_rows
        else:
            rows = count_records(path) - (1 if path.suffix == ".csv" else 0)
        return ReadBack(rows, sha256_of(path))


def first_rows(storage: Storage, uri: str, count: int) -> list[dict[str, Any]]:
    """The first rows of a published part, as records."""
    with tempfile.TemporaryDirectory(prefix="readback-") as folder:
        path = local_copy(storage, uri, folder)
        if path.suffix == ".parquet":
            batches = pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=count)
            batch = next(batches, None)
            return [] if batch is None else batch.to_pylist()
        import pandas

        frame = (
            pandas.read_csv(path, nrows=count)
            if path.suffix == ".csv"
            else pandas.read_json(path, lines=True, nrows=count)
        )
        return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
