from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.jobs.common import blocks
from batch_inference.jobs.common.errors import JoinError, PredictionCountError, PredictionError
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.aligned_join import join_shards


def spec(output: str, columns: dict[str, str], **predictions: Any) -> JoinSpec:
    return JoinSpec.from_dict(
        {
            "columns": [{"name": name, "type": kind} for name, kind in columns.items()],
            "delimiter": ",",
            "output_format": output,
            "predictions": predictions or {"format": "jsonlines", "fields": {"score": "predicted"}},
        }
    )


COLUMNS = {"id": "string", "n": "integer", "x": "float", "rings": "integer"}


def shard(
    folder: Path, name: str, records: str, predictions: str, columns: Sequence[str] = tuple(COLUMNS)
) -> ShardFiles:
    (folder / f"{name}.csv").write_bytes(records.encode())
    (folder / f"{name}.out").write_bytes(predictions.encode())
    return ShardFiles(name, folder / f"{name}.csv", folder / f"{name}.out", tuple(columns))


def scores(*values: Any) -> str:
    return "".join(json.dumps({"score": value}) + "\n" for value in values)


RECORDS = '000123,1,0.1000,9\n"a ""b"", c",2,,10\nNA,-3,1e-3,\n'


def test_csv_keeps_the_bytes_of_records_and_predictions(tmp_path: Path) -> None:
    """Leading zeros, trailing zeros, quotes and the digits of a score are published as they came."""
    files = shard(tmp_path, "algo-1-00000", RECORDS, '{"score": 9.50}\n{"score": 1e1}\n{"score": -0.25}\n')
    counts = join_shards([files], tmp_path / "out.csv", spec("csv", COLUMNS))
    assert counts == {"algo-1-00000": 3}
    assert (tmp_path / "out.csv").read_text() == (
        'id,n,x,rings,predicted\n000123,1,0.1000,9,9.50\n"a ""b"", c",2,,10,1e1\nNA,-3,1e-3,,-0.25\n'
    )
    assert blocks.count_records(tmp_path / "out.csv", ",") == 4


def test_parquet_has_the_pinned_types_and_exact_strings(tmp_path: Path) -> None:
    """Texts such as NA and 000123 stay texts, an empty cell is a null, and a score of whole numbers stays a float."""
    files = shard(tmp_path, "s", RECORDS, scores(9, 10, -1))
    join_shards([files], tmp_path / "out.parquet", spec("parquet", COLUMNS))
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.types == [pa.string(), pa.int64(), pa.float64(), pa.int64(), pa.float64()]
    assert table.to_pylist() == [
        {"id": "000123", "n": 1, "x": 0.1, "rings": 9, "predicted": 9.0},
        {"id": 'a "b", c', "n": 2, "x": None, "rings": 10, "predicted": 10.0},
        {"id": "NA", "n": -3, "x": 0.001, "rings": None, "predicted": -1.0},
    ]


def test_json_lines_keep_numbers_as_they_were_written(tmp_path: Path) -> None:
    """A number that JSON allows keeps its digits; one that it does not is spelled so that it does."""
    files = shard(tmp_path, "s", "a,+5,.5,\n", '{"score": 9.50}\n')
    join_shards([files], tmp_path / "out.jsonl", spec("jsonlines", COLUMNS))
    assert (
        tmp_path / "out.jsonl"
    ).read_text() == '{"id": "a", "n": 5, "x": 0.5, "rings": null, "predicted": 9.50}\n'
    assert blocks.count_records(tmp_path / "out.jsonl", None) == 1


