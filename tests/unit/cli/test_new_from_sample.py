"""`batch-inference new --from`: the file that it writes is valid, and preprocess rejects nothing of the sample."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_inference.cli.authoring.input_sample import (
    InputSample,
    SampleError,
    list_sample_files,
    sample_input,
)
from batch_inference.cli.main import main
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.pipeline_files import load_pipeline_by_id
from batch_inference.jobs.config.preprocess_config import parse_config
from batch_inference.jobs.preprocess.objects import InputObject, ObjectPart
from batch_inference.jobs.preprocess.record_validator import RecordValidator
from batch_inference.jobs.preprocess.rejects import Reject
from batch_inference.jobs.preprocess.source import PartReader
from tests.unit.jobs.containers import config

CELLS = {
    "string": st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=8)
    | st.sampled_from(
        ['say "hi"', "two\nlines", "a,b;c\td|e", "naïve 日本", "O'Neil", " x ", "01234", "NULL"]
    ),
    "integer": st.integers(-(1 << 63), (1 << 63) - 1).map(str),
    "long": st.integers(1 << 63, 10**30).map(str),
    "float": st.floats(allow_nan=False, allow_infinity=False).map(repr),
    "decimal": st.decimals(-(10**12), 10**12, places=6, allow_nan=False).map(
        lambda number: format(number, "f")
    ),
    "boolean": st.sampled_from(["true", "false"]),
    "date": st.dates().map(str),
    "timestamp": st.datetimes().map(lambda moment: moment.isoformat()),
    "timestamptz": st.datetimes().map(lambda moment: moment.isoformat() + "+02:00"),
    "d/m/y": st.dates().map(lambda day: day.strftime("%d/%m/%y")),
    "mixed": st.integers().map(str) | st.sampled_from(["n/a", "x"]),
}
TABLES = st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=5).flatmap(
    lambda kinds: st.lists(st.tuples(*(CELLS[kind] | st.just("") for kind in kinds)), min_size=1, max_size=12)
)


def write_csv(rows: Sequence[Sequence[str]], header: Sequence[str] | None, delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerows([*([header] if header else []), *rows])
    return text.getvalue()


def make_project(folder: Path) -> Path:
    (folder / "dags" / "pipelines").mkdir(parents=True, exist_ok=True)
    (folder / "dags" / "all.py").write_text("from batch_inference import pipeline_dags\npipeline_dags()")
    return folder


def write_pipeline(folder: Path, source: Path, *options: str) -> Pipeline:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(make_project(folder))
        assert main(["new", "churn", "--from", str(source), *options]) == 0
    return load_pipeline_by_id("churn", folder / "dags" / "pipelines")


def validate(pipeline: Pipeline, source: Path) -> tuple[int, list[Reject]]:
    """How many records preprocess reads of the file, and the rejects among them."""
    stated = pipeline.input.model_dump(mode="json", exclude={"uri", "columns"})
    columns = [
        column.model_dump(mode="json", exclude_defaults=True) | {"type": column.type}
        for column in pipeline.input.columns
    ]
    document = config(columns, **{f"input_{key}": value for key, value in stated.items()})
    parsed = parse_config({**document, "feature_columns": list(pipeline.feature_columns)})
    validator = RecordValidator(parsed)
    part = ObjectPart(InputObject(source, str(source), source.stat().st_size), 0, source.stat().st_size)
    results = [
        (len(batch), validator.validate(names, batch, {}, ""))
        for names, batch in PartReader(part, parsed.input)
    ]
    return sum(count for count, _ in results), [
        reject for _, result in results for reject in result.rejects.values()
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=TABLES,
    has_header=st.booleans(),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    compress=st.booleans(),
)
def test_preprocess_rejects_nothing_of_a_csv_sample(
    rows: list[tuple[str, ...]], has_header: bool, delimiter: str, encoding: str, compress: bool
) -> None:
    header = [f"name {number}" for number in range(len(rows[0]))] if has_header else None
    data = write_csv(rows, header, delimiter).encode(encoding)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / ("in.csv.gz" if compress else "in.csv")
        source.write_bytes(gzip.compress(data) if compress else data)
        pipeline = write_pipeline(Path(scratch), source, "--header" if has_header else "--no-header")
        read, rejects = validate(pipeline, source)
    if all(any("\n" in row[at] for row in rows) for at in range(len(rows[0]))):
        rejects = [reject for reject in rejects if reject[0] != "line break"]
    assert rejects == []
    blank = sum(not any(row) for row in rows) if len(rows[0]) == 1 else 0
    assert read in (len(rows), len(rows) - blank)
    if len(rows[0]) > 1:
        assert len(pipeline.input.columns) == len(rows[0])


JSON_VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=["Cs", "Cc"])) | st.lists(st.integers(), max_size=2)
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["id", "b c", "naïve", "d:e"]), JSON_VALUES, min_size=1), min_size=1
    )
)
def test_preprocess_rejects_nothing_of_a_json_lines_sample(records: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "in.jsonl"
        source.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        pipeline = write_pipeline(Path(scratch), source)
        read, rejects = validate(pipeline, source)
    assert (read, [reject for reject in rejects if reject[0] != "line break"]) == (len(records), [])
    assert pipeline.input.format == "jsonlines"


def guess(folder: Path, data: bytes | str, name: str = "in.csv") -> InputSample:
    source = folder / name
    source.write_bytes(data if isinstance(data, bytes) else data.encode())
    return sample_input(list_sample_files(source))


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", ""], "integer"),
        (["1", "2.5"], "float"),
        (["01234", "80331"], "string"),
        (["9223372036854775808"], "decimal(38,0)"),
        (["0.1", "12345678901234.5678"], "decimal(38,4)"),
        (["0.123456789012345678"], "decimal(38,18)"),
        (["1e400"], "string"),
        (["true", "False"], "boolean"),
        (["yes", "no"], "boolean"),
        (["F", "F"], "string"),
        (["0", "1"], "integer"),
        (["2026-01-31", "2024-02-29"], "date"),
        (["2026-02-30"], "string"),
        (["31/01/2026", "01/02/2026"], "string"),
        (["2026-01-31T10:00:00", "2026-01-31 10:00:00.25"], "timestamp"),
        (["2026-01-31T10:00:00Z", "2026-01-31 10:00:00+02:00"], "timestamptz"),
        (["2026-01-31T10:00:00Z", "2026-01-31T10:00:00"], "string"),
        (["1", "n/a"], "string"),
        (["nan"], "string"),
        (["", ""], "string"),
        (["+4930123"], "string"),
    ],
)  # fmt: skip
def test_the_narrowest_type_that_loses_nothing(tmp_path: Path, cells: list[str], kind: str) -> None:
    text = "word,value\n" + "".join(f"w{number},{cell}\n" for number, cell in enumerate(cells))
    sample = sample_input([_write(tmp_path, text)], header=True)
    assert [column.type for column in sample.columns] == ["string", kind]


def _write(folder: Path, text: str) -> Path:
    (folder / "in.csv").write_text(text)
    return folder / "in.csv"


@pytest.mark.parametrize(
    ("text", "has_header"),
    [
        ("id,amount\n1,2.5\n", True),
        ("name,city\nAnn,Rome\nBob,Oslo\n", True),
        ("1,2.5\n2,3\n", False),
        ("2026-01-31,x\n2026-02-01,y\n", False),
        ("red,green\nred,blue\n", False),
        ("id,2024,2025\na,1,2\n", False),
        ("word\nother\n", True),
    ],
)
def test_a_header_is_detected(tmp_path: Path, text: str, has_header: bool) -> None:
    assert guess(tmp_path, text).header is has_header


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("a;b\n1,5;2\n2,5;3\n", {"delimiter": ";"}),
        ("a\tb\n1\t2\n", {"delimiter": "\t"}),
        ("a,b\n1,2\n".encode("utf-16"), {"encoding": "utf-16"}),
        (codecs.BOM_UTF8 + b"a,b\n1,2\n", {"encoding": "utf-8", "header": True}),
        ("a,b\n1,caf\u00e9\n".encode("latin-1"), {"encoding": "latin-1"}),
        ("a,b\n1,\u20ac5\n".encode("cp1252"), {"encoding": "cp1252"}),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), {"compression": "gzip"}),
        (pyarrow.compress(b"a,b\n1,2\n", "zstd", asbytes=True), {"compression": "zstd"}),
        ('a,b\n"x \\"y\\", z",1\n"v, w",2\n', {"escape": "\\"}),
        ('{"a": 1}\n{"a": 2}\n', {"format": "jsonlines"}),
    ],
)  # fmt: skip
def test_format_delimiter_encoding_and_compression_are_detected(
    tmp_path: Path, data: bytes | str, expected: dict[str, Any]
) -> None:
    found = guess(tmp_path, data)
    assert {key: getattr(found, key) for key in expected} == expected
    assert found.record_count >= 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "has no data: it is empty"),
        (",amount\n0,2.5\n", "no name for column 1 of 2.*index=False"),
        ("a,a\n1,2\n", "the name 'a' twice, for the columns 1 and 2"),
        ('[{"a": 1}]', "one JSON array; allowed is JSON Lines"),
        (b"\0\1\2\3,x\n", "NUL bytes"),
        ('{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        (b"PAR1 and no more", "is not a Parquet file"),
    ],
)
def test_what_preprocess_could_not_read_is_refused(tmp_path: Path, data: bytes | str, words: str) -> None:
    with pytest.raises(SampleError, match=words):
        guess(tmp_path, data)


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    import datetime
    import decimal

    table = pyarrow.table(
        {
            "id": ["a", "b"],
            "day": [datetime.date(2026, 1, 31), None],
            "moment": pyarrow.array(
                [datetime.datetime(2026, 1, 31, 10), None], pyarrow.timestamp("us", tz="UTC")
            ),
            "amount": pyarrow.array(
                [decimal.Decimal("12345678901234567.89"), None], pyarrow.decimal128(19, 2)
            ),
            "is_new": [True, False],
            "n": pyarrow.array([1, 2], pyarrow.int32()),
        }
    )
    source = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(table, source)
    pipeline = write_pipeline(tmp_path, source)
    assert pipeline.column_types == {
        "id": "string", "day": "date", "moment": "timestamptz", "amount": "decimal(38,2)", "is_new": "boolean",
        "n": "integer",
    }  # fmt: skip
    assert validate(pipeline, source) == (2, [])


def test_a_folder_is_sampled_without_control_files_and_a_column_of_some_files_is_optional(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "_SUCCESS").write_text("x")
    (folder / "1.csv").write_text("customer_id,rings,weight\nA,7,1.5\n")
    (folder / "2.csv").write_text("customer_id,weight\nB,\n")
    pipeline = write_pipeline(tmp_path, folder)
    assert [(column.name, column.optional) for column in pipeline.input.columns] == [
        ("customer_id", False), ("weight", False), ("rings", True),
    ]  # fmt: skip
    assert pipeline.feature_columns == ("weight",)
    assert pipeline.max_rejected == 0.05
    assert pipeline.on_empty == "fail"
    out = capsys.readouterr().out
    assert "customer_id: the id, since it is named so" in out
    assert "rings: not in every file, so optional" in out
    text = (tmp_path / "dags" / "pipelines" / "churn.yaml").read_text()
    assert "guessed from 2 records, all of 2 files" in text
    assert "# 1 of 2 empty" in text


def test_a_team_and_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path)
    pipelines = project / "dags" / "pipelines"
    role = "arn:aws:iam::210987654321:role/team"
    (pipelines / "_defaults.yaml").write_text(f"role: {role}\nwork: s3://team-bucket/work\n")
    monkeypatch.chdir(project)
    assert main(["new", "churn", "--team", "risk"]) == 0
    pipeline = load_pipeline_by_id("risk.churn", pipelines)
    assert (pipeline.role, pipeline.input.uri) == (role, "s3://team-bucket/churn/incoming/")
    assert "role:" not in (pipelines / "risk" / "churn.yaml").read_text()
