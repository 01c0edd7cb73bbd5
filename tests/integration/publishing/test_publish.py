"""Publishing is one conditional PUT: whole, or not at all, and never a mix."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from batch_inference.aws.readback import read_first_rows, read_part_content
from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ReconciliationError
from batch_inference.publishing.output import delete_parts, read_published
from batch_inference.run.join_inputs import merge_row_counts, read_row_counts
from batch_inference.run.scored_run import select_parts
from tests.integration.publications import (
    JOURNAL,
    OTHER,
    OUT,
    RUN,
    build_joined_parts,
    clean,
    copy_parts_and_build_manifest,
    get_part_name,
    list_output_names,
    publication,
    publish,
)  # fmt: skip


@pytest.fixture(autouse=True)
def empty(storage: Storage) -> None:
    """Each test starts with nothing published."""
    storage.delete(storage.list_uris("s3://bucket/"))


def test_the_first_run_commits_and_then_marks_its_success(storage: Storage) -> None:
    """Parts, the manifest, and then `_SUCCESS`; and nothing is left to do for it."""
    run = publication(storage)
    with run.begin_attempt(build_joined_parts(0)):
        run.commit(copy_parts_and_build_manifest(run, 0))
        assert list_output_names(storage) == {get_part_name(0), "_manifest.json"}
    run.mark_success()
    assert clean(storage) == []
    assert list_output_names(storage) == {get_part_name(0), "_manifest.json", "_SUCCESS"}
    assert storage.list_uris(JOURNAL) == []


def test_a_reader_of_the_manifest_before_finds_its_parts_for_the_grace_time(storage: Storage) -> None:
    """They go after that, and not with the commit."""
    publish(publication(storage), 0)
    publish(publication(storage, OTHER), 0, 1)
    assert clean(storage, minutes=9, active={OTHER}) == []
    assert list_output_names(storage) == {
        get_part_name(0),
        get_part_name(0, OTHER),
        get_part_name(1, OTHER),
        "_manifest.json",
        "_SUCCESS",
    }
    assert clean(storage, minutes=11, active={OTHER}) == [get_part_name(0)]
    assert list_output_names(storage) == {
        get_part_name(0, OTHER),
        get_part_name(1, OTHER),
        "_manifest.json",
        "_SUCCESS",
    }
    assert storage.list_uris(JOURNAL) == []


def test_what_nobody_removed_is_carried_on_with_the_time_since_which_it_is_replaced(storage: Storage) -> None:
    """A pipeline that publishes more often than the grace time would else keep all of it for ever."""
    publish(publication(storage, "nightly-0"), 0)
    replaced = publish(publication(storage), 0)["replaces"]
    assert replaced == [{"uri": f"{OUT}{get_part_name(0, 'nightly-0')}", "replaced_at": None}]
    committed = read_published(storage, OUT, "churn")
    assert committed is not None
    carried = publish(publication(storage, OTHER), 0)["replaces"]
    assert carried == [
        {"uri": f"{OUT}{get_part_name(0, 'nightly-0')}", "replaced_at": committed.committed_at.isoformat()},
        {"uri": f"{OUT}{get_part_name(0)}", "replaced_at": None},
    ]
    assert clean(storage, minutes=11) == [get_part_name(0, "nightly-0"), get_part_name(0)]
    assert storage.list_uris(JOURNAL) == []
    assert publish(publication(storage, "nightly-3"), 0)["replaces"] == [
        {"uri": f"{OUT}{get_part_name(0, OTHER)}", "replaced_at": None}
    ]


@pytest.mark.parametrize("had_one_before", [True, False])
def test_of_two_runs_at_once_one_commits_and_the_other_is_refused(
    storage: Storage, had_one_before: bool
) -> None:
    """Both looked before either wrote; what the first one published stands, and the other leaves nothing."""
    if had_one_before:
        publish(publication(storage, "nightly-0"), 0)
    first, second = publication(storage), publication(storage, OTHER)
    with pytest.raises(ReconciliationError, match=f"another run published .*: {RUN};"):
        publish(second, 0, meanwhile=lambda: publish(first, 0))
    manifest = storage.read_json(f"{OUT}_manifest.json")
    assert [file["uri"] for file in manifest["files"]] == [f"{OUT}{get_part_name(0)}"]
    assert get_part_name(0) in list_output_names(storage)
    assert get_part_name(0, OTHER) not in list_output_names(storage)


def test_a_commit_whose_answer_was_lost_is_no_other_runs(storage: Storage) -> None:
    """The client repeats the PUT, and is refused because the first one went through."""
    run = publication(storage)
    with run.begin_attempt(build_joined_parts(0)):
        manifest = copy_parts_and_build_manifest(run, 0)
        storage.write_json_conditionally(run.manifest_uri, manifest, expected_etag=None)
        assert run.commit(manifest) == manifest
    assert list_output_names(storage) == {get_part_name(0), "_manifest.json"}


def test_only_part_files_directly_below_the_output_are_ever_deleted(storage: Storage) -> None:
    """Whatever a manifest found there says."""
    uris = [
        f"{OUT}part-0-a.parquet",
        f"{OUT}precious.csv",
        f"{OUT}deeper/part-0.parquet",
        "s3://bucket/else/part-0.parquet",
    ]
    for uri in uris:
        storage.write(uri, "x")
    assert delete_parts(storage, OUT, uris) == uris[:1]
    assert storage.list_uris("s3://bucket/") == ["s3://bucket/else/part-0.parquet", *sorted(uris[1:3])]


JOINED = {"uri": "s3://b/part-0.parquet", "number": 0, "rows": 1, "shards": {"a": 1}, "jobs": ["p-1", "t-1"]}


def test_parts_of_jobs_that_were_run_again_since_are_left_aside() -> None:
    """Airflow keeps the results of mapped tasks that a later run has no more."""
    stale = {**JOINED, "uri": "s3://b/part-1.parquet", "jobs": ["p-1", "t-0"]}
    assert select_parts([JOINED, stale], ["p-1", "t-1"], 1) == [JOINED]


@pytest.mark.parametrize("numbers", [[], [1], [0, 0], [0, 2]])
def test_a_group_without_a_part_or_with_two_is_refused(numbers: list[int]) -> None:
    with pytest.raises(
        ReconciliationError, match=r"joins of p-1, t-1 gave the parts .* 2 groups; clear `join`"
    ):
        select_parts([{**JOINED, "number": number} for number in numbers], ["p-1", "t-1"], 2)


def test_a_shard_in_two_parts_is_refused(storage: Storage) -> None:
    """Its rows would be published twice."""
    again = {**JOINED, "uri": "s3://b/part-1.parquet", "rows": 2, "shards": {"b": 1, "a": 1}}
    with pytest.raises(ReconciliationError, match="shard a is in two parts"):
        merge_row_counts(storage, [JOINED, again])


def test_counts_that_are_not_those_of_the_part_are_refused(storage: Storage) -> None:
    """In S3, next to the part, where the part is one of the mapped tasks'."""
    part = {"uri": "s3://bucket/part-0", "rows": 3, "counts": "s3://bucket/part-0.counts.json"}
    storage.write_json(part["counts"], {"0000000": 1, "0000001": 2})
    assert read_row_counts(storage, part) == {"0000000": 1, "0000001": 2}
    with pytest.raises(
        ReconciliationError, match=r"has 3 rows of 1 pieces, but s3://.* has 3 of 2; clear `join`"
    ):
        read_row_counts(storage, part, ["0000000"])
    with pytest.raises(ReconciliationError, match=r"has 4 rows, but s3://.* has 3 of 2; clear `join`"):
        read_row_counts(storage, {**part, "rows": 4})