@pytest.mark.parametrize("output", ["csv", "parquet", "jsonlines"])
def test_shards_with_and_without_the_label_make_one_table(tmp_path: Path, output: str) -> None:
    """A shard whose records lack the optional column gets nulls there; the order of the shards is kept."""
    path = tmp_path / f"out.{output}"
    first = shard(tmp_path, "a", "x,1,1.5\ny,2,2.5\n", scores(1, 2), ["id", "n", "x"])
    second = shard(tmp_path, "b", "z,3,3.5,7\n", scores(3))
    third = shard(tmp_path, "c", "4.5,w,4\n", scores(4), ["x", "id", "n"])
    counts = join_shards([first, second, third], path, spec(output, COLUMNS))
    assert list(counts.items()) == [("a", 2), ("b", 1), ("c", 1)]
    rows = {
        "csv": lambda: [
            [row["id"], float(row["x"]), int(row["rings"] or 0), float(row["predicted"])]
            for row in csv.DictReader(path.read_text().splitlines())
        ],
        "parquet": lambda: [
            [row["id"], row["x"], row["rings"] or 0, row["predicted"]]
            for row in pq.read_table(path).to_pylist()
        ],
        "jsonlines": lambda: [
            [row["id"], row["x"], row["rings"] or 0, row["predicted"]]
            for row in map(json.loads, path.read_text().splitlines())
        ],
    }[output]()
    assert rows == [["x", 1.5, 0, 1.0], ["y", 2.5, 0, 2.0], ["z", 3.5, 7, 3.0], ["w", 4.5, 0, 4.0]]


@pytest.mark.parametrize(
    ("predictions", "found", "difference"),
    [
        (scores(1, 2), 2, "record 3 ('NA,-3,1e-3,') has no prediction"),
        (scores(1, 2, 3, 4), 4, """prediction 4 ('{"score": 4}') has no record"""),
        ("", 0, "record 1 ('000123,1,0.1000,9') has no prediction"),
        ('{"score": 1}\n\n', 1, "line 2 of the predictions is blank"),
    ],
)
def test_counts_that_differ_name_shard_counts_and_first_difference(
    tmp_path: Path, predictions: str, found: int, difference: str
) -> None:
    """Nothing is written, not even in part, and the error survives pickling, as Airflow needs."""
    good = shard(tmp_path, "good", RECORDS, scores(1, 2, 3))
    bad = shard(tmp_path, "bad", RECORDS, predictions)
    with pytest.raises(PredictionCountError) as raised:
        join_shards([good, bad], tmp_path / "out.csv", spec("csv", COLUMNS))
    error = pickle.loads(pickle.dumps(raised.value))
    assert (error.shard, error.records, error.predictions, error.first_difference) == (
        "bad",
        3,
        found,
        difference,
    )
    assert str(error).startswith(f"shard bad: 3 records but {found} predictions; {difference}.")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "bad.out", "good.csv", "good.out"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ('{"score": null}', "'score' is null"),
        ('{"score": NaN}', "'score' is NaN"),
        ('{"score": 1e999}', "'score' is '1e999', allowed is a finite number"),
        ('{"other": 1}', "there is no 'score'"),
        ('{"score": "high"}', "'score' is not a number"),
        ('{"score": true}', "'score' is true, allowed is a number"),
        ("[1]", "there is no object with 'score'"),
        ('{"score": 1} {"score": 2}', "is not JSON"),
        ("", "its prediction is blank"),
        ('"a"', "there is no object with"),
    ],
)
def test_a_prediction_that_is_none_names_its_record(tmp_path: Path, answer: str, problem: str) -> None:
    """null, NaN, a missing member, a text for a number and an empty line are told apart, by record."""
    answers = f'{{"score": 1}}\n{answer}\n{{"score": 3}}\n'
    files = shard(tmp_path, "s", RECORDS, answers)
    with pytest.raises(PredictionError) as raised:
        join_shards([files], tmp_path / "out.parquet", spec("parquet", COLUMNS))
    error = pickle.loads(pickle.dumps(raised.value))
    assert (error.shard, error.record) == ("s", 2)
    assert problem in str(error)
    assert not (tmp_path / "out.parquet").exists()


def test_blank_lines_between_batches_are_no_predictions(tmp_path: Path) -> None:
    """A server that ends each batch with an empty line still has one prediction a record."""
    files = shard(tmp_path, "s", RECORDS, scores(1, 2) + "\n" + scores(3) + "\n \r\n")
    assert join_shards([files], tmp_path / "out.csv", spec("csv", COLUMNS)) == {"s": 3}
    assert [row["predicted"] for row in csv.DictReader((tmp_path / "out.csv").read_text().splitlines())] == [
        "1",
        "2",
        "3",
    ]


