"""What is looked up by its name is there once: else nobody knows which one is meant, and nothing is taken of it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch_inference.jobs.common.errors import (
    FunctionError,
    InputError,
    JoinError,
    PredictionError,
)
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.aligned_join import join_shards
from tests.unit.jobs.containers import columns
from tests.unit.jobs.hostile_inputs import run

INPUTS = Path(__file__).resolve().parents[2] / "inputs" / "faults"
ID_X = columns(id="string", x="float")
FUNCTIONS = """
import pandas as pd

def twice(frame):
    return pd.concat([frame, frame[["x"]]], axis=1)

def same(frame):
    return frame

def half(frame):
    frame["id"] = pd.Series(["\\ud83d"] * len(frame), dtype=object)
    return frame

def half_in_json(frame):
    frame["more"] = [{"a": "\\ud83d"}] * len(frame)
    return frame

def no_json(frame):
    frame["more"] = ["not JSON"] * len(frame)
    return frame
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> str:
    made = ModuleType("function_of_a_test")
    exec(FUNCTIONS, made.__dict__)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made.__name__


def parquet(*named: tuple[str, list[Any]]) -> bytes:
    file = io.BytesIO()
    arrays = [pa.array(values) for _, values in named]
    pq.write_table(pa.Table.from_arrays(arrays, names=[name for name, _ in named]), file)
    return file.getvalue()


def joined(
    folder: Path, records: bytes, answers: bytes = b'{"s": 1}\n', output: str = "jsonlines", **more: Any
) -> bytes:
    (folder / "records").write_bytes(records)
    (folder / "answers").write_bytes(answers)
    spec = {
        "columns": ID_X,
        "output_format": output,
        "records_format": "jsonlines",
        "predictions": {"fields": {"s": "p"}},
        **more,
    }
    shard = ShardFiles("s", folder / "records", folder / "answers", ("id", "x"))
    join_shards([shard], folder / "out", JoinSpec.from_dict(spec))
    return (folder / "out").read_bytes()


def test_a_parquet_column_twice_is_an_error(tmp_path: Path) -> None:
    """Not the values of the last of them."""
    content = parquet(("x", [1.0]), ("id", ["a"]), ("x", [2.0]), ("y", [3.0]))
    with pytest.raises(InputError, match=r"one\.csv has column x twice; it has x, id, x, y$"):
        run(tmp_path, content, {"input_format": "parquet", "columns": ID_X})


def test_a_parquet_column_twice_that_nobody_names_is_no_matter(tmp_path: Path) -> None:
    content = parquet(("y", [1.0]), ("id", ["a"]), ("x", [2.0]), ("y", [3.0]))
    manifest, output = run(tmp_path, content, {"input_format": "parquet", "columns": ID_X})
    assert (output / manifest["shards"][0]["records_key"]).read_bytes() == b"a,2.0\n"


def test_a_function_that_makes_a_column_twice_is_named(tmp_path: Path, module: str) -> None:
    function = {"function": {"module": module, "name": "twice"}, "columns": ID_X}
    with pytest.raises(
        FunctionError, match=rf"{module}.twice returned column x twice for records 1 to 1 of .*one.csv$"
    ):
        run(tmp_path, b"a,1\n", function)
    with pytest.raises(
        FunctionError,
        match=rf"{module}.twice returned column x twice for shard s, record 1\. This part was not joined\.$",
    ):
        joined(tmp_path, b'{"id": "a", "x": 1}\n', function={"module": module, "name": "twice"})


def test_without_a_function_an_answer_may_have_the_name_of_a_column_that_is_left_out(tmp_path: Path) -> None:
    found = joined(
        tmp_path, b'{"id": "a", "x": 7}\n', keep=[{"column": "id"}], predictions={"fields": {"s": "x"}}
    )
    assert found == b'{"id": "a", "x": 1}\n'


def test_a_member_gives_way_to_a_column_that_is_published_under_its_name(tmp_path: Path) -> None:
    """Never a key twice."""
    record = b'{"id": "a", "key": "of no column", "x": 7, "more": 1}\n'
    found = joined(tmp_path, record, keep=[{"column": "id", "name": "key"}, {"column": "x"}])
    assert found == b'{"key": "a", "x": 7, "more": 1, "p": 1}\n'


@pytest.mark.parametrize("spelled", [b'"p"', b'"\\u0070"'])
def test_a_member_gives_way_to_the_prediction_however_it_is_spelled(tmp_path: Path, spelled: bytes) -> None:
    found = joined(tmp_path, b'{"id": "a", "x": 7, ' + spelled + b': 3, "t": "\\u00e9\\n"}\n')
    assert json.loads(found, object_pairs_hook=list) == [("id", "a"), ("x", 7), ("t", "é\n"), ("p", 1)]
    kept = joined(tmp_path, b'{"id": "a", "x": 7, "t": "\\u00e9"}\n')
    assert (
        kept == b'{"id": "a", "x": 7, "t": "\\u00e9", "p": 1}\n'
    )  # to the letter, where nothing is in the way


@pytest.mark.parametrize("output", ["csv", "jsonlines", "parquet"])
@pytest.mark.parametrize("form", ["jsonlines", "json"])
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b'{"s": {"a": 1, "a": 2}}', "an object has member 'a' twice"),
        (b'{"s": "cut \\ud83d"}', "'s' escapes half a surrogate pair, which is not text"),
        (b'{"s": {"\\udc00": [1]}}', "'s' escapes half a surrogate pair, which is not text"),
        (b'{"s": ' + b"[" * 700 + b"]" * 700 + b"}", "more than 100 levels deep"),
        (b'{"s": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "more than 100 levels deep"),
        (b'{"s": [1, NaN]}', "'s' holds NaN"),
    ],
)
def test_an_answer_that_cannot_be_published_is_named(
    tmp_path: Path, output: str, form: str, answer: bytes, found: str
) -> None:
    predictions = {"format": form, "fields": {"s": "p"}, "types": {"p": "json"}}
    with pytest.raises(JoinError, match=found):
        joined(tmp_path, b'{"id": "a", "x": 1}\n', answer + b"\n", output, predictions=predictions)


