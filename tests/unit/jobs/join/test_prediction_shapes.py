"""The join reads whatever shape the model's answers have; the same records and scores, in every shape."""

from __future__ import annotations

import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.jobs.common.blocks import Block
from batch_inference.jobs.common.csv_reading import UnreadableRecordError
from batch_inference.jobs.common.errors import (
    ConfigError,
    EchoError,
    JoinError,
    PredictionCountError,
    PredictionError,
)
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join import json_stream
from batch_inference.jobs.join.aligned_join import join_shards
from batch_inference.jobs.join.detect import detect_prediction_format
from batch_inference.jobs.join.prediction_parsers import CsvParser, JsonLinesParser
from batch_inference.jobs.join.statistics import PredictionStatistics

RECORDS = "a,1\nb,2\nc,3\n"
COLUMNS = [{"name": "id", "type": "string"}, {"name": "n", "type": "integer"}]


@pytest.mark.parametrize("output", ["csv", "jsonlines", "parquet"])
@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ("jsonlines", '{"score": 1.5}\n{"score": null}\n{"score": NaN}\n'),
        ("json", '{"predictions": [{"score": 1.5}, {"score": null}, {"score": NaN}]}'),
        ("csv", "a,1.5\nb,\nc,nan\n"),
    ],
)
def test_a_number_that_may_be_missing_is_published_as_null_and_counted(
    tmp_path: Path, output: str, answers: str, text: str
) -> None:
    """Where the pipeline says so; without a word it is an error, and so is an answer of another kind."""
    (tmp_path / "records").write_text("a\nb\nc\n")
    (tmp_path / "answers").write_text(text)
    shard = ShardFiles("s", tmp_path / "records", tmp_path / "answers", ("id",))
    predictions = {"format": answers, "fields": {"1" if answers == "csv" else "score": "p"}}
    made = {"columns": [{"name": "id", "type": "string"}], "output_format": output}
    with pytest.raises(PredictionError, match=r"record [23]"):
        join_shards([shard], tmp_path / "out", JoinSpec.from_dict({**made, "predictions": predictions}))
    spec = JoinSpec.from_dict({**made, "predictions": {**predictions, "nullable": ["p"]}})
    statistics = PredictionStatistics(spec)
    join_shards([shard], tmp_path / "out", spec, statistics=statistics)
    profile = statistics.to_dict()["columns"]["p"]
    assert (profile["count"], profile["nulls"], profile["mean"]) == (1, 2, 1.5)
    frame: dict[str, Any] = {
        "csv": pandas.read_csv,
        "jsonlines": partial(pandas.read_json, lines=True),
        "parquet": pandas.read_parquet,
    }
    assert frame[output](tmp_path / "out")["p"].isna().tolist() == [False, True, True]


def joined(folder: Path, answers: str, output: str = "parquet", sent: str = RECORDS, **spec: Any) -> Any:
    """Join the answers with RECORDS; the rows of Parquet, or the text of another format."""
    (folder / "s.csv").write_text(sent)
    (folder / "s.out").write_text(answers)
    path = folder / f"out.{output}"
    shape = JoinSpec.from_dict({"columns": COLUMNS, "output_format": output, **spec})
    join_shards([ShardFiles("s", folder / "s.csv", folder / "s.out", ["id", "n"])], path, shape)
    return pq.read_table(path).to_pylist() if output == "parquet" else path.read_text()


