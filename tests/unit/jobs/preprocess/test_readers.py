"""Published Parquet as others read it: every type, nulls, exact strings, row groups."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.aligned_join import join_shards

KINDS = {"id": "string", "when": "string", "n": "integer", "x": "float", "label": "integer"}
#: As text, and as it must be read: ids of twenty digits and with leading zeros, times as they were written, the ends of
#: 64 bits, floats to the last digit, cells that look like nulls and are none, and real nulls.
RECORDS = [
    ("12345678901234567890", "2026-01-31T07:00:00+01:00", "9223372036854775807", "0.1", "1"),
    ("00042", "2026-01-31", "-9223372036854775808", "-1.7976931348623157e308", ""),
    ("NA", "null", "0", "5e-324", "3"),
    ('say "hi", \u2028\U0001f600', "two\nlines", "", "", ""),
    ("", "", "7", "1e22", ""),
]
EXPECTED = [
    {
        "id": id_ or None, "when": when or None, "n": int(n) if n else None, "x": float(x) if x else None,
        "label": int(label) if label else None, "score": number + 0.1, "class": number, "why": f"é {number}",
        "parts": f'{{"a": [{number}, null]}}',
    }
    for number, (id_, when, n, x, label) in enumerate(RECORDS)
]  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One part of two shards, the second without the optional column."""
    folder = tmp_path_factory.mktemp("readers")
    spec = JoinSpec.from_dict(
        {
            "columns": [{"name": name, "type": kind} for name, kind in KINDS.items()],
            "output_format": "parquet",
            "predictions": {
                "format": "jsonlines",
                "fields": {"score": "score", "class": "class", "why": "why", "parts": "parts"},
                "types": {"class": "integer", "why": "string", "parts": "json"},
            },
        }
    )

    def shard(name: str, start: int, end: int, columns: list[str]) -> ShardFiles:
        cells = [record[: len(columns)] for record in RECORDS[start:end]]
        lines = [
            ",".join('"{}"'.format(cell.replace('"', '""')) if cell else "" for cell in row) for row in cells
        ]
        (folder / f"{name}.csv").write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="")
        answers = [
            {"score": number + 0.1, "class": number, "why": f"é {number}", "parts": {"a": [number, None]}}
            for number in range(start, end)
        ]
        (folder / f"{name}.out").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
        return ShardFiles(name, folder / f"{name}.csv", folder / f"{name}.out", columns)

    names = list(KINDS)
    output = folder / "part.parquet"
    join_shards([shard("a", 0, 4, names), shard("b", 4, 5, names[:-1])], output, spec)
    return output


READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "pyarrow": lambda path: pq.read_table(path).to_pylist(),
    "polars": lambda path: polars.read_parquet(path).to_dicts(),
    "duckdb": lambda path: [
        dict(row) for row in duckdb.sql(f"SELECT * FROM read_parquet('{path}')").to_arrow_table().to_pylist()
    ],
    "pandas": lambda path: [
        {str(name): None if pandas.isna(value) else value for name, value in row.items()}
        for row in pandas.read_parquet(path, dtype_backend="pyarrow").to_dict("records")
    ],
}


@pytest.mark.parametrize("reader", READERS)
def test_every_value_is_read_back(published: Path, reader: str) -> None:
    found = READERS[reader](published)
    assert found == EXPECTED
    assert [[type(value) for value in row.values()] for row in found] == [
        [type(value) for value in row.values()] for row in EXPECTED
    ]


def test_pandas_without_options_reads_the_same_but_for_nulls_among_integers(published: Path) -> None:
    """Which pandas turns into floats; ids stay texts."""
    frame = pandas.read_parquet(published)
    assert frame["id"].iloc[0] == "12345678901234567890"
    assert frame["class"].tolist() == [0, 1, 2, 3, 4]
    assert frame["x"].isna().tolist() == [False, False, False, True, False]


def test_row_groups_are_few_and_large(tmp_path: Path) -> None:
    """A reader skips or fetches whole groups: tiny ones cost a request each."""
    rows = 600_000
    (tmp_path / "r").write_bytes(b"".join(b"%d,%d.5,abc\n" % (number, number % 97) for number in range(rows)))
    (tmp_path / "p").write_bytes(b"1.25\n" * rows)
    spec = JoinSpec.from_dict(
        {
            "columns": [
                {"name": name, "type": kind}
                for name, kind in (("i", "integer"), ("x", "float"), ("s", "string"))
            ],
            "output_format": "parquet",
            "predictions": {"format": "csv", "fields": {"0": "score"}},
        }
    )
    join_shards([ShardFiles("s", tmp_path / "r", tmp_path / "p", ["i", "x", "s"])], tmp_path / "out", spec)
    file = pq.ParquetFile(tmp_path / "out")
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    assert sum(group.num_rows for group in groups) == rows
    assert min(group.num_rows for group in groups[:-1]) > 100_000
    assert file.schema_arrow.types == [pa.int64(), pa.float64(), pa.string(), pa.float64()]
    # The ids are all different; a dictionary of them would only cost.
    columns = {groups[0].column(at).path_in_schema: groups[0].column(at) for at in range(4)}
    assert {name for name, column in columns.items() if column.has_dictionary_page} == {"x", "s", "score"}