def test_members_may_come_in_any_order_with_others_among_them(tmp_path: Path) -> None:
    """Two fields of an answer become two columns with their types, whatever else it holds."""
    answers = (
        '{"predicted_label": 1, "score": 0.9, "more": 3}\n'
        '{"score": 0.2, "predicted_label": 0, "note": "x"}\n'
        '{"predicted_label":1,"score":0.7,"more":{"deep":[1]}}\n'
    )
    shape = spec(
        "parquet",
        COLUMNS,
        fields={"score": "score", "predicted_label": "label"},
        types={"label": "integer"},
    )
    join_shards([shard(tmp_path, "s", RECORDS, answers)], tmp_path / "out.parquet", shape)
    table = pq.read_table(tmp_path / "out.parquet", columns=["score", "label"])
    assert table.schema.types == [pa.float64(), pa.int64()]
    assert table.to_pydict() == {"score": [0.9, 0.2, 0.7], "label": [1, 0, 1]}


def test_csv_answers_are_taken_by_position(tmp_path: Path) -> None:
    """Quoted texts and several columns; a short answer names its record."""
    shape = spec("csv", COLUMNS, format="csv", fields={"1": "kind", "0": "score"}, types={"kind": "string"})
    files = shard(tmp_path, "s", RECORDS, '0.5,"a, ""b"""\n1,plain\n2,\n')
    join_shards([files], tmp_path / "out.csv", shape)
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [(row["kind"], row["score"]) for row in rows] == [('a, "b"', "0.5"), ("plain", "1"), ("", "2")]
    short = shard(tmp_path, "t", RECORDS, "1,a\n2\n3,c\n")
    with pytest.raises(PredictionError, match=r"shard t, record 2: the prediction '2' has 1 columns, not 2"):
        join_shards([short], tmp_path / "out.csv", shape)


@pytest.mark.parametrize("installed", [True, False])
def test_csv_is_the_same_with_and_without_arrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    """An image without pyarrow writes the same bytes, and refuses the same answers."""
    if not installed:
        monkeypatch.setattr("batch_inference.jobs.join.sinks.create_number_appender", lambda _: None)
    shape = spec("csv", COLUMNS, format="csv", fields={"0": "score"})
    files = shard(tmp_path, "s", 'a,1,2,3\n"b\nb",1,,\nc,1,2,3\n', "0.50\n-1e-3\n7")
    join_shards([files], tmp_path / "out.csv", shape)
    expected = 'id,n,x,rings,score\na,1,2,3,0.50\n"b\nb",1,,,-1e-3\nc,1,2,3,7\n'
    assert (tmp_path / "out.csv").read_text() == expected
    for bad in ("nan", "1e999", "--1", "", "0x1"):
        wrong = shard(tmp_path, "t", RECORDS, f"1\n{bad}\n3\n")
        with pytest.raises(PredictionError, match="shard t, record 2: "):
            join_shards([wrong], tmp_path / "out.csv", shape)


def test_a_record_of_another_arity_is_named(tmp_path: Path) -> None:
    files = shard(tmp_path, "s", "a,1,2.5,3\nb,2\n", scores(1, 2))
    with pytest.raises(JoinError, match=r"shard s, record 2: 2 fields, its columns are id, n, x, rings"):
        join_shards([files], tmp_path / "out.parquet", spec("parquet", COLUMNS))


@pytest.mark.parametrize("output", ["csv", "parquet", "jsonlines"])
def test_no_records_give_a_file_without_rows(tmp_path: Path, output: str) -> None:
    files = shard(tmp_path, "s", "", "")
    path = tmp_path / f"out.{output}"
    assert join_shards([files], path, spec(output, COLUMNS)) == {"s": 0}
    assert (
        blocks.count_records(path, "," if output == "csv" else None) - (output == "csv") == 0
        if output != "parquet"
        else pq.read_table(path).num_rows == 0
    )