def parquet(rows: int) -> bytes:
    """A Parquet file of so many rows."""
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"x": list(range(rows))}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "delimiter", "rows"),
    [
        ("a.parquet", parquet(3), ",", 3),
        ("empty.parquet", parquet(0), ",", 0),
        ("a.csv", b'x,y\n1,"two\nlines"\n3,4\n', ",", 2),
        ("semicolons.csv", b'x;y\n1;"two\nlines"\n3;4\n', ";", 2),
        ("pipes.csv", b'x|y\n1,"|"two\nlines"\n', "|", 1),
        ("a.jsonl", b'{"x": 1}\n{"x": 2}\n', ";", 2),
    ],
)
def test_rows_are_counted_in_the_file_that_lies_in_s3(
    storage: Storage, name: str, content: bytes, delimiter: str, rows: int
) -> None:
    """Headers do not count, and a quoted line break is no end of a row, whatever parts the cells."""
    storage.write(f"{OUT}{name}", content)
    found = read_part_content(storage, f"{OUT}{name}", delimiter)
    assert (found.rows, found.sha256) == (rows, hashlib.sha256(content).hexdigest())


def test_a_part_that_does_not_hold_what_was_joined_is_not_committed(storage: Storage) -> None:
    """The copy is read back before the manifest is written."""
    storage.write("s3://bucket/joined/part-0.parquet", parquet(3))
    digest = hashlib.sha256(parquet(3)).hexdigest()
    found = {"uri": "s3://bucket/joined/part-0.parquet", "rows": 4, "sha256": digest}
    run = publication(storage)
    with pytest.raises(ReconciliationError, match="3 rows were read back, 4 were written"):
        run.copy_part(found)
    with pytest.raises(ReconciliationError, match="differ from those that were written"):
        run.copy_part({**found, "rows": 3, "sha256": "0" * 64})
    entry = run.copy_part({**found, "rows": 3})
    assert entry["sha256"] == digest
    assert (entry["uri"], entry["rows"], entry["size"]) == (f"{OUT}{get_part_name(0)}", 3, len(parquet(3)))


