"""Records that no preprocessing has read: one of another shape stops the join, whatever the output's format."""

from __future__ import annotations

import csv
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batch_inference.jobs.common import blocks
from batch_inference.jobs.common.errors import JoinError
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.aligned_join import join_shards

COLUMNS = {"id": "string", "age": "integer", "balance": "float"}
OUTPUTS = ["csv", "jsonlines", "parquet"]


@pytest.fixture(params=["with Arrow", "without Arrow"])
def arrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check finds the same where pyarrow is missing."""
    if request.param == "without Arrow":
        monkeypatch.setattr("batch_inference.jobs.join.record_check._is_sound_to_arrow", lambda _: False)


def joined(
    folder: Path, content: bytes, output: str, kinds: dict[str, str] = COLUMNS, **spec: Any
) -> list[list[Any]]:
    """The rows of the output, header aside."""
    (folder / "s.records").write_bytes(content)
    count = blocks.count_records(
        folder / "s.records", None if spec.get("records") else spec.get("delimiter", ",")
    )
    (folder / "s.out").write_text("0.5\n" * count)
    document = {
        "columns": [{"name": name, "type": kind} for name, kind in kinds.items()],
        "output_format": output,
        "predictions": {"format": "csv", "fields": {"0": "p"}},
        **spec,
    }
    path = folder / f"out.{output}"
    join_shards(
        [ShardFiles("s", folder / "s.records", folder / "s.out", tuple(kinds))],
        path,
        JoinSpec.from_dict(document),
    )
    if output == "parquet":
        return [list(row.values()) for row in pq.read_table(path).to_pylist()]
    if output == "jsonlines":
        return [list(json.loads(line).values()) for line in path.read_text("utf-8").split("\n")[:-1]]
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=spec.get("delimiter", ",")))[1:]


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"c2,42", "2 fields, its columns are id, age, balance"),
        (b'c3,"x, y",1,2', "4 fields, its columns are id, age, balance"),
        (b"", "0 fields, its columns are id, age, balance"),
        (b"id,age,balance", "age is 'age', allowed is a whole number or empty"),
        (b"c2,4.5,1", "age is '4.5', allowed is a whole number or empty"),
        (b"c2,0x10,1", "age is '0x10', allowed is a whole number or empty"),
        (b"c2,1,nan", "balance is 'nan', allowed is a number or empty"),
        (b"c2,1,-Infinity", "balance is '-Infinity', allowed is a number or empty"),
        (b"c2,1,1e999", "balance is '1e999', allowed is a finite number of 64 bits"),
        (b"c2,1,1;5", "balance is '1;5', allowed is a number or empty"),
    ],
)
def test_a_record_of_another_shape_is_named_and_nothing_joined(
    tmp_path: Path, output: str, line: bytes, found: str
) -> None:
    """Beside its prediction in the wrong columns it would look like any other row."""
    with pytest.raises(JoinError) as raised:
        joined(tmp_path, b"c1,42,0.5\n" + line + b"\nc4,7,1.5\n", output)
    assert str(pickle.loads(pickle.dumps(raised.value))).startswith(
        f"shard s, record 2: {found}. This part was not"
    )
    assert not list(tmp_path.glob("out*"))


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    ("records", "kinds", "found"),
    [
        (b"Id, note\na,b\n", {"id": "string", "note": "string"}, "its cells are the names of the columns"),
        (b"\xef\xbb\xbf1,b\n", {"id": "integer", "note": "string"}, "it begins with a byte order mark"),
    ],
)
def test_what_begins_an_object_and_is_no_record_is_not_joined(
    tmp_path: Path, output: str, records: bytes, kinds: dict[str, str], found: str
) -> None:
    """A line of column names, where all columns are texts, and the mark that editors put there."""
    with pytest.raises(JoinError, match=f"shard s, record 1: {found}"):
        joined(tmp_path, records, output, kinds)


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"[1]", "is JSON, but not an object"),
        (b'{"id": "b", "age": 1', "is not JSON"),
        (b'{"id": "b", "age": 1.5}', "age is '1.5', allowed is a whole number"),
        (b'{"id": "b", "balance": NaN}', "is not JSON: it holds NaN, which JSON does not have"),
        (b'{"id": "b", "more": [Infinity]}', "is not JSON: it holds Infinity"),
        (b'{"id": "b", "more": {"\\udc00": 1}}', "is not JSON: it escapes half a surrogate pair"),
        (b'{"id": "b", "more": {"a": 1, "a": 1}}', "is not JSON: an object has member 'a' twice"),
        (b'{"id": "b", "more": ' + b"[" * 700 + b"]" * 700 + b"}", "is not JSON: it nests arrays"),
        (b'{"id": "b", "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is not JSON: it nests arrays"),
        (b'{"id": "b", "balance": [1]}', r"balance is '\[1\]', allowed is a number"),
    ],
)
def test_json_of_another_shape_is_named_too(tmp_path: Path, output: str, line: bytes, found: str) -> None:
    """Also where records are published as they came, members that nobody named included."""
    records = b'{"id": "a", "age": 1, "balance": 2, "more": [1]}\n' + line + b"\n"
    with pytest.raises(JoinError, match=f"shard s, record 2:? {found}"):
        joined(tmp_path, records, output, records_format="jsonlines")


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    ("kind", "good", "wrong", "allowed"),
    [
        ("boolean", "YES", "maybe", "true, t, yes"),
        ("date", "2026-01-31", "2026-1-31", "a date such as"),
        ("timestamp", "2026-01-31", "2026-01-31T10:30Z", "a timestamp without a zone"),
        ("timestamptz", "2026-01-31 10:30+01", "2026-01-31", "a timestamp with Z"),
        ("decimal(5,2)", "1e2", "0.001", r"a decimal\(5,2\)"),
    ],
)
def test_a_cell_of_another_type_is_named_and_nothing_joined(
    tmp_path: Path, output: str, kind: str, good: str, wrong: str, allowed: str
) -> None:
    """In CSV and in JSON Lines; an empty cell and spaces are no fault."""
    kinds = {"id": "string", "v": kind}
    with pytest.raises(
        JoinError, match=f"shard s, record 3: v is '{re.escape(wrong)}', allowed is {allowed}"
    ):
        joined(tmp_path, f"a,{good}\nb,\nc,{wrong}\n".encode(), output, kinds)
    lines = f'{{"id": "a", "v": "{good}"}}\n{{"id": "b", "v": "{wrong}"}}\n'
    with pytest.raises(
        JoinError, match=f"shard s, record 2: v is '{re.escape(wrong)}', allowed is {allowed}"
    ):
        joined(tmp_path, lines.encode(), output, kinds, records_format="jsonlines")
    assert not list(tmp_path.glob("out*"))
    assert len(joined(tmp_path, f"a,{good}\nb,\nc, {good} \n".encode(), output, kinds)) == 3


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("output", OUTPUTS)
def test_all_that_counts_as_a_number_or_as_none_is_joined(tmp_path: Path, output: str) -> None:
    """What preprocessing would let pass."""
    records = b'c1,+5,"0.50"\n"c,2",,\n0x3, 6 ,.5\nc4,"7",-1e3\n'
    rows = [
        [row[0], int(row[1] or 0), float(row[2] or 0), float(row[3])]
        for row in joined(tmp_path, records, output)
    ]
    assert rows == [["c1", 5, 0.5, 0.5], ["c,2", 0, 0.0, 0.5], ["0x3", 6, 0.5, 0.5], ["c4", 7, -1000.0, 0.5]]


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    ("end", "found"),
    [
        (b'c2,1,"2', "breaks off: a quote is opened and not closed"),
        (b'c2,1,"2\n', "breaks off: a quote is opened and not closed"),
        (b"caf\xe9,1,2", "is not UTF-8: invalid continuation byte"),
        (b"c2,1,2\r", "it ends in a carriage return"),
        (b"c2,1\r,2\n", "is not CSV: it has a carriage return outside of quotes"),
    ],
)
def test_an_end_that_would_swallow_its_prediction_is_named(
    tmp_path: Path, output: str, end: bytes, found: str
) -> None:
    """As of an object whose upload was cut off."""
    kinds = {"id": "string", "age": "integer", "note": "string"}
    with pytest.raises(JoinError, match=f"shard s, record 2:? {found}"):
        joined(tmp_path, b"c1,42,x\n" + end, output, kinds)


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_empty_line_is_no_record_of_one_column_either(tmp_path: Path, output: str) -> None:
    """Arrow would read it as an empty cell."""
    with pytest.raises(JoinError, match="shard s, record 2: 0 fields, its columns are note"):
        joined(tmp_path, b"a\n\nb\n", output, {"note": "string"})


def test_records_that_preprocessing_wrote_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were, and the join of large runs has no time for it."""
    monkeypatch.setattr(
        "batch_inference.jobs.join.aligned_join.check_records", lambda _: pytest.fail("it read them")
    )
    assert joined(tmp_path, b"c1,42,0.5\n", "csv", is_preprocessed=True) == [["c1", "42", "0.5", "0.5"]]


