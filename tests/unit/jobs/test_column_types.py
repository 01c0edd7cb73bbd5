"""Values of every type of column come out of the jobs as they went in: through each format of input and of output."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.jobs.common.cell_types import parse_cell
from batch_inference.jobs.common.container import Container
from batch_inference.jobs.common.errors import PredictionError
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.config.preprocess_config import parse_config
from batch_inference.jobs.join.aligned_join import join_shards
from batch_inference.jobs.join.statistics import PredictionStatistics, merge_statistics
from batch_inference.jobs.preprocess.preprocess_job import preprocess
from tests.unit.jobs.containers import columns, config, put

TYPES = {
    "id": "string",
    "flag": "boolean",
    "day": "date",
    "at": "timestamp",
    "seen": "timestamptz",
    "price": "decimal(18,4)",
    "big": "decimal(38,10)",
    "n": "integer",
}
ARROW_TYPES = {
    "id": pa.string(),
    "flag": pa.bool_(),
    "day": pa.date32(),
    "at": pa.timestamp("us"),
    "seen": pa.timestamp("us", tz="UTC"),
    "price": pa.decimal128(18, 4),
    "big": pa.decimal128(38, 10),
    "n": pa.int64(),
}
FAR = st.datetimes()  # microseconds of the years 1 to 9999
NEAR = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=6),
            "flag": st.none() | st.booleans(),
            "day": st.none() | st.dates(),
            "at": st.none() | NEAR | FAR,
            "seen": st.none()
            | (NEAR | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))).map(
                lambda moment: moment.replace(tzinfo=UTC)
            ),
            "price": st.none() | st.integers(1 - 10**18, 10**18 - 1).map(lambda digits: scale(digits, 4)),
            "big": st.none() | st.integers(1 - 10**38, 10**38 - 1).map(lambda digits: scale(digits, 10)),
            "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        }
    ),
    min_size=1,
    max_size=12,
)


def scale(digits: int, places: int) -> Decimal:
    """The decimal of these digits, exactly: arithmetic rounds to 28 of them."""
    sign, texts, _ = Decimal(digits).as_tuple()
    return Decimal((sign, texts, -places))


def spell(value: Any, form: int) -> str | None:
    """A text of the value: each form is another way to write it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return (("true", "False"), ("1", "0"), ("YES", "no"), ("t", "F"))[form][not value]
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat(sep="T" if form % 2 else " ")
        zone = (UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=3)), UTC)[form]
        text = value.astimezone(zone).isoformat(sep="T" if form % 2 else " ")
        return text.replace("+00:00", "Z") if form == 0 else text
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def write_input(rows: Sequence[Mapping[str, Any]], input_format: str, form: int) -> bytes:
    """The rows as an object of the format."""
    if input_format == "parquet":
        file = io.BytesIO()
        schema = pa.schema(list(ARROW_TYPES.items()))
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), file)
        return file.getvalue()
    if input_format == "csv":
        text = io.StringIO(newline="")
        writer = csv.writer(
            text, quoting=csv.QUOTE_ALL if form % 2 else csv.QUOTE_MINIMAL, lineterminator="\n"
        )
        writer.writerows([spell(row[name], form) for name in TYPES] for row in rows)
        return text.getvalue().encode()
    lines = []
    for row in rows:
        members = []
        for name in TYPES:
            cell = spell(row[name], form)
            is_number = isinstance(row[name], int | Decimal) and (form % 2 or name == "n")
            if isinstance(row[name], bool) and form % 2:
                members.append(f'"{name}": {str(row[name]).lower()}')
            else:
                members.append(f'"{name}": {cell if is_number and form != 2 and cell else json.dumps(cell)}')
        lines.append("{" + ", ".join(members) + "}\n")
    return "".join(lines).encode()


def read_output(path: Path, output_format: str) -> list[dict[str, Any]]:
    """The rows that were published, as values; texts are read by the standard library."""
    if output_format == "parquet":
        table = pq.read_table(path).select(list(TYPES))
        assert {field.name: field.type for field in table.schema} == ARROW_TYPES
        return [dict(row) for row in table.to_pylist()]
    if output_format == "csv":
        with path.open(newline="", encoding="utf-8") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
    else:
        with path.open(encoding="utf-8", newline="\n") as file:
            rows = [json.loads(line, parse_float=Decimal) for line in file]
    return [{name: read_value(row[name], kind) for name, kind in TYPES.items()} for row in rows]


def read_value(value: Any, kind: str) -> Any:
    if value in (None, ""):
        return None
    if kind == "boolean":
        return str(value).lower() in ("true", "t", "yes", "1")
    if kind == "date":
        return date.fromisoformat(value)
    if kind.startswith("timestamp"):
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment
    return Decimal(str(value)) if kind.startswith("decimal") else int(value) if kind == "integer" else value


def make_objects(frame: Any) -> Any:
    """A user's function: the same values, of other dtypes, so that none is published as it came."""
    return frame.astype(object)