SHAPES: list[tuple[str, str, dict[str, str]]] = [
    ("csv", "0.5\n1\n1.5\n", {"0": "score"}),
    ("csv", "x,0.5\ny,1\nz,1.5\n", {"1": "score"}),
    ("csv", "a,1,0.5\nb,2,1\nc,3,1.5\n", {"-1": "score"}),  # JoinSource Input
    ("jsonlines", '{"score": 0.5}\n{"score": 1}\n{"score": 1.5}\n', {"score": "score"}),
    ("jsonlines", "0.5\n1\n1.5", {"$": "score"}),
    ("jsonlines", "[0.5]\n[1]\n[1.5]\n", {"0": "score"}),
    ("jsonlines", '{"p": {"v": [9, 0.5]}}\n{"p": {"v": [9, 1]}}\n{"p":{"v":[9,1.5]}}\n', {"p.v[1]": "score"}),
    (
        "jsonlines",  # JoinSource Input, with what data capture adds
        (
            '{"SageMakerInferenceId":"i","SageMakerOutput":{"score":0.5},"id":"a"}\n'
            '{"SageMakerInferenceId":"j","SageMakerOutput":{"score":1},"id":"b"}\n'
            '{"SageMakerInput":[1],"SageMakerOutput":{"score":1.5}}\n'
        ),
        {"SageMakerOutput.score": "score"},
    ),
    ("json", '{"predictions": [{"score": 0.5}, {"score": 1}, {"score": 1.5}]}', {"score": "score"}),
    (
        "json",
        '{"predictions":[{"score":0.5}]}{"predictions":[{"score":1},{"score":1.5}]}',
        {"score": "score"},
    ),
    ("json", "[0.5, 1][1.5]", {"$": "score"}),
    ("json", "[[0.5, 7], [1, 7]]\n[[1.5, 7]]\n", {"0": "score"}),
    ("json", '{"score": 0.5}{"score": 1}\n\n{"score": 1.5}', {"score": "score"}),
    ("json", "0.5\n1 1.5", {"$": "score"}),
]


@pytest.mark.parametrize(("shape", "answers", "fields"), SHAPES)
def test_every_shape_gives_the_same_rows(
    tmp_path: Path, shape: str, answers: str, fields: dict[str, str]
) -> None:
    """One row a record, in order, whatever the answers came in."""
    assert joined(tmp_path, answers, predictions={"format": shape, "fields": fields}) == [
        {"id": "a", "n": 1, "score": 0.5},
        {"id": "b", "n": 2, "score": 1.0},
        {"id": "c", "n": 3, "score": 1.5},
    ]


