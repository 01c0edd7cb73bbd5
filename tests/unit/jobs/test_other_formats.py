"""JSON Lines and Parquet as input of the preprocess job."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.jobs.containers import columns, config, run_preprocess

AB = columns(id="string", x="float", n="integer?")


def parquet(**data: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(data), file, row_group_size=2)
    return file.getvalue()


def test_json_lines_keep_their_text_and_become_csv_features(tmp_path: Path) -> None:
    """Members in any order, extra ones, null, nested values and numbers to the digit."""
    lines = [
        '{"x": 1.50, "id": "a,b", "extra": [1, 2]}',
        '{"id":"\\u00fc","x":1e3,"n":7}',
        '{"id": null, "x": null}',
        '{"id": {"deep": [1.0, "q"]}, "x": -0.0}  ',
    ]
    wanted = config(AB, input_format="jsonlines")
    ended = run_preprocess(tmp_path, wanted, {"a.jsonl": "\r\n".join([*lines, "", ""]).encode()})
    assert ended.records() == ["".join(f"{line}\n" for line in lines).encode()]
    assert ended.features() == ['"a,b",1.50\nü,1e3\n,\n"{""deep"": [1.0, ""q""]}",-0.0\n'.encode()]
    assert ended.manifest["shards"][0]["records_key"] == "records/algo-1-00000.jsonl"
    assert ended.manifest["objects"][0]["blank_lines"] == 1


@pytest.mark.parametrize(
    ("line", "rule", "reason"),
    [
        (b'{"id": "a", "x": 1', "json", "the line is not JSON: "),
        (b"[1, 2]", "json", "the line is JSON, but not an object"),
        (b'{"id": "\\ud800", "x": 1}', "json", "the line is not JSON: it escapes half a surrogate pair"),
        (
            b'{"id": "a", "x": 1, "y": ["\\udead"]}',
            "json",
            "the line is not JSON: it escapes half a surrogate pair",
        ),
        (
            b'{"id": "a", "x": 1, "\\uD83D": 1}',
            "json",
            "the line is not JSON: it escapes half a surrogate pair",
        ),
        (b'{"id": "\\u0000", "x": 1}', "json", "the line contains an escaped NUL character"),
        (b'{"id": "a", "x": 1, "y": {"z": Infinity}}', "json", "the line is not JSON: it holds Infinity"),
        (b'{"id": "a", "x": 1, "y": -Infinity}', "json", "the line is not JSON: it holds -Infinity"),
        (b'{"id": "a", "x": 1, "x": 2}', "json", "the line is not JSON: an object has member 'x' twice"),
        (
            b'{"id": "a", "x": 1, "y": {"z": 1, "z": 1}}',
            "json",
            "the line is not JSON: an object has member 'z' twice",
        ),
        (
            b'{"id": ' + b"[" * 700 + b"]" * 700 + b', "x": 1}',
            "json",
            "the line is not JSON: it nests arrays",
        ),
        (b'{"id": "a", "x": 1, "y": ' + b'{"k":' * 100_000, "json", "the line is not JSON: it nests arrays"),
        (b'{"id": "a", "x": 1' + b"0" * 5000 + b"}", "type", "x is '1000"),
        (b'{"id": "a", "x": 1, "n": 1' + b"0" * 5000 + b"}", "type", "n is '1000"),
        (b'{"id": "a", "x": 1e999}', "type", "x is '1e999', allowed is a finite number"),
        (b'\xef\xbb\xbf{"id": "a", "x": 1}', "json", "the line is not JSON: "),
        (b'{"id": "\xff", "x": 1}', "encoding", "byte 0xff at character 9"),
        (b'{"id": "a", "x": NaN}', "json", "the line is not JSON: it holds NaN"),
        (b'{"id": "a", "x": "NaN"}', "type", "x is 'NaN', allowed is a number or empty"),
        (b'{"id": "a", "x": true}', "type", "x is 'true', allowed is a number or empty"),
        (b'{"id": "a", "x": 1, "n": 1.5}', "type", "n is '1.5', allowed is a whole number or empty"),
        (b'{"id": "a\\nb", "x": 1}', "line break", "feature id is 'a\\nb'"),
    ],
)
def test_a_json_line_that_is_no_record_costs_itself_alone(
    tmp_path: Path, line: bytes, rule: str, reason: str
) -> None:
    ended = run_preprocess(
        tmp_path,
        config(AB, input_format="jsonlines"),
        {"a.jsonl": b'{"id":"k","x":1}\n' + line + b'\n{"id":"l"}\n'},
    )
    assert ended.features() == [b"k,1\nl,\n"]
    (reject,) = ended.rejects()
    assert (reject["line"], reject["rule"]) == (2, rule)
    assert reject["reason"].startswith(reason)


def test_parquet_rows_become_csv_that_reads_back_equal(tmp_path: Path) -> None:
    """Floats of both widths, integers that pandas made floats, nulls, NaN, quotes and line breaks."""
    note = ["plain", 'say "hi", twice', "two\r\nlines", None, ""]
    content = parquet(
        n=pa.array([1.0, math.nan, 3.0, None, 2.0**53]),
        x=pa.array([0.1, 1 / 3, None, math.nan, 5e-324]),
        f=pa.array(np.array([0.1, 2, -3.5, 1e30, 7], dtype=np.float32)),
        note=pa.array(note),
        when=pa.array([datetime.date(2026, 1, day) for day in range(1, 6)]),
        left_out=pa.array([[1]] * 5),
    )
    shape = columns(x="float", f="float", when="string", note="string", n="integer?")
    wanted = config(shape, input_format="parquet", feature_columns=["f", "x"])
    ended = run_preprocess(tmp_path, wanted, {"a.parquet": content, "b.parquet": b""})
    assert ended.message == "algo-1: 5 in, 0 rejected, 1 shards"
    assert ended.features() == [b"0.1,0.1\n2.0,0.3333333333333333\n-3.5,\n1e+30,\n7.0,5e-324\n"]
    assert b"".join(ended.records()).split(b"\n") == [
        b"0.1,0.1,2026-01-01,plain,1",
        b'0.3333333333333333,2.0,2026-01-02,"say ""hi"", twice",',
        b',-3.5,2026-01-03,"two\r',
        b'lines",3',
        b",1e+30,2026-01-04,,",
        b'5e-324,7.0,2026-01-05,"",9007199254740992',
        b"",
    ]


def test_parquet_rows_are_spelled_with_the_delimiter_that_the_join_reads(tmp_path: Path) -> None:
    """`input.delimiter` is that of published CSV, too; with another, predictions would stand in the wrong column."""
    content = parquet(id=pa.array(["a;b", "c,d"]), x=pa.array([1.5, 2.5]))
    wanted = config(columns(id="string", x="float"), input_format="parquet", input_delimiter=";")
    ended = run_preprocess(tmp_path, wanted, {"a.parquet": content})
    assert ended.records() == [b'"a;b";1.5\nc,d;2.5\n']
    assert ended.features() == [b'a;b,1.5\n"c,d",2.5\n']


BYTES = [b"caf\xc3\xa9", b"two\nlines", None, b""]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(BYTES, pa.binary()),
        pa.array(BYTES, pa.large_binary()),
        pa.array(BYTES, pa.binary()).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_texts_that_parquet_calls_binary_are_texts(tmp_path: Path, column: pa.Array) -> None:
    """Hive, Impala and older Spark write strings without the mark that says that they are UTF-8."""
    wanted = config(columns(n="integer", note="string"), input_format="parquet", feature_columns=["n"])
    ended = run_preprocess(tmp_path, wanted, {"a.parquet": parquet(n=[1, 2, 3, 4], note=column)})
    assert ended.records() == ['1,café\n2,"two\nlines"\n3,\n4,""\n'.encode()]


def test_texts_of_a_fixed_length_are_texts(tmp_path: Path) -> None:
    column = pa.array([b"abc", None], pa.binary(3))
    ended = run_preprocess(
        tmp_path, config(AB, input_format="parquet"), {"a.parquet": parquet(id=column, x=[1.5, 2.5])}
    )
    assert ended.records() == [b"abc,1.5\n,2.5\n"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"a", b"caf\xe9", b"b"], pa.binary()),
        pa.array([[b"a"], [b"caf\xe9"], [b"b"]], pa.list_(pa.binary())),
        pa.array([b"a", b"caf\xe9", b"b"], pa.binary()).view(pa.string()),  # marked as UTF-8, and none
    ],
    ids=lambda column: str(column.type),
)
def test_bytes_in_parquet_that_are_no_text_cost_their_record_alone(tmp_path: Path, column: pa.Array) -> None:
    ended = run_preprocess(
        tmp_path, config(AB, input_format="parquet"), {"a.parquet": parquet(id=column, x=[1.0, 2.0, 3.0])}
    )
    assert ended.message == "algo-1: 3 in, 1 rejected, 1 shards"
    (reject,) = ended.rejects()
    assert (reject["record"], reject["rule"]) == (2, "encoding")
    assert reject["reason"].startswith("byte 0xe9 at character ")
    assert "caf\\udce9" in reject["text"]


def test_nested_parquet_values_become_json(tmp_path: Path) -> None:
    """What JSON has no spelling for is written as in a cell of its own; NaN is a null here too."""
    fields = pa.struct(
        {
            "when": pa.timestamp("us"), "day": pa.date32(), "price": pa.decimal128(9, 3), "raw": pa.binary(),
            "x": pa.list_(pa.float64()), "ok": pa.bool_(),
        }
    )  # fmt: skip
    value = {
        "when": datetime.datetime(2026, 1, 31, 12, 30), "day": datetime.date(2026, 1, 31),
        "price": decimal.Decimal("1234.500"), "raw": b"caf\xc3\xa9", "x": [1.5, math.nan, None, math.inf], "ok": True,
    }  # fmt: skip
    pairs = pa.array([[("k", datetime.date(2026, 1, 31))]] * 2, pa.map_(pa.string(), pa.date32()))
    content = parquet(n=[1, 2], deep=pa.array([value, None], fields), pairs=pairs)
    wanted = config(
        columns(n="integer", deep="string", pairs="string"),
        input_format="parquet",
        feature_columns=["n"],
    )
    ended = run_preprocess(tmp_path, wanted, {"a.parquet": content})
    first, second = csv.reader(io.StringIO(ended.records()[0].decode(), newline=""))
    assert json.loads(first[1], parse_constant=pytest.fail) == {
        "when": "2026-01-31 12:30:00", "day": "2026-01-31", "price": 1234.5, "raw": "café",
        "x": [1.5, None, None, "Infinity"], "ok": True,
    }  # fmt: skip
    assert '"price": 1234.500' in first[1]
    assert json.loads(first[2]) == [["k", "2026-01-31"]]
    assert second[1] == ""


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0, 1, 99_999_999], pa.int32()).cast(pa.date32()),
        pa.array([[0], [1], [99_999_999]], pa.list_(pa.int32())).cast(pa.list_(pa.date32())),
        pa.array([0, 1, 1 << 60], pa.int64()).cast(pa.timestamp("ms")),
    ],
    ids=lambda column: str(column.type),
)
def test_a_date_that_is_none_is_named(tmp_path: Path, column: pa.Array) -> None:
    """By object, row and column: Python has no years beyond 9999."""
    content = parquet(id=column, x=[1.0, 2.0, 3.0])
    ended = run_preprocess(tmp_path, config(AB, input_format="parquet"), {"a": content})
    assert ended.exit_code == 1
    start, _, end = ended.message.partition(", has a value that cannot be read: ")
    assert start.startswith("s3://bucket/in/a, record 3: column id, of Parquet type ")
    assert end


def test_parquet_whose_pages_are_damaged_is_named(tmp_path: Path) -> None:
    content = bytearray(parquet(id=[f"row-{number}" for number in range(5_000)], x=[0.5] * 5_000))
    middle = len(content) // 3
    content[middle : middle + 2_000] = b"\xff" * 2_000
    ended = run_preprocess(tmp_path, config(AB, input_format="parquet"), {"a": bytes(content)})
    assert ended.exit_code == 1
    assert ended.message.startswith("s3://bucket/in/a cannot be read to its end: ")


def test_parquet_records_are_cut_into_equal_shards(tmp_path: Path) -> None:
    """Judged by the text that the rows become, whatever the file's size is."""
    content = parquet(id=[f"row-{number:05d}" for number in range(5_000)], x=[0.5] * 5_000)
    ended = run_preprocess(
        tmp_path, config(AB, input_format="parquet", shard_bytes=10_000), {"a.parquet": content}
    )
    sizes = [shard["records"] for shard in ended.manifest["shards"]]
    assert sum(sizes) == 5_000
    assert len(sizes) == 7
    assert max(sizes) - min(sizes) <= 1
    assert ended.manifest["shards"][0]["columns"] == ["id", "x"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,x\na,1\n", "s3://bucket/in/a is not a Parquet file: "),
        (parquet(id=["a"], y=[1.0]), "s3://bucket/in/a has no column x; it has id, y"),
    ],
)
def test_what_is_no_such_parquet_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    ended = run_preprocess(tmp_path, config(AB, input_format="parquet"), {"a": content})
    assert ended.exit_code == 1
    assert ended.message.startswith(message)


def test_duplicates_and_rules_hold_for_json_as_for_csv(tmp_path: Path) -> None:
    """Two spellings of the same members are one record."""
    lines = ['{"id": "a", "x": 1}', '{"x":1,"id":"a"}', '{"id": "b", "x": 1}']
    rules = [{"name": "once", "rule": "duplicates"}]
    ended = run_preprocess(
        tmp_path, config(AB, input_format="jsonlines", rules=rules), {"a.jsonl": "\n".join(lines).encode()}
    )
    assert [one["record"] for one in ended.rejects()] == [2]
    assert [json.loads(line)["id"] for line in ended.records()[0].splitlines()] == ["a", "b"]