@settings(max_examples=25, deadline=None)
@given(rows=ROWS, form=st.integers(0, 3), has_function=st.booleans())
@pytest.mark.parametrize("output_format", ["csv", "jsonlines", "parquet"])
@pytest.mark.parametrize("input_format", ["csv", "jsonlines", "parquet"])
def test_values_come_out_as_they_went_in(
    input_format: str, output_format: str, rows: list[dict[str, Any]], form: int, has_function: bool
) -> None:
    """Preprocess, then the join: nothing is rejected, rounded or moved, with and without a user's function."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        wanted = config(columns(**TYPES), input_format=input_format, feature_columns=["flag", "n"])
        put(folder / "processing" / "input" / "data", {"a": write_input(rows, input_format, form)})
        preprocess(Container(folder, "algo-1", ("algo-1",)), parse_config(wanted))
        output = folder / "processing" / "output"
        manifest = json.loads((output / "manifest" / "algo-1.json").read_text())
        files = []
        for at, shard in enumerate(manifest["shards"]):
            features = (output / shard["features_key"]).read_text()
            predictions = folder / f"{at}.out"
            predictions.write_text(
                "".join(f'{{"score": {at}}}\n' for at, _ in enumerate(features.splitlines()))
            )
            files.append(ShardFiles(str(at), output / shard["records_key"], predictions, tuple(TYPES)))
            assert {line.split(",")[0] for line in features.splitlines()} <= {"1", "0", ""}
        path = "tests.unit.jobs.test_column_types"
        spec = JoinSpec.from_dict(
            {
                "columns": [{"name": name, "type": kind} for name, kind in TYPES.items()],
                "records_format": "jsonlines" if input_format == "jsonlines" else "csv",
                "has_quoted_empty_strings": input_format == "parquet",
                "is_preprocessed": True,
                "output_format": output_format,
                "predictions": {"fields": {"score": "predicted"}},
                "function": {"module": path, "name": "make_objects"} if has_function else None,
            }
        )
        counts = join_shards(files, folder / "joined", spec)
        assert sum(counts.values()) == len(rows)
        assert read_output(folder / "joined", output_format) == rows


WRONG = {
    "flag": "maybe",
    "day": "31.01.2026",
    "at": "2026-01-31T10:30:00Z",
    "seen": "2026-01-31 10:30",
    "price": "0.00001",
}
GOOD = {"flag": "yes", "day": "2026-01-31", "at": "2026-01-31", "seen": "2026-01-31T10:30Z", "price": "1e-3"}


def write_texts(rows: Sequence[Mapping[str, str]], input_format: str) -> bytes:
    """Rows of texts as an object of the format."""
    if input_format == "parquet":
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), file)
        return file.getvalue()
    if input_format == "csv":
        return "".join(f"{','.join(row.values())}\n" for row in rows).encode()
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


@pytest.mark.parametrize("name", list(WRONG))
@pytest.mark.parametrize("input_format", ["csv", "jsonlines", "parquet"])
def test_a_cell_of_another_type_is_rejected_in_the_same_words(
    tmp_path: Path, input_format: str, name: str
) -> None:
    """Whatever the format, with what was found and what is allowed; the records beside it pass."""
    wanted = config(columns(**{each: TYPES[each] for each in GOOD}), input_format=input_format)
    content = write_texts([GOOD, {**GOOD, name: WRONG[name]}, GOOD], input_format)
    put(tmp_path / "processing" / "input" / "data", {"a": content})
    manifest = preprocess(Container(tmp_path, "algo-1", ("algo-1",)), parse_config(wanted))
    assert (manifest["records_out"], manifest["rejected"]) == (2, {"type": 1})
    (path,) = (tmp_path / "processing" / "output" / "rejects").iterdir()
    (reject,) = map(json.loads, path.read_text().splitlines())
    _, allowed = parse_cell(WRONG[name], TYPES[name])
    assert allowed
    assert reject["reason"] == f"{name} is {WRONG[name]!r}, allowed is {allowed}"


def test_nanoseconds_and_other_zones_of_parquet_are_no_timestamps(tmp_path: Path) -> None:
    """Nothing is rounded, and nothing without a zone is taken for UTC."""
    times = pa.array([1_000, 1_001], pa.timestamp("ns"))
    local = pa.array([0, 0], pa.timestamp("us"))
    file = io.BytesIO()
    pq.write_table(pa.table({"at": times, "seen": local}), file)
    put(tmp_path / "processing" / "input" / "data", {"a": file.getvalue()})
    kinds = {"at": "timestamp", "seen": "string"}
    for seen, reasons in (
        ("string", ["at is '1970-01-01T00:00:00.000001001'"]),
        ("timestamptz", ["seen is '1970-01-01T00:00:00.000000'", "at is '1970-01-01T00:00:00.000001001'"]),
    ):
        wanted = config(columns(**{**kinds, "seen": seen}), input_format="parquet")
        preprocess(Container(tmp_path, "algo-1", ("algo-1",)), parse_config(wanted))
        (path,) = (tmp_path / "processing" / "output" / "rejects").iterdir()
        found = [json.loads(line)["reason"].split(",")[0] for line in path.read_text().splitlines()]
        assert found == reasons


PREDICTIONS = {
    "flag": ("boolean", ["true", '"no"', "null"], [True, False, None]),
    "day": ("date", ['"2026-01-31"', '"0001-01-01"', "null"], [date(2026, 1, 31), date(1, 1, 1), None]),
    "seen": (
        "timestamptz",
        ['"2026-01-31T01:00:00+01:00"', '"9999-12-31T23:59:59.999999Z"', "null"],
        [datetime(2026, 1, 31, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), None],
    ),
    "price": (
        "decimal(38,10)",
        ["0.1", "-9999999999999999999999999999.9999999999", "null"],
        [Decimal("0.1"), Decimal("-9999999999999999999999999999.9999999999"), None],
    ),
}


def join_predictions(folder: Path, output_format: str, lines: Sequence[str], **spec: Any) -> Path:
    """The join of records of one column with these predictions, without preprocessing."""
    (folder / "records").write_text("".join(f"r{at}\n" for at, _ in enumerate(lines)))
    (folder / "answers").write_text("".join(f"{line}\n" for line in lines))
    kinds = {name: kind for name, (kind, _, _) in PREDICTIONS.items()}
    fields = {name: name for name in PREDICTIONS}
    document = {
        "columns": [{"name": "id", "type": "string"}],
        "output_format": output_format,
        "predictions": {"fields": fields, "types": kinds, "nullable": list(kinds)},
        **spec,
    }
    path = folder / "joined"
    join_shards(
        [ShardFiles("s", folder / "records", folder / "answers", ("id",))], path, JoinSpec.from_dict(document)
    )
    return path


def spell_predictions(row: int) -> str:
    return "{" + ", ".join(f'"{name}": {texts[row]}' for name, (_, texts, _) in PREDICTIONS.items()) + "}"


@pytest.mark.parametrize("has_function", [False, True])
@pytest.mark.parametrize("output_format", ["csv", "jsonlines", "parquet"])
def test_predictions_have_the_same_types(tmp_path: Path, output_format: str, has_function: bool) -> None:
    """Exact, with nulls, and through a function of the user's."""
    function = {"module": "tests.unit.jobs.test_column_types", "name": "make_objects"}
    path = join_predictions(
        tmp_path,
        output_format,
        [spell_predictions(row) for row in range(3)],
        **({"function": function} if has_function else {}),
    )
    if output_format == "parquet":
        rows = pq.read_table(path).to_pylist()
    elif output_format == "csv":
        rows = list(csv.DictReader(path.read_text().splitlines()))
    else:
        rows = [json.loads(line, parse_float=Decimal) for line in path.read_text().splitlines()]
    for name, (kind, _, values) in PREDICTIONS.items():
        found = [row[name] if output_format == "parquet" else read_value(row[name], kind) for row in rows]
        assert found == values


