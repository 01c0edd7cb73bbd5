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

from batch_inference.jobs.common.container import Container
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.config.preprocess_config import parse_config
from batch_inference.jobs.join.aligned_join import join_shards
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
