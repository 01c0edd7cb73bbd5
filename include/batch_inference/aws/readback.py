"""Reads part files back from S3: row counts, digests and first rows."""

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

from batch_inference.aws.s3 import Storage
from batch_inference.jobs.common.blocks import count_records
from batch_inference.jobs.common.csv_reading import MAX_FIELD_LENGTH
from batch_inference.jobs.join.parts import compute_sha256


def download_to_folder(storage: Storage, uri: str, folder: str) -> Path:
    """Download the object into a folder, under its own name."""
    return storage.download(uri, Path(folder) / uri.rsplit("/", 1)[1])


@dataclass(frozen=True, slots=True)
class PartContent:
    """What a part file in S3 contains."""

    rows: int
    sha256: str


def read_part_content(storage: Storage, uri: str, delimiter: str) -> PartContent:
    """Rows and digest of a published part, whose suffix is its format. `delimiter` is that of CSV, whose header line is
    not counted."""
    with tempfile.TemporaryDirectory(prefix="readback-") as folder:
        path = download_to_folder(storage, uri, folder)
        if path.suffix == ".parquet":
            rows: int = pyarrow.parquet.read_metadata(path).num_rows
        else:
            has_header = path.suffix == ".csv"
            rows = count_records(path, delimiter if has_header else None) - has_header
        return PartContent(rows, compute_sha256(path))


def read_first_rows(storage: Storage, uri: str, count: int, delimiter: str) -> list[dict[str, Any]]:
    """The first rows of a published part, as dicts; `delimiter` is that of CSV, whose values are all text."""
    with tempfile.TemporaryDirectory(prefix="readback-") as folder:
        path = download_to_folder(storage, uri, folder)
        if path.suffix == ".parquet":
            batches = pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=count)
            batch = next(batches, None)
            return [] if batch is None else batch.to_pylist()
        if path.suffix == ".csv":
            csv.field_size_limit(MAX_FIELD_LENGTH)
            with path.open(encoding="utf-8", newline="") as file:
                return list(islice(csv.DictReader(file, delimiter=delimiter), count))
        with path.open(encoding="utf-8", newline="\n") as file:
            return [json.loads(line) for line in islice(file, count)]
