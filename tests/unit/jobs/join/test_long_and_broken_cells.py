"""Cells of the join that are longer, or go over more lines, than the csv module's defaults expect."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from batch_inference.jobs.common.errors import JoinError, PredictionError
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.aligned_join import join_shards
from tests.unit.jobs.hostile_inputs import parquet, run

COLUMNS = [{"name": "id", "type": "string"}, {"name": "note", "type": "string"}]
SCORE = {"format": "csv", "fields": {"0": "score"}, "types": {"score": "string"}}
#: Beyond the csv module's own limit, which is 131,072, and beyond what a stray quote of the input may swallow.
LENGTHS = (131_073, 1_100_000)


def joined(folder: Path, records: bytes, answers: bytes, output: str, **spec: Any) -> list[dict[str, Any]]:
    """The published rows."""
    (folder / "records").write_bytes(records)
    (folder / "answers").write_bytes(answers)
    shape = JoinSpec.from_dict({"columns": COLUMNS, "output_format": output, "predictions": SCORE, **spec})
    path = folder / f"out.{output}"
    join_shards([ShardFiles("s", folder / "records", folder / "answers", ["id", "note"])], path, shape)
    if output == "parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    if output == "jsonlines":
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    csv.field_size_limit(1 << 24)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def _as_a_process_begins() -> None:
    """The csv module's limit holds for the whole process, so another test may have raised it."""
    csv.field_size_limit(131_072)


@pytest.mark.parametrize("output", ["csv", "jsonlines", "parquet"])
@pytest.mark.parametrize("feed", ["\n", "\r\n", "\n\n", "\r"])
def test_line_breaks_inside_a_quoted_answer_are_published(tmp_path: Path, output: str, feed: str) -> None:
    """An answer of several lines is the same text in every output, and the answer behind it stays its own."""
    letter = f"Dear{feed}Customer"
    rows = joined(tmp_path, b"a,1\nb,2\n", f'"{letter}"\nshort\n'.encode(), output)
    assert [row["score"] for row in rows] == [letter, "short"]


@pytest.mark.parametrize("output", ["csv", "jsonlines", "parquet"])
@pytest.mark.parametrize("length", LENGTHS)
def test_a_cell_of_any_length_is_joined(tmp_path: Path, output: str, length: int) -> None:
    """Of a record as of an answer: both were paid for."""
    long = "x" * (length - 3) + 'y"z'
    quoted = long.replace('"', '""')
    records = f'a,"{quoted}"\nb,2\n'.encode()
    rows = joined(tmp_path, records, f'"{quoted}"\nshort\n'.encode(), output)
    assert [row["note"] for row in rows] == [long, "2"]
    assert [row["score"] for row in rows] == [long, "short"]


@pytest.mark.parametrize("length", LENGTHS)
def test_a_long_cell_reaches_the_join_from_parquet(tmp_path: Path, length: int) -> None:
    """What `preprocess` lets pass can be joined."""
    content = parquet(id=["a"], note=["n" * length])
    kinds = {"columns": COLUMNS, "input_format": "parquet", "feature_columns": ["id"]}
    manifest, output = run(tmp_path / "box", content, kinds)
    records = (output / manifest["shards"][0]["records_key"]).read_bytes()
    assert [len(row["note"]) for row in joined(tmp_path, records, b"7\n", "jsonlines")] == [length]


@pytest.mark.parametrize("output", ["csv", "jsonlines", "parquet"])
def test_an_answer_that_is_no_csv_is_named(tmp_path: Path, output: str) -> None:
    with pytest.raises(
        PredictionError, match=r"shard s, record 2: the prediction 'two\\rthree' is not CSV: "
    ) as found:
        joined(tmp_path, b"a,1\nb,2\n", b"one\ntwo\rthree\n", output)
    assert found.value.record == 2


def test_a_record_that_is_no_csv_is_named(tmp_path: Path) -> None:
    """Such as a line of a pipeline without `preprocess`, which nobody looked at."""
    with pytest.raises(JoinError, match=r"^shard s, record 2 is not CSV: "):
        joined(tmp_path, b"a,1\nb\rc,2\n", b"1\n2\n", "jsonlines")


def test_a_record_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    with pytest.raises(JoinError, match=r"^shard s, record 2.* is not (UTF|utf)-8"):
        joined(tmp_path, b"a,1\nb,caf\xe9\n", b"1\n2\n", "jsonlines")


def test_an_answer_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        PredictionError, match=r"^shard s, record 2: the prediction 'caf\\\\xe9' is not UTF-8: "
    ) as found:
        joined(tmp_path, b"a,1\nb,2\n", b"1\ncaf\xe9\n", "jsonlines")
    assert found.value.record == 2
