"""What of a record is published, under which names, and what a function of the user's own makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from batch_inference.jobs.common import blocks
from batch_inference.jobs.common.errors import ConfigError, FunctionError, JoinError
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.aligned_join import join_shards

COLUMNS = [
    {"name": "id", "type": "string"},
    {"name": "n", "type": "integer"},
    {"name": "x", "type": "float"},
]
CSV = '007,1,0.10\n"a, b",2,\nc,+3,1e1\n'
JSON = (
    '{"id": "007", "n": 1, "x": 0.10, "more": [1.50]}\n{"x": null, "n": 2, "id": "a, b"}\n'
    '{"id": "c", "n": 3, "x": 1e1}\n'
)
SCORES = '{"score": 9.50}\n{"score": 2}\n{"score": -1e0}\n'

MODULE = """
import pandas as pd

def band(frame):
    frame["band"] = ["high" if score > 5 else "low" for score in frame["p"]]
    frame["p"] = frame["p"] * 2
    return frame

def missing(frame):
    return frame

def shorter(frame):
    return frame[frame["n"] > 1]

def reversed(frame):
    return frame[::-1]

def text(frame):
    return frame["id"]

def fails_on_two(frame):
    if (frame["n"] == 2).any():
        raise KeyError("no two")
    return frame

def no_number(frame):
    frame["p"] = ["1.5", "much", "2"][: len(frame)]
    return frame

def gaps(frame):
    frame["n"] = frame["n"].astype("float64").where(frame["n"] != 2)
    frame["band"] = pd.Series([None] * len(frame), dtype=object)
    return frame

def modern(frame):
    frame["n"] = frame["n"].astype("Int64").where(frame["n"] != 2)
    frame["id"] = frame["id"].astype("string").where(frame["n"] != 1)
    frame["band"] = pd.array([True, None, False][: len(frame)], dtype="boolean")
    frame["more"] = pd.Series([pd.NA, float("nan"), {"a": 1}][: len(frame)], dtype=object)
    return frame

def no_json(frame):
    frame["more"] = [[1], [pd.Timestamp(0)], [1]][: len(frame)]
    return frame

def nan_in_json(frame):
    frame["more"] = [[1], [float("nan")], [1]][: len(frame)]
    return frame