def test_a_part_is_read_back_with_the_delimiter_that_it_was_written_with(storage: Storage) -> None:
    """Else a quoted line break would count as two rows, and nothing could be published."""
    content = b'id;note;p\na;"two\nlines";0.5\n'
    storage.write("s3://bucket/joined/part-0.csv", content)
    found = {
        "uri": "s3://bucket/joined/part-0.csv", "rows": 1, "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    assert dataclasses.replace(publication(storage), delimiter=";").copy_part(found)["rows"] == 1


@pytest.mark.parametrize(
    ("suffix", "content", "expected"),
    [
        ("parquet", parquet(9), [{"x": 0}, {"x": 1}]),
        ("csv", b"x\n0\n1\n2\n", [{"x": "0"}, {"x": "1"}]),
        ("jsonl", b'{"x":0}\n{"x":1}\n{"x":2}\n', [{"x": 0}, {"x": 1}]),
    ],
)
def test_the_first_rows_of_any_format_are_shown(
    storage: Storage, suffix: str, content: bytes, expected: list[dict[str, Any]]
) -> None:
    """As many as are asked for, as records."""
    storage.write(f"{OUT}part.{suffix}", content)
    assert read_first_rows(storage, f"{OUT}part.{suffix}", 2, ",") == expected


def test_the_first_rows_show_cells_as_they_are_published(storage: Storage) -> None:
    """Leading zeros, dates and line breaks are kept, whatever parts the cells and however long one is."""
    long = "x" * 200_000
    storage.write(f"{OUT}part.csv", f'id;day;note;p\n007;2026-01;"a,b\r\nc";0.50\n008;;{long};1\n'.encode())
    assert read_first_rows(storage, f"{OUT}part.csv", 5, ";") == [
        {"id": "007", "day": "2026-01", "note": "a,b\r\nc", "p": "0.50"},
        {"id": "008", "day": "", "note": long, "p": "1"},
    ]
    storage.write(f"{OUT}part.jsonl", '{"id": "007", "created_at": "1", "note": "a\u2028b", "p": [1]}\n')
    assert read_first_rows(storage, f"{OUT}part.jsonl", 5, ",") == [
        {"id": "007", "created_at": "1", "note": "a\u2028b", "p": [1]}
    ]


def test_a_manifest_of_before_parts_had_a_grace_time_is_understood(storage: Storage) -> None:
    """It lists what it replaced by URIs alone."""
    old = publish(publication(storage), 0)
    storage.write(f"{OUT}{get_part_name(7, 'nightly-0')}", "x")
    storage.write_json(f"{OUT}_manifest.json", {**old, "replaces": [f"{OUT}{get_part_name(7, 'nightly-0')}"]})
    publish(publication(storage, OTHER), 0)
    assert clean(storage, minutes=11) == [get_part_name(0), get_part_name(7, "nightly-0")]