@pytest.mark.parametrize("name", ["flag", "day", "seen", "price"])
def test_a_prediction_of_another_type_is_named(tmp_path: Path, name: str) -> None:
    texts = {each: texts[0] for each, (_, texts, _) in PREDICTIONS.items()} | {name: '"x"'}
    line = "{" + ", ".join(f'"{each}": {text}' for each, text in texts.items()) + "}"
    _, allowed = parse_cell("x", PREDICTIONS[name][0])
    with pytest.raises(PredictionError) as raised:
        join_predictions(tmp_path, "parquet", [spell_predictions(0), line])
    message = str(raised.value)
    assert "shard s, record 2" in message
    assert f"allowed is {allowed.replace(', or empty', '').replace(' or empty', '')}. This" in message


def test_statistics_of_predictions_count_values_of_their_types(tmp_path: Path) -> None:
    """For gates and drift: booleans by value, times by day, decimals as numbers."""
    kinds = {name: kind for name, (kind, _, _) in PREDICTIONS.items()}
    spec = JoinSpec.from_dict(
        {
            "columns": [{"name": "id", "type": "string"}],
            "output_format": "csv",
            "predictions": {
                "fields": {name: name for name in kinds}, "types": kinds, "nullable": list(kinds),
            },
            "selection": {"column": "flag", "values": ["true"]},
            "sensitive_columns": [{"column": "id"}],
        }
    )  # fmt: skip
    statistics = PredictionStatistics(spec)
    (tmp_path / "records").write_text("a\na\na\n")
    (tmp_path / "answers").write_text("".join(f"{spell_predictions(row)}\n" for row in range(3)))
    files = ShardFiles("s", tmp_path / "records", tmp_path / "answers", ("id",))
    join_shards([files], tmp_path / "out", spec, statistics=statistics)
    found = merge_statistics([json.loads(json.dumps(statistics.to_dict()))])
    assert found["columns"]["flag"]["values"] == {"false": 1, "true": 1}
    assert found["columns"]["day"]["values"] == {"0001-01-01": 1, "2026-01-31": 1}
    assert found["columns"]["seen"]["values"] == {"2026-01-31": 1, "9999-12-31": 1}
    assert (found["columns"]["price"]["kind"], found["columns"]["price"]["max"]) == ("number", 0.1)
    assert (found["groups"]["id"]["a"]["rows"], found["groups"]["id"]["a"]["selected"]) == (3, 1)