"""


def joined(tmp_path: Path, output: str, *, records: str = "csv", **more: Any) -> Path:
    """The output of one shard of three records."""
    (tmp_path / "records").write_text(CSV if records == "csv" else JSON)
    (tmp_path / "answers").write_text(SCORES)
    spec = JoinSpec.from_dict(
        {
            "columns": COLUMNS,
            "records_format": records,
            "output_format": output,
            "predictions": {"format": "jsonlines", "fields": {"score": "p"}},
            **more,
        }
    )
    path = tmp_path / f"out.{output}"
    shard = ShardFiles("algo-1-00000", tmp_path / "records", tmp_path / "answers", ("id", "n", "x"))
    join_shards([shard], path, spec)
    return path


def test_renaming_alone_keeps_the_bytes_of_csv_records(tmp_path: Path) -> None:
    """Only the header differs, so records are still joined byte to byte."""
    keep = [{"column": "id", "name": "customer"}, {"column": "n"}, {"column": "x"}]
    assert joined(tmp_path, "csv", keep=keep).read_text() == (
        'customer,n,x,p\n007,1,0.10,9.50\n"a, b",2,,2\nc,+3,1e1,-1e0\n'
    )


KEEP = [{"column": "x", "name": "size"}, {"column": "id"}]


def test_chosen_columns_stand_in_the_order_that_was_asked_for(tmp_path: Path) -> None:
    """In CSV each cell keeps its own text."""
    assert joined(tmp_path, "csv", keep=KEEP).read_text() == (
        'size,id,p\n0.10,007,9.50\n,"a, b",2\n1e1,c,-1e0\n'
    )


@pytest.mark.parametrize("records", ["csv", "jsonlines"])
@pytest.mark.parametrize("output", ["parquet", "jsonlines"])
def test_chosen_columns_of_any_records_in_typed_output(tmp_path: Path, output: str, records: str) -> None:
    """The same rows, whatever the records came as."""
    path = joined(tmp_path, output, keep=KEEP, records=records, include_extra_members=False)
    rows = (
        pq.read_table(path).to_pylist()
        if output == "parquet"
        else list(map(json.loads, path.read_text().splitlines()))
    )
    assert rows == [
        {"size": 0.1, "id": "007", "p": 9.5},
        {"size": None, "id": "a, b", "p": 2.0},
        {"size": 10.0, "id": "c", "p": -1.0},
    ]
    assert list(rows[0]) == (
        ["id", "size", "p"] if (output, records) == ("jsonlines", "jsonlines") else ["size", "id", "p"]
    )


def test_members_that_no_column_names_stay_unless_columns_are_listed(tmp_path: Path) -> None:
    """Leaving one column out takes nothing else away, and numbers keep their digits."""
    without = joined(tmp_path, "jsonlines", keep=KEEP, records="jsonlines").read_text().splitlines()[0]
    assert without == '{"id": "007", "size": 0.10, "more": [1.50], "p": 9.50}'


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with functions of a user."""
    (tmp_path / "mine_after.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "mine_after"


@pytest.mark.parametrize("output", ["csv", "parquet", "jsonlines"])
def test_a_function_sees_all_columns_and_adds_its_own(tmp_path: Path, module: str, output: str) -> None:
    """What it does not touch keeps its text; what is left out of the output it has seen."""
    function = {"module": module, "name": "band", "adds": [{"name": "band", "type": "string"}]}
    path = joined(tmp_path, output, function=function, keep=[{"column": "id", "name": "customer"}])
    expected = [("007", 19.0, "high"), ("a, b", 4.0, "low"), ("c", -2.0, "low")]
    if output == "csv":
        assert path.read_text() == 'customer,p,band\n007,19.0,high\n"a, b",4.0,low\nc,-2.0,low\n'
        return
    rows = (
        pq.read_table(path).to_pylist()
        if output == "parquet"
        else list(map(json.loads, path.read_text().splitlines()))
    )
    assert rows == [{"customer": id_, "p": p, "band": band} for id_, p, band in expected]


def test_what_a_function_leaves_alone_keeps_its_digits(tmp_path: Path, module: str) -> None:
    """A column that pandas had to make floats of is told by its values."""
    function = {"module": module, "name": "fails_on_two"}
    (tmp_path / "two").mkdir()
    with pytest.raises(FunctionError, match="record 2: KeyError"):
        joined(tmp_path, "csv", function=function)
    assert joined(tmp_path, "csv", function={"module": module, "name": "missing"}).read_text() == (
        'id,n,x,p\n007,1,0.10,9.50\n"a, b",2,,2\nc,+3,1e1,-1e0\n'
    )


def test_gaps_that_a_function_makes_are_nulls(tmp_path: Path, module: str) -> None:
    """Also in a column of integers, which pandas then holds as floats."""
    function = {"module": module, "name": "gaps", "adds": [{"name": "band", "type": "string"}]}
    table = pq.read_table(joined(tmp_path, "parquet", function=function))
    assert table.column("n").to_pylist() == [1, None, 3]
    assert table.column("band").to_pylist() == [None, None, None]


@pytest.mark.parametrize("output", ["csv", "parquet", "jsonlines"])
def test_the_missing_value_of_newer_pandas_types_is_a_null(tmp_path: Path, module: str, output: str) -> None:
    adds = [{"name": "band", "type": "string"}, {"name": "more", "type": "json"}]
    path = joined(tmp_path, output, function={"module": module, "name": "modern", "adds": adds})
    if output == "csv":
        assert path.read_text() == (
            'id,n,x,p,band,more\n,1,0.10,9.50,true,\n,,,2,,\nc,3,1e1,-1e0,false,"{""a"": 1}"\n'
        )
        return
    rows = (
        pq.read_table(path).to_pylist()
        if output == "parquet"
        else list(map(json.loads, path.read_text().splitlines()))
    )
    assert [(row["id"], row["n"], row["band"]) for row in rows] == [
        (None, 1, "true"),
        (None, None, None),
        ("c", 3, "false"),
    ]
    assert [row["more"] for row in rows[:2]] == [None, None]
    assert rows[2]["more"] in ({"a": 1}, '{"a": 1}')


@pytest.mark.parametrize("name", ["no_json", "nan_in_json"])
def test_what_a_function_makes_and_json_has_not_is_named(tmp_path: Path, module: str, name: str) -> None:
    function = {"module": module, "name": name, "adds": [{"name": "more", "type": "json"}]}
    with pytest.raises(
        JoinError, match=rf"^shard algo-1-00000, record 2: {module}.{name} made more \[.*not JSON: "
    ):
        joined(tmp_path, "jsonlines", function=function)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "mine_after.missing returned no column band for shard algo-1-00000, records 1 to 3"),
        (
            "shorter",
            "returned 2 rows for the 3 of shard algo-1-00000, records 1 to 3; it must return each input row",
        ),
        ("reversed", "returned 3 rows for the 3 of shard .*, in order and with its index"),
        ("text", "returned Series for shard algo-1-00000"),
        ("fails_on_two", "failed on shard algo-1-00000, record 2: KeyError: 'no two'"),
    ],
)
def test_a_function_that_goes_wrong_is_named_with_shard_and_record(
    tmp_path: Path, module: str, name: str, message: str
) -> None:
    """And no file is left behind."""
    function = {"module": module, "name": name, "adds": [{"name": "band", "type": "string"}]}
    with pytest.raises(FunctionError, match=message):
        joined(tmp_path, "csv", function=function)
    assert not list(tmp_path.glob("out.*"))


def test_a_value_of_the_wrong_type_is_named_by_its_record_in_the_shard(
    tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are numbered within the shard, not within the block that the function saw."""
    with pytest.raises(JoinError, match=r"shard algo-1-00000, record 2: mine_after.no_number made p 'much'"):
        joined(tmp_path, "parquet", function={"module": module, "name": "no_number"})
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 12)
    with pytest.raises(
        FunctionError, match=r"shard algo-1-00000, record 2: KeyError.*This part was not joined\."
    ):
        joined(tmp_path, "csv", function={"module": module, "name": "fails_on_two"})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"keep": [{"colum": "id"}]}, "keep\\[0\\].colum is not known, allowed are column, name"),
        ({"predictions": {"format": "csv"}}, "predictions.fields is missing, it must be an object"),
        (
            {"predictions": {"fields": {"s": "p"}, "types": {"p": "number"}}},
            "p has the type 'number', allowed are json, string, float, integer, boolean",
        ),
        ({"predictions": {"fields": {"s": 1}}}, "predictions.fields.s is 1, allowed is a string"),
        (
            {"function": {"module": "nowhere", "name": "f"}},
            "join.function.module 'nowhere' cannot be imported",
        ),
    ],
)
def test_what_cannot_be_had_is_refused(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigError, match=message):
        joined(tmp_path, "csv", **more)