CELL = st.text(alphabet='a0,"\n\r é\u2028', max_size=5)


@settings(max_examples=120)
@given(
    rows=st.lists(st.tuples(CELL, CELL), max_size=30),
    drift=st.sampled_from([0, 0, 0, -1, 1]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    size=st.integers(8, 200),
    output=st.sampled_from(["csv", "parquet", "jsonlines"]),
    answered=st.sampled_from(["jsonlines", "csv"]),
)
def test_any_table_joins_exactly_or_raises_with_the_right_counts(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    drift: int,
    quoting: Any,
    size: int,
    output: str,
    answered: str,
) -> None:
    """Every row once, in its place, whatever its text and wherever blocks are cut; or the two counts."""
    folder = tmp_path_factory.mktemp("fuzz")
    with (folder / "s.csv").open("w", newline="") as file:
        for row in rows:  # the csv module quotes a carriage return only where it is part of the line end
            text = io.StringIO()
            csv.writer(text, lineterminator="\r\n", quoting=quoting).writerow(row)
            file.write(text.getvalue()[:-2] + "\n")
    answers = max(0, len(rows) + drift)
    line = {"jsonlines": '{{"score": {}}}\n', "csv": "{}\n"}[answered]
    (folder / "s.out").write_text("".join(line.format(number) for number in range(answers)))
    files = ShardFiles("s", folder / "s.csv", folder / "s.out", ["a", "b"])
    path = folder / f"out.{output}"
    fields = {"0" if answered == "csv" else "score": "predicted"}
    shape = spec(output, {"a": "string", "b": "string"}, format=answered, fields=fields)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", size)
        if answers != len(rows):
            with pytest.raises(PredictionCountError) as raised:
                join_shards([files], path, shape)
            assert (raised.value.records, raised.value.predictions) == (len(rows), answers)
            return
        join_shards([files], path, shape)
    found = {
        "csv": lambda: [
            (row["a"], row["b"], float(row["predicted"]))
            for row in csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""))
        ],
        "parquet": lambda: [
            (row["a"] or "", row["b"] or "", row["predicted"]) for row in pq.read_table(path).to_pylist()
        ],
        "jsonlines": lambda: [
            (row["a"] or "", row["b"] or "", row["predicted"])
            for row in map(json.loads, path.read_text("utf-8").split("\n")[:-1])
        ],
    }[output]()
    assert found == [(*row, float(number)) for number, row in enumerate(rows)]


@pytest.mark.parametrize("output", ["parquet", "csv", "jsonlines"])
def test_a_group_of_which_nothing_is_left_is_a_part_without_rows(tmp_path: Path, output: str) -> None:
    """All of its records were refused by the model: the columns are there all the same."""
    part = tmp_path / f"part.{output}"
    assert join_shards([], part, spec(output, COLUMNS)) == {}
    if output == "parquet":
        assert (pq.read_table(part).num_rows, pq.read_schema(part).names) == (0, [*COLUMNS, "predicted"])
    else:
        assert blocks.count_records(part, "," if output == "csv" else None) == (1 if output == "csv" else 0)


@pytest.mark.parametrize(
    ("output", "expected"), [("csv", "id,s\na,1.50\nb,2\n"), ("jsonlines", None), ("parquet", None)]
)
def test_csv_answers_may_end_in_carriage_returns(tmp_path: Path, output: str, expected: str | None) -> None:
    """As servers on Windows, and Python's own csv module, write them; the output's lines do not."""
    files = shard(tmp_path, "s", "a\nb\n", "1.50\r\n2\r\n", ["id"])
    path = tmp_path / f"out.{output}"
    join_shards([files], path, spec(output, {"id": "string"}, format="csv", fields={"0": "s"}))
    if expected is not None:
        assert path.read_bytes().decode() == expected
    rows = pq.read_table(path).to_pylist() if output == "parquet" else []
    rows = [json.loads(line) for line in path.read_text().splitlines()] if output == "jsonlines" else rows
    assert output == "csv" or rows == [{"id": "a", "s": 1.5}, {"id": "b", "s": 2.0}]
