"""An empty text is not a null: what Parquet, JSON and answers tell apart stays apart, in every output."""

from __future__ import annotations

import bz2
import csv
import io
import json
import lzma
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.jobs.common import blocks
from batch_inference.jobs.common.csv_reading import find_empty_strings, format_csv_lines
from batch_inference.jobs.common.errors import JoinError
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.aligned_join import join_shards
from batch_inference.requests.sagemaker import build_join_spec
from tests.unit.builders import pipeline
from tests.unit.jobs.containers import columns
from tests.unit.jobs.hostile_inputs import gzip_bytes, parquet, run, zstd

OUTPUTS = ["csv", "jsonlines", "parquet"]
NOTES = ["a", "", None, 'say ""', ',"",', "\n", "", None]
CELLS = st.one_of(st.none(), st.text(alphabet='a,"\n\r', max_size=4))


@pytest.fixture(params=["with Arrow", "without Arrow"])
def arrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are read alike where Arrow does not read them."""
    if request.param == "without Arrow":
        monkeypatch.setattr("batch_inference.jobs.join.records.RecordBlock.read_arrow_table", lambda *_: None)


def joined(folder: Path, path: Path, kinds: dict[str, str], output: str, **spec: Any) -> list[dict[str, Any]]:
    """The published rows. CSV as Arrow reads it, which tells `""` from nothing."""
    count = blocks.count_records(path, None if spec.get("records_format") else ",")
    (folder / "answers").write_text("1\n" * count)
    document = {
        "columns": columns(**kinds),
        "is_preprocessed": True,
        "output_format": output,
        "predictions": {"format": "csv", "fields": {"0": "p"}},
        **spec,
    }
    shard = ShardFiles("s", path, folder / "answers", tuple(kinds))
    join_shards([shard], folder / "out", JoinSpec.from_dict(document))
    if output == "parquet":
        return list(pq.read_table(folder / "out").to_pylist())
    if output == "jsonlines":
        return [json.loads(line) for line in (folder / "out").read_bytes().splitlines()]
    options = pacsv.ConvertOptions(
        column_types=dict.fromkeys(kinds, pa.string()), strings_can_be_null=True, null_values=[""],
        quoted_strings_can_be_null=False,
    )  # fmt: skip
    parsing = pacsv.ParseOptions(newlines_in_values=True)
    return list(pacsv.read_csv(folder / "out", parse_options=parsing, convert_options=options).to_pylist())


def preprocessed(folder: Path, **data: Any) -> Path:
    """The records that preprocessing makes of a Parquet file of texts and a number."""
    kinds = columns(**{name: "integer" if name == "n" else "string" for name in data})
    changes = {"input_format": "parquet", "columns": kinds, "feature_columns": [next(iter(data))]}
    manifest, output = run(folder, parquet(**data), changes)
    (shard,) = manifest["shards"]
    return Path(output / shard["records_key"])


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kept", [["n", "note"], ["note"]])
def test_what_parquet_tells_apart_is_published_so(tmp_path: Path, output: str, kept: list[str]) -> None:
    """With all columns and with a choice of them."""
    records = preprocessed(tmp_path, n=list(range(8)), note=NOTES)
    rows = joined(
        tmp_path, records, {"n": "integer", "note": "string"}, output, has_quoted_empty_strings=True,
        keep=[{"column": name} for name in kept],
    )  # fmt: skip
    assert [row["note"] for row in rows] == NOTES


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("output", OUTPUTS)
def test_it_does_where_the_text_is_the_only_column(tmp_path: Path, output: str) -> None:
    """A null is an empty line then."""
    notes = [note for note in NOTES if note != "\n"]  # which cannot be sent to the model
    records = preprocessed(tmp_path, note=notes)
    rows = joined(tmp_path, records, {"note": "string"}, output, has_quoted_empty_strings=True)
    assert [row["note"] for row in rows] == notes


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_function_is_given_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    made = ModuleType("function_of_empty_texts")

    def function(frame: Any) -> Any:
        assert [value for value in frame["note"].tolist() if value is not None] == [
            one for one in NOTES if one is not None
        ]
        frame["same"] = frame["note"]
        return frame

    made.function = function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, made.__name__, made)
    adds = [{"name": "same", "type": "string"}]
    records = preprocessed(tmp_path, n=list(range(8)), note=NOTES)
    rows = joined(
        tmp_path, records, {"n": "integer", "note": "string"}, output, has_quoted_empty_strings=True,
        function={"module": made.__name__, "name": "function", "adds": adds},
    )  # fmt: skip
    found = [row["note"] for row in rows], [row["same"] or None for row in rows]
    assert found == (NOTES, [note or None for note in NOTES])
    if output != "csv":  # of which only the texts of these types were asked for
        assert [row["same"] for row in rows] == NOTES


@pytest.mark.parametrize("output", OUTPUTS)
def test_so_is_what_json_lines_tell_apart(tmp_path: Path, output: str) -> None:
    records = tmp_path / "records.jsonl"
    records.write_text("".join(f"{json.dumps({'n': 1, 'note': note})}\n" for note in NOTES))
    rows = joined(tmp_path, records, {"n": "integer", "note": "string"}, output, records_format="jsonlines")
    assert [row["note"] for row in rows] == NOTES


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("output", ["jsonlines", "parquet"])
def test_in_csv_of_others_both_are_null(tmp_path: Path, output: str) -> None:
    """Of its writers some put quotes around all cells, and some around none."""
    records = tmp_path / "records.csv"
    records.write_text('1,""\n2,\n')
    rows = joined(tmp_path, records, {"n": "integer", "note": "string"}, output)
    assert [row["note"] for row in rows] == [None, None]


def test_a_number_that_is_an_empty_text_is_missing(tmp_path: Path) -> None:
    """Readers of CSV that take `""` for a text would find no number there."""
    records = preprocessed(tmp_path, note=["a", "b", ""], n=["1", "", None])
    assert records.read_bytes() == b'a,1\nb,\n"",\n'


def test_a_number_that_a_function_leaves_empty_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("empty_numbers")
    vars(module)["half"] = lambda frame: frame.assign(n="", share="", label="")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (tmp_path / "records.csv").write_text("a,1\n")
    adds = [{"name": "share", "type": "float"}, {"name": "label", "type": "string"}]
    function = {"module": module.__name__, "name": "half", "adds": adds}
    joined(tmp_path, tmp_path / "records.csv", {"note": "string", "n": "integer"}, "csv", function=function)
    assert (tmp_path / "out").read_text() == 'note,n,p,share,label\na,,1,,""\n'


def test_the_join_is_told_where_texts_are_told_apart() -> None:
    assert JoinSpec.from_dict(build_join_spec(pipeline({"input.format": "parquet"}))).has_quoted_empty_strings
    assert not JoinSpec.from_dict(build_join_spec(pipeline())).has_quoted_empty_strings


@settings(max_examples=200)
@given(
    rows=st.integers(1, 3).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width))),
    delimiter=st.sampled_from(",;"),
)
def test_any_cells_are_spelled_so_that_they_read_back(rows: list[list[str | None]], delimiter: str) -> None:
    lines = format_csv_lines(rows, delimiter)
    text = "".join(f"{line}\n" for line in lines)
    read = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    assert [row or [""] for row in read] == [[cell or "" for cell in row] for row in rows]
    for row, line in zip(rows, lines, strict=True):
        assert find_empty_strings(line, delimiter)[: len(row)] == [cell == "" for cell in row]


def zip_archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "1\n2\n")
    return file.getvalue()


@pytest.mark.parametrize("form", ["jsonlines", "csv", "json", "auto"])
@pytest.mark.parametrize(
    ("answers", "found"),
    [
        (gzip_bytes(b"1\n2\n"), "gzip data"),
        (zstd(b"1\n2\n"), "zstd data"),
        (bz2.compress(b"1\n2\n"), "bzip2 data"),
        (lzma.compress(b"1\n2\n"), "xz data"),
        (zip_archive(), "a zip archive"),
        (parquet(p=[1, 2]), "a Parquet file"),
        ("1\n2\n".encode("utf-16"), "text in utf-16"),
    ],
)
def test_answers_that_are_not_text_are_named(tmp_path: Path, form: str, answers: bytes, found: str) -> None:
    """Not by how many lines they seem to be."""
    (tmp_path / "records").write_text("a\nb\n")
    (tmp_path / "answers").write_bytes(answers)
    fields = {"0": "p"} if form != "json" else {"$": "p"}
    spec = {
        "columns": columns(id="string"),
        "output_format": "csv",
        "predictions": {"format": form, "fields": fields},
    }
    shard = ShardFiles("s", tmp_path / "records", tmp_path / "answers", ("id",))
    with pytest.raises(
        JoinError, match=f"^shard s: the predictions are {found}, and must be plain utf-8 text"
    ):
        join_shards([shard], tmp_path / "out", JoinSpec.from_dict(spec))


@pytest.mark.parametrize("label", ["PAR1S", "PAR1", "BZh"])
def test_a_label_that_begins_like_an_archive_is_a_label(tmp_path: Path, label: str) -> None:
    (tmp_path / "records").write_text("a\n")
    (tmp_path / "answers").write_text(f"{label}\n")
    predictions = {"format": "csv", "fields": {"0": "p"}, "types": {"p": "string"}}
    spec = JoinSpec.from_dict(
        {"columns": columns(id="string"), "output_format": "csv", "predictions": predictions}
    )
    join_shards(
        [ShardFiles("s", tmp_path / "records", tmp_path / "answers", ("id",))], tmp_path / "out", spec
    )
    assert (tmp_path / "out").read_text() == f"id,p\na,{label}\n"
