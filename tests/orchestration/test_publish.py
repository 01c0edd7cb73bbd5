"""Publishing is one conditional PUT: whole, or not at all, and never a mix."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from include.orchestration.readback import first_rows, rows_in
from include.orchestration.storage import Storage
from include.orchestration.tasks.publish import commit, copied, part_name, remove_parts, tidy
from include.scoring.errors import ReconciliationError

OUT = "s3://bucket/scored/"


def manifest_of(*names: str) -> dict[str, Any]:
    """A manifest that names these files below the output."""
    return {"files": [{"uri": f"{OUT}{name}", "rows": 1} for name in names]}


def put(storage: Storage, *names: str) -> None:
    """Files below the output."""
    for name in names:
        storage.write(f"{OUT}{name}", "x")


def names(storage: Storage) -> set[str]:
    """What a listing of the output shows."""
    return {uri.removeprefix(OUT) for uri in storage.uris(OUT)}


@pytest.fixture(autouse=True)
def empty(storage: Storage) -> None:
    """Each test starts with nothing published."""
    storage.delete(storage.uris("s3://bucket/"))


def test_the_first_run_commits_and_marks_its_success(storage: Storage) -> None:
    """Parts, the manifest, and then `_SUCCESS`."""
    put(storage, "part-0-a.parquet")
    commit(storage, OUT, manifest_of("part-0-a.parquet"), None)
    assert names(storage) == {"part-0-a.parquet", "_manifest.json"}
    tidy(storage, OUT, None)
    assert names(storage) == {"part-0-a.parquet", "_manifest.json", "_SUCCESS"}


def test_a_later_run_takes_the_place_of_the_one_before(storage: Storage) -> None:
    """The old parts go, after the new manifest is there."""
    put(storage, "part-0-a.parquet", "part-0-b.parquet", "part-1-b.parquet")
    commit(storage, OUT, manifest_of("part-0-a.parquet"), None)
    before = storage.current(f"{OUT}_manifest.json")
    commit(storage, OUT, manifest_of("part-0-b.parquet", "part-1-b.parquet"), before)
    assert "part-0-a.parquet" in names(storage)
    tidy(storage, OUT, before)
    assert names(storage) == {"part-0-b.parquet", "part-1-b.parquet", "_manifest.json", "_SUCCESS"}


@pytest.mark.parametrize("had_one_before", [True, False])
def test_of_two_runs_at_once_one_commits_and_the_other_is_refused(
    storage: Storage, had_one_before: bool
) -> None:
    """Both looked before either wrote; what the first one published stands."""
    if had_one_before:
        commit(storage, OUT, manifest_of("part-0-old.parquet"), None)
    before = storage.current(f"{OUT}_manifest.json")
    commit(storage, OUT, manifest_of("part-0-a.parquet"), before)
    with pytest.raises(ReconciliationError, match="another run published"):
        commit(storage, OUT, manifest_of("part-0-b.parquet"), before)
    assert storage.read_json(f"{OUT}_manifest.json") == manifest_of("part-0-a.parquet")


def test_only_part_files_directly_below_the_output_are_ever_deleted(storage: Storage) -> None:
    """Whatever a manifest found there says."""
    put(storage, "part-0-a.parquet", "precious.csv", "deeper/part-0.parquet")
    storage.write("s3://bucket/elsewhere/part-0.parquet", "x")
    remove_parts(storage, OUT, manifest_of("part-0-a.parquet", "precious.csv", "deeper/part-0.parquet"))
    remove_parts(storage, OUT, {"files": [{"uri": "s3://bucket/elsewhere/part-0.parquet"}]})
    assert names(storage) == {"precious.csv", "deeper/part-0.parquet"}
    assert storage.uris("s3://bucket/elsewhere/") == ["s3://bucket/elsewhere/part-0.parquet"]


def test_a_part_is_named_after_its_run() -> None:
    """The number stays in front, so that a listing keeps the order of the rows."""
    assert part_name("s3://b/joined/x/part-00007.parquet", "nightly-1") == "part-00007-nightly-1.parquet"


def parquet(rows: int) -> bytes:
    """A Parquet file of so many rows."""
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"x": list(range(rows))}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.parquet", parquet(3), 3),
        ("empty.parquet", parquet(0), 0),
        ("a.csv", b'x,y\n1,"two\nlines"\n3,4\n', 2),
        ("a.jsonl", b'{"x": 1}\n{"x": 2}\n', 2),
    ],
)
def test_rows_are_counted_in_the_file_that_lies_in_s3(
    storage: Storage, name: str, content: bytes, rows: int
) -> None:
    """Headers do not count, and a quoted line break is no end of a row."""
    storage.write(f"{OUT}{name}", content)
    assert rows_in(storage, f"{OUT}{name}") == rows


def test_a_part_that_does_not_hold_what_was_joined_is_not_committed(storage: Storage) -> None:
    """The copy is read back before the manifest is written."""
    storage.write("s3://bucket/joined/part-0.parquet", parquet(3))
    part = {"uri": "s3://bucket/joined/part-0.parquet", "rows": 4}
    with pytest.raises(ReconciliationError, match="3 rows were read back, 4 were written"):
        copied(storage, part, f"{OUT}part-0-a.parquet")
    entry = copied(storage, {**part, "rows": 3}, f"{OUT}part-0-a.parquet")
    assert (entry["uri"], entry["rows"], entry["size"]) == (f"{OUT}part-0-a.parquet", 3, len(parquet(3)))


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_the_first_rows_of_any_format_are_shown(storage: Storage, suffix: str, tmp_path: Path) -> None:
    """As many as are asked for, as records."""
    contents = {"parquet": parquet(9), "csv": b"x\n0\n1\n2\n", "jsonl": b'{"x":0}\n{"x":1}\n{"x":2}\n'}
    storage.write(f"{OUT}part.{suffix}", contents[suffix])
    assert first_rows(storage, f"{OUT}part.{suffix}", 2) == [{"x": 0}, {"x": 1}]