def test_numbers_of_any_length_stay_as_they_were_written(tmp_path: Path) -> None:
    """Python would refuse to read the first, and make infinity of the second; both are JSON."""
    long = b"1" * 5000
    record = b'{"id": "a", "x": 1, "more": [' + long + b", 1e999]}\n"
    predictions = {"fields": {"s": "p"}, "types": {"p": "json"}}
    found = joined(tmp_path, record, b'{"s": [' + long + b", -1e999]}\n", predictions=predictions)
    assert found == record[:-2] + b', "p": [' + long + b", -1e999]}\n"
    with pytest.raises(PredictionError, match="prediction 's' is '111"):
        joined(tmp_path, record, b'{"s": ' + long + b"}\n")


@pytest.mark.parametrize(
    ("name", "column", "found"),
    [
        ("half", "id", r"made id '\\ud83d', which is not text"),
        ("half_in_json", "more", "made more .*, which is not JSON: it escapes half a surrogate pair"),
        ("no_json", "more", "made more 'not JSON', which is not JSON"),
    ],
)
def test_what_a_function_makes_and_no_file_holds_is_named(
    tmp_path: Path, module: str, name: str, column: str, found: str
) -> None:
    adds = [{"name": "more", "type": "json"}] if column == "more" else []
    with pytest.raises(JoinError, match=f"shard s, record 1: {module}.{name} {found}"):
        joined(tmp_path, b'{"id": "a", "x": 1}\n', function={"module": module, "name": name, "adds": adds})


def test_what_a_function_makes_for_the_model_is_text(tmp_path: Path, module: str) -> None:
    function = {"function": {"module": module, "name": "half"}, "columns": ID_X}
    with pytest.raises(
        FunctionError, match=rf"{module}.half made id '\\ud83d' of records 1 to 1 of .*, which is not"
    ):
        run(tmp_path, b"a,1\n", function)


def test_an_object_without_a_required_member_is_an_error(tmp_path: Path) -> None:
    """As in CSV with a header and in Parquet: else the column would be null throughout, and scored."""
    content = (INPUTS / "member-renamed.jsonl").read_bytes()
    kinds = {"input_format": "jsonlines", "columns": columns(id="string", amount="float")}
    with pytest.raises(InputError, match=r"one\.csv: no record has amount; they have amt, id\. Correct"):
        run(tmp_path, content, kinds)


def test_a_member_that_some_records_have_or_that_is_optional_may_be_missing(tmp_path: Path) -> None:
    kinds = {"input_format": "jsonlines", "columns": columns(id="string", amount="float", label="string?")}
    content = b'{"id": "a"}\n' * 40_000 + b'{"id": "b", "amount": null}\n'
    assert run(tmp_path, content, kinds)[0]["records_out"] == 40_001
    manifest, _ = run(tmp_path / "broken", b"no JSON at all\n", kinds)
    assert (manifest["records_out"], manifest["rejected"]) == (0, {"json": 1})


def test_without_preprocessing_the_join_says_which_member_no_record_has(tmp_path: Path) -> None:
    with pytest.raises(JoinError, match="shard s: no record has x"):
        joined(tmp_path, b'{"id": "a", "y": "no x"}\n')
    assert joined(tmp_path, b'{"id": "a", "\\u0078": 5}\n')


def test_a_shard_may_lack_a_member_that_another_has(tmp_path: Path) -> None:
    """Spark, for one, leaves out members that are null: of a small object, it may be all of a column."""
    spec = JoinSpec.from_dict(
        {
            "columns": ID_X,
            "output_format": "jsonlines",
            "records_format": "jsonlines",
            "predictions": {"fields": {"s": "p"}},
        }
    )
    shards = []
    for name, record in (
        ("one", b'{"id": "a"}\n'),
        ("two", b'{"id": "b", "x": 1}\n'),
        ("three", b'{"id": "c"}\n'),
    ):
        (tmp_path / name).write_bytes(record)
        (tmp_path / f"{name}.out").write_bytes(b'{"s": 1}\n')
        shards.append(ShardFiles(name, tmp_path / name, tmp_path / f"{name}.out", ("id", "x")))
    join_shards(shards, tmp_path / "out", spec)
    assert [json.loads(line)["id"] for line in (tmp_path / "out").read_bytes().splitlines()] == [
        "a",
        "b",
        "c",
    ]
    with pytest.raises(JoinError, match="shard one to three: no record has x; correct"):
        join_shards(shards[::2], tmp_path / "none", spec)


@pytest.mark.parametrize(
    ("name", "scored", "rejected"),
    [("surrogate-unnamed.jsonl", ["b"], 1), ("nan-members.jsonl", ["c"], 2), ("deep.jsonl", ["b"], 1)],
)
def test_a_record_that_is_not_json_throughout_costs_itself_alone(
    tmp_path: Path, name: str, scored: list[str], rejected: int
) -> None:
    """Also in a member that nobody names: it would be published with the others."""
    content = (INPUTS / name).read_bytes()
    manifest, output = run(tmp_path, content, {"input_format": "jsonlines", "columns": ID_X})
    records = (output / manifest["shards"][0]["records_key"]).read_bytes()
    assert [json.loads(line)["id"] for line in records.splitlines()] == scored
    assert manifest["rejected"] == {"json": rejected}
