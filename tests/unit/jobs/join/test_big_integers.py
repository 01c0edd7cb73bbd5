"""Whole numbers that a float cannot hold come through a function of the user's own to the digit, gaps or not."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest

from batch_inference.jobs.common.errors import JoinError
from batch_inference.jobs.common.pandas_function import format_pandas_value, to_series
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.aligned_join import join_shards
from tests.unit.jobs.containers import columns
from tests.unit.jobs.hostile_inputs import run

INPUT = Path(__file__).resolve().parents[3] / "inputs" / "faults" / "big-integers-with-gap.csv"
ID_X = columns(id="integer", x="float")
FUNCTIONS = """
def filled(frame):
    frame["id"] = frame["id"].fillna(-1)
    return frame

def untouched(frame):
    return frame

def as_floats(frame):
    frame["id"] = [float(value) if value == 9007199254740995 else 1.0 for value in frame["id"].fillna(0)]
    return frame

def next_one(frame):
    frame["id"] = frame["id"] + 1
    return frame
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> str:
    made = ModuleType("function_of_big_integers")
    exec(FUNCTIONS, made.__dict__)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made.__name__


def ids(folder: Path, module: str, name: str, output: str) -> list[int | None]:
    """What is published as the id of the three records."""
    (folder / "answers").write_text("1\n2\n3\n")
    spec = JoinSpec.from_dict(
        {
            "columns": ID_X,
            "output_format": output,
            "predictions": {"format": "csv", "fields": {"0": "p"}},
            "function": {"module": module, "name": name},
        }
    )
    join_shards([ShardFiles("s", INPUT, folder / "answers", ("id", "x"))], folder / "out", spec)
    if output == "parquet":
        return [row["id"] for row in pq.read_table(folder / "out").to_pylist()]
    with (folder / "out").open(newline="") as file:
        return [int(row["id"]) if row["id"] else None for row in csv.DictReader(file)]


@pytest.mark.parametrize("output", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("filled", [9007199254740993, -1, 9007199254740995]),
        ("untouched", [9007199254740993, None, 9007199254740995]),
        ("next_one", [9007199254740994, None, 9007199254740996]),
    ],
)
def test_they_are_published_to_the_digit(
    tmp_path: Path, module: str, output: str, name: str, expected: list[int | None]
) -> None:
    assert ids(tmp_path, module, name, output) == expected


@pytest.mark.parametrize("output", ["csv", "parquet"])
def test_a_float_that_may_have_been_another_number_is_named(tmp_path: Path, module: str, output: str) -> None:
    with pytest.raises(
        JoinError, match=rf"record 3: {module}.as_floats made id 9007199254740996.0, which is not exact"
    ):
        ids(tmp_path, module, "as_floats", output)
    assert not (tmp_path / "out").exists()


def test_the_model_sees_them_to_the_digit(tmp_path: Path, module: str) -> None:
    changes: dict[str, Any] = {"columns": ID_X, "function": {"module": module, "name": "filled"}}
    manifest, output = run(tmp_path, INPUT.read_bytes(), changes)
    features = (output / manifest["shards"][0]["features_key"]).read_text()
    assert features == "9007199254740993,1\n-1,2\n9007199254740995,3\n"


@pytest.mark.parametrize(
    ("cells", "dtype"),
    [
        (["1", "2"], "int64"),
        (["9007199254740993", "-9223372036854775808"], "int64"),
        (["1", None], "float64"),
        (["9007199254740991", ""], "float64"),
        (["9007199254740992", ""], "Int64"),
        (["9007199254740993", None], "Int64"),
        (["-9223372036854775808", " "], "Int64"),
        ([], "int64"),
        (["  ", "5"], "float64"),
    ],
)
def test_a_column_of_whole_numbers_is_of_the_type_that_holds_them(
    cells: list[str | None], dtype: str
) -> None:
    """Cells of white space are gaps."""
    column = to_series("integer", cells)
    assert str(column.dtype) == dtype
    found = [format_pandas_value(value).removesuffix(".0") for value in column.tolist()]
    assert found == [cell.strip() if cell else "" for cell in cells]
