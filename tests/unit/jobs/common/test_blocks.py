from __future__ import annotations

import csv
import io
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.jobs.common.blocks import BlockReader, count_records

# Everything that can end a record or a field, and a little that cannot.
HOSTILE = st.text(alphabet='a,;"\n\r é\u2028\x0b', max_size=60)
WELL_FORMED = st.lists(
    st.lists(st.text(alphabet='a,"\n\r é', max_size=6), min_size=2, max_size=4), max_size=12
)


def by_the_csv_module(text: str, delimiter: str) -> list[list[str]]:
    """Records as the csv module reads them when line feeds alone end lines."""
    return list(csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter))


def cut(text: str, delimiter: str, size: int) -> list[bytes]:
    blocks = BlockReader(io.BytesIO(text.encode()), delimiter, size)
    return [block.get_record(index) for block in blocks for index in range(block.record_count)]


@settings(max_examples=400)
@given(
    text=HOSTILE.filter(lambda text: "\r" not in text),
    delimiter=st.sampled_from(",;"),
    size=st.integers(1, 40),
)
def test_records_end_where_the_csv_module_ends_them(text: str, delimiter: str, size: int) -> None:
    """Whatever stands in the file, and however it falls into blocks, the records are those of the csv module."""
    records = cut(text, delimiter, size)
    fields = [
        next(csv.reader(io.StringIO(one.decode(), newline="\n"), delimiter=delimiter), []) for one in records
    ]
    expected = by_the_csv_module(text, delimiter)
    if records and len(expected) == len(fields) and '"' in records[-1].decode():
        # A quote that is never closed takes the added line end into its field.
        fields[-1], expected[-1] = [[cell.rstrip("\n") for cell in row] for row in (fields[-1], expected[-1])]
    assert fields == expected
    assert b"\n".join([*records, b""]).rstrip(b"\n") == text.encode().rstrip(b"\n")


@settings(max_examples=200)
@given(
    rows=WELL_FORMED, ending=st.sampled_from(["\n", "\r\n"]), size=st.integers(1, 40), count=st.integers(1, 5)
)
def test_taking_records_in_any_number_loses_none(
    rows: list[list[str]], ending: str, size: int, count: int
) -> None:
    """However many are taken at a time, the records come out in order, each once, with its own bytes."""
    lines = io.StringIO()
    csv.writer(lines, lineterminator=ending, quoting=csv.QUOTE_ALL).writerows(rows)
    blocks = BlockReader(io.BytesIO(lines.getvalue().encode()), ",", size)
    taken: list[bytes] = []
    while True:
        block = blocks.read_records(count)
        assert block.record_count <= count
        taken.extend(block.get_record(index) for index in range(block.record_count))
        if block.record_count < count:
            break
    assert [next(csv.reader(io.StringIO(one.decode(), newline=""))) for one in taken] == rows


def test_json_lines_are_cut_at_line_feeds_alone(tmp_path: Path) -> None:
    """A quote means nothing there, and the last line needs no line feed."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'"\\""\n"x"')
    assert count_records(path, None) == 2
    assert count_records(path, ",") == 1  # as CSV it would be one record, in quotes


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_bytes(b"")
    assert count_records(path, ",") == 0
