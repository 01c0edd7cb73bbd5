"""Counting the rows of a file that lies in S3, by reading it back."""

from __future__ import annotations

import csv
import json
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.json
import pyarrow.parquet

from include.jobs.csv_reading import ANY_LENGTH
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


def read_back(storage: Storage, uri: str, delimiter: str) -> ReadBack:
    """Rows and digest of a published part; its suffix says the format. For CSV, whose cells `delimiter` parts, the
    header does not count."""
    with tempfile.TemporaryDirectory(prefix="readback-") as folder:
        path = local_copy(storage, uri, folder)
        if path.suffix == ".parquet":
            rows: int = pyarrow.parquet.read_metadata(path).num_rows
        else:
            rows = count_records(path, delimiter) - (1 if path.suffix == ".csv" else 0)
        return ReadBack(rows, sha256_of(path))


def first_rows(storage: Storage, uri: str, count: int, delimiter: str) -> list[dict[str, Any]]:
    """The first rows of a published part, as records; the cells of CSV, which `delimiter` parts, are texts."""
    with tempfile.TemporaryDirectory(prefix="readback-") as folder:
        path = local_copy(storage, uri, folder)
        if path.suffix == ".parquet":
            batches = pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=count)
            batch = next(batches, None)
            return [] if batch is None else batch.to_pylist()
        if path.suffix == ".csv":
            csv.field_size_limit(ANY_LENGTH)
            with path.open(encoding="utf-8", newline="") as file:
                return list(islice(csv.DictReader(file, delimiter=delimiter), count))
        with path.open(encoding="utf-8", newline="\n") as file:
            return [json.loads(line) for line in islice(file, count)]