@pytest.mark.parametrize(
    ("shape", "answers", "fields"), [one for one in SHAPES if one[1] not in ("0.5\n1\n1.5", "0.5\n1 1.5")]
)
def test_auto_finds_the_shape_and_says_so(
    tmp_path: Path, shape: str, answers: str, fields: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The finding is in the log; objects glued on one line are told from objects on lines of their own."""
    rows = joined(tmp_path, answers, predictions={"format": "auto", "fields": fields})
    assert [row["score"] for row in rows] == [0.5, 1.0, 1.5]
    assert capsys.readouterr().out.startswith(f"predictions of shard s read as {shape}: ")


def test_auto_refuses_names_of_csv_answers(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"shard s are csv \(its lines are not JSON objects or arrays\); a CSV prediction"
    ):
        joined(tmp_path, "1\n2\n3\n", predictions={"format": "auto", "fields": {"score": "score"}})


def test_an_empty_file_has_no_shape(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    assert detect_prediction_format(tmp_path / "empty", 3) == ("", "")


@pytest.mark.parametrize(
    ("answers", "found", "difference"),
    [
        ('{"predictions": [1, 2]}', 2, "record 3 ('c,3') has no prediction"),
        ("[1, 2][3, 4, 5]", 5, "prediction 4 ('4') has no record"),
    ],
)
def test_documents_are_counted_too(tmp_path: Path, answers: str, found: int, difference: str) -> None:
    with pytest.raises(PredictionCountError) as raised:
        joined(tmp_path, answers, predictions={"format": "json", "fields": {"$": "score"}})
    assert (raised.value.records, raised.value.predictions, raised.value.first_difference) == (
        3,
        found,
        difference,
    )


def test_a_document_that_breaks_off_says_where(tmp_path: Path) -> None:
    with pytest.raises(JoinError, match=r"shard s: .* after 1 documents the file goes on with '\[2, 3'"):
        joined(tmp_path, "[1] [2, 3", predictions={"format": "json", "fields": {"$": "score"}})


@pytest.mark.parametrize(
    ("answer", "source", "problem"),
    [
        ('{"p": [1]}', "p[1]", "'p[1]' is beyond an array of 1 in the prediction"),
        ('{"p": 1}', "p.q", "there is no object with 'p.q'"),
        ('{"p": {"q": [1]}}', "p.q", "'p.q' is [1], allowed is one value; its type may be set to json"),
        ('{"p": [null]}', "p[0]", "'p[0]' is null"),
    ],
)
def test_a_part_that_is_not_there_is_told(tmp_path: Path, answer: str, source: str, problem: str) -> None:
    with pytest.raises(PredictionError) as raised:
        joined(tmp_path, f"{answer}\n" * 3, predictions={"fields": {source: "score"}})
    assert (raised.value.record, problem in str(raised.value)) == (1, True)


@pytest.mark.parametrize("output", ["parquet", "jsonlines", "csv"])
def test_a_nested_part_may_stay_json(tmp_path: Path, output: str) -> None:
    """Its numbers keep their digits, as text in Parquet and CSV, as JSON in JSON Lines."""
    answers = "".join(f'{{"all": {{"cat": 0.{n}0, "dog": [true, null]}}}}\n' for n in range(3))
    found = joined(
        tmp_path, answers, output, predictions={"fields": {"all": "all"}, "types": {"all": "json"}}
    )
    if output == "parquet":
        assert [row["all"] for row in found] == [f'{{"cat": 0.{n}0, "dog": [true, null]}}' for n in range(3)]
    elif output == "jsonlines":
        assert found.split("\n")[1] == '{"id": "b", "n": 2, "all": {"cat": 0.10, "dog": [true, null]}}'
    else:
        assert found.split("\n")[2] == 'b,2,"{""cat"": 0.10, ""dog"": [true, null]}"'


@pytest.mark.parametrize("output", ["parquet", "jsonlines", "csv"])
@pytest.mark.parametrize("value", ["[0.1, NaN]", '{"cat": {"p": [-Infinity]}}', "NaN"])
def test_what_is_no_number_is_found_within_a_part_that_stays_json(
    tmp_path: Path, output: str, value: str
) -> None:
    """As JSON it could be a text only, and no gate looks into it."""
    answers = f'{{"all": [0.1, null]}}\n{{"all": {value}}}\n{{"all": []}}\n'
    spec = {"fields": {"all": "all"}, "types": {"all": "json"}}
    with pytest.raises(PredictionError, match=r"'all' (is|holds) (NaN|-Infinity)") as raised:
        joined(tmp_path, answers, output, predictions=spec)
    assert raised.value.record == 2


def test_an_echoed_id_catches_answers_out_of_order(tmp_path: Path) -> None:
    """Counts are right and the rows are wrong: the id that the model echoes tells, and the right order passes."""
    spec: dict[str, Any] = {"predictions": {"fields": {"score": "score"}, "echo": {"key": "id"}}}
    right = "".join(json.dumps({"key": key, "score": 1}) + "\n" for key in "abc")
    assert [row["id"] for row in joined(tmp_path, right, **spec)] == ["a", "b", "c"]
    swapped = "".join(json.dumps({"key": key, "score": 1}) + "\n" for key in "acb")
    with pytest.raises(EchoError) as raised:
        joined(tmp_path, swapped, **spec)
    error = pickle.loads(pickle.dumps(raised.value))
    assert (error.shard, error.record, error.column) == ("s", 2, "id")
    assert str(error).startswith("shard s, record 2: id is 'b', but its prediction is for 'c'.")


JSON_RECORDS = '{"id": "a", "n": 1.0, "more": [1, 2.50]}\n{ "n": null }\n{}\n'


def test_json_records_keep_their_text_in_json_lines(tmp_path: Path) -> None:
    """The prediction is the last member; members that nobody named stay."""
    found = joined(
        tmp_path,
        "1\n2\n3.0\n",
        "jsonlines",
        JSON_RECORDS,
        records_format="jsonlines",
        is_preprocessed=True,
        predictions={"fields": {"$": "score"}},
    )
    assert (
        found
        == '{"id": "a", "n": 1.0, "more": [1, 2.50], "score": 1}\n{ "n": null, "score": 2}\n{"score": 3.0}\n'
    )


def test_a_member_called_like_a_prediction_gives_way(tmp_path: Path) -> None:
    records = '{"id": "score", "n": 1, "score": 0.10}\n' * 3
    found = joined(
        tmp_path,
        "1\n2\n3\n",
        "jsonlines",
        records,
        records_format="jsonlines",
        predictions={"fields": {"$": "score"}},
    )
    assert found == "".join(f'{{"id": "score", "n": 1, "score": {number}}}\n' for number in (1, 2, 3))


@pytest.mark.parametrize("output", ["parquet", "csv"])
def test_json_records_become_columns(tmp_path: Path, output: str) -> None:
    """By name; null and a missing member are the same, an empty text is not null."""
    records = '{"id": "", "n": 1}\n{"n": null, "id": "b"}\n{"id": "c,d"}\n'
    spec = {"records_format": "jsonlines", "predictions": {"fields": {"$": "score"}}}
    found = joined(tmp_path, "1\n2\n3\n", output, records, **spec)
    if output == "parquet":
        assert [(row["id"], row["n"]) for row in found] == [("", 1), ("b", None), ("c,d", None)]
    else:
        assert found == 'id,n,score\n"",1,1\nb,,2\n"c,d",,3\n'


@settings(max_examples=150)
@given(
    batches=st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5), max_size=6),
    glue=st.sampled_from(["", "\n", " \r\n"]),
    wrap=st.booleans(),
    size=st.integers(1, 30),
)
def test_documents_come_out_whole_however_the_file_is_read(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[float]], glue: str, wrap: bool, size: int
) -> None:
    """Any batches, any glue between them, cut anywhere."""
    path = tmp_path_factory.mktemp("fuzz") / "answers"
    path.write_text(glue.join(json.dumps({"predictions": batch} if wrap else batch) for batch in batches))
    with pytest.MonkeyPatch.context() as patch, path.open("rb") as file:
        patch.setattr(json_stream, "READ_BYTES", size)
        found = [float(answer) for answer in json_stream.iter_predictions(file)]
    assert found == [score for batch in batches for score in batch]


ODD_NUMBERS = ["01", "-01", ".5", "-.5", "5.", "5.e3", "1E+05", "-0", "+1", "1e", "-", "", "1e999", "nan"]
NUMBERS = st.one_of(st.floats().map(repr), st.integers().map(str), st.sampled_from(ODD_NUMBERS))
OBJECTS = ['{"score": %s}', '{"score":%s}', ' { "score" : %s } ', '{"score": %s', "%s}", '{"other": %s}']
LINES = st.sampled_from([*OBJECTS, "%s", '"%s"', "0x%s"])


@settings(max_examples=600)
@given(
    shape=LINES,
    numbers=st.lists(NUMBERS, min_size=1, max_size=5),
    others=st.lists(st.tuples(LINES, NUMBERS, st.integers(0, 5)), max_size=2),
    line_end=st.sampled_from(["\n", "\r\n", "\n\n"]),
    kind=st.sampled_from(["float", "integer"]),
    form=st.sampled_from(["jsonlines", "csv"]),
)
def test_columns_read_by_arrow_are_those_of_the_exact_parser(
    shape: str, numbers: list[str], others: list[tuple[str, str, int]], line_end: str, kind: str, form: str
) -> None:
    """Lines of one shape, and a few of other shapes among them: Arrow gives the same numbers, or leaves them alone."""
    lines = [shape % number for number in numbers]
    for other, number, place in others:
        lines.insert(place, other % number)
    block = Block("".join(line + line_end for line in lines).encode())
    path = "score" if form == "jsonlines" else "0"
    predictions = {"format": form, "fields": {path: "score"}, "types": {"score": kind}}
    spec = JoinSpec.from_dict({"columns": [], "predictions": predictions})
    parser = JsonLinesParser if form == "jsonlines" else CsvParser
    columns = parser(spec).read_arrow_columns(block, pyarrow)
    if columns is None:
        return
    try:
        (texts,) = parser(spec).read_texts(block)
    except UnreadableRecordError as error:
        raise AssertionError(f"Arrow reads {columns} of {block.data!r}") from error
    assert columns[0].to_pylist() == [int(text) if kind == "integer" else float(text) for text in texts]


def test_arrow_reads_the_usual_predictions() -> None:
    """Else the test above would say nothing."""
    block = Block(b'{"score": 0.25}\r\n{"score": -3e-05}\r\n')
    spec = JoinSpec.from_dict({"columns": [], "predictions": {"fields": {"score": "score"}}})
    (column,) = JsonLinesParser(spec).read_arrow_columns(block, pyarrow) or []
    assert column.to_pylist() == [0.25, -3e-05]