@settings(max_examples=200)
@given(
    text=st.lists(st.sampled_from(["a", "1", ";", ";", '"', "\n", "\r", "0x1", "é", "\ufeff", " "])).map(
        "".join
    ),
    kind=st.sampled_from(["string", "integer", "float"]),
    size=st.integers(8, 40),
)
# A byte order mark amid the file, first in its block.
@example(text=";\n\ufeff;", kind="string", size=8)
@example(text=";\n\ufeff", kind="string", size=8)
def test_whatever_the_text_each_row_has_its_prediction_last_or_nothing_is_joined(
    tmp_path_factory: pytest.TempPathFactory, text: str, kind: str, size: int
) -> None:
    """In each format the same rows, or in each format none."""
    folder = tmp_path_factory.mktemp("any")
    kinds = {"a": "string", "b": kind}
    found: list[Any] = []
    for output in OUTPUTS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(blocks, "BLOCK_BYTES", size)
            try:
                rows = joined(folder, text.encode(), output, kinds, delimiter=";")
            except JoinError:
                found.append(None)
                continue
        assert all(len(row) == 3 and float(row[2]) == 0.5 for row in rows)
        found.append([(row[0] or "", "" if row[1] is None else str(row[1]).strip()) for row in rows])
    assert found[0] is None or kind != "string" or found[0] == found[1] == found[2]
    assert len({None if rows is None else len(rows) for rows in found}) == 1


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("cell", ['"5\\" pipe, 6\\" wide"', '"24" or "25"', '"a"b'])
def test_a_quote_that_is_out_of_place_is_named(tmp_path: Path, output: str, cell: str) -> None:
    """Arrow, the csv module and whoever reads what is published make different cells of it."""
    kinds = {"id": "string", "note": "string"}
    with pytest.raises(
        JoinError, match="shard s, record 2 is not CSV: it has text after the quote that closes"
    ):
        joined(tmp_path, f"a,x\nb,{cell}\nc,y\n".encode(), output, kinds)
    content = b'a,5" pipe\nb,"24 ""x"""\n'
    assert [row[1] for row in joined(tmp_path, content, output, kinds)] == ['5" pipe', '24 "x"']
