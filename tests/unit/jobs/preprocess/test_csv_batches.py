"""Lines that are read many at once give what the same lines give when each is read on its own."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batch_inference.jobs.preprocess.readers import csv_batches, csv_records
from batch_inference.jobs.preprocess.readers.batch import Batch, ParsedRecords, build_batch, iter_parsed
from batch_inference.jobs.preprocess.readers.csv_batches import CsvBatchReader, RecordContinuesError
from batch_inference.jobs.preprocess.readers.csv_records import CsvRecordReader

# Mostly plain lines, with all that makes a line another kind, alone and together.
PIECES = st.sampled_from(
    [
        "a,b",
        "1.5,x",
        ",",
        "a",
        "é,ü",
        "\\",
        "'",
        ";",
        '"',
        '""',
        '"a\nb"',
        '"c,d",e',
        "\0",
        "\udcff",
        "\r",
        "\u2028",
    ]
)
LINES = st.lists(
    st.tuples(st.lists(PIECES, max_size=3), st.sampled_from(["\n", "\n", "\n", "\r\n", ""])), max_size=25
)
Record = tuple[list[str], str, int, Any, str]


def compose(lines: list[tuple[list[str], str]]) -> str:
    return "".join("".join(pieces) + end for pieces, end in lines)


class Source:
    """Text in reads of a few bytes."""

    def __init__(self, text: str, size: int) -> None:
        self._content = io.BytesIO(text.encode("utf-8", "surrogateescape"))
        self._size = size

    def read(self, size: int, /) -> bytes:
        assert size > 0
        return self._content.read(self._size)

    def escape_undecodable(self, lines: bytes, /) -> bytes:
        return lines.decode("utf-8", "surrogateescape").encode("utf-8", "surrogatepass")


def list_batched(batches: list[Batch]) -> list[Record]:
    """Cells, text, line number, reject and original text of each record."""
    records: list[Record] = []
    for batch in batches:
        assert batch.ordinals.tolist() == [len(records) + number + 1 for number in range(len(batch))]
        first_cell = 0
        for index in range(len(batch)):
            last_cell = first_cell + int(batch.field_counts[index])
            ranges = zip(
                batch.cell_starts[first_cell:last_cell], batch.cell_ends[first_cell:last_cell], strict=True
            )
            cells = [batch.buffer[start:end].decode("utf-8", "surrogatepass") for start, end in ranges]
            text = batch.buffer[batch.text_starts[index] : batch.text_ends[index] + 1]
            assert not batch.is_plain[index] or not any(
                set(cell) & set(f'{batch.separator}"\r\n') for cell in cells
            )
            records.append(
                (
                    cells,
                    text.decode("utf-8", "surrogatepass"),
                    int(batch.line_numbers[index]),
                    batch.malformed.get(index),
                    batch.get_original_text(index),
                )
            )
            first_cell = last_cell
        assert first_cell == len(batch.cell_ends)
    return records


def list_parsed(parts: list[ParsedRecords]) -> list[Record]:
    """The same of records that were read one by one."""
    batches = [build_batch(part) for part in parts]
    return list_batched(batches)


def count_blank(parts: list[Any]) -> int:
    return sum(part.blank_lines for part in parts)


@settings(max_examples=600, deadline=None)
@given(
    lines=LINES,
    size=st.integers(1, 50),
    delimiter=st.sampled_from([",", ",", ";", "é"]),
    escape=st.sampled_from([None, None, "\\"]),
    limit=st.sampled_from([10, 1 << 20]),
)
@example([([], "\n"), (["a,b"], "\n")], 3, ",", None, 1 << 20)
@example([(['"'], "\n"), (["a,b"], "\n"), (["a"], "")], 2, ",", None, 1 << 20)
def test_blocks_of_any_size_give_the_records_of_the_lines(
    lines: list[tuple[list[str], str]], size: int, delimiter: str, escape: str | None, limit: int
) -> None:
    """Cells, texts, line numbers, rejects and blank lines, whatever the lines hold and wherever a block ends."""
    text = compose(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_records, "MAX_FIELD_CHARACTERS", limit)
        patch.setattr(csv_batches, "MAX_FIELD_CHARACTERS", limit)
        records = CsvRecordReader(io.StringIO(text, newline=""), delimiter, escape)
        expected = list(iter_parsed(records.read_records))
        reader = CsvBatchReader(Source(text, size), delimiter, escape)
        found = list(reader)
    assert list_batched(found) == list_parsed(expected)
    assert count_blank(found) == count_blank(expected)
    assert reader.line_count == len(list(io.StringIO(text, newline="")))


@settings(max_examples=300, deadline=None)
@given(lines=LINES, size=st.integers(1, 50), data=st.data())
def test_parts_give_the_records_of_the_whole_unless_one_ends_within_a_record(
    lines: list[tuple[list[str], str]], size: int, data: st.DataObject
) -> None:
    """Cut behind any line feed."""
    text = compose(lines)
    cuts = [at + 1 for at, character in enumerate(text) if character == "\n"]
    cut = data.draw(st.sampled_from(cuts or [0]))
    first = CsvBatchReader(Source(text[:cut], size), ",", is_part=True)
    second = CsvBatchReader(Source(text[cut:], size), ",")
    whole = CsvBatchReader(Source(text, size), ",")
    expected = list_batched(list(whole))
    try:
        found = list_batched(list(first))
    except RecordContinuesError:
        assert '"' in text[:cut]  # an open quote, which may be closed behind the cut
        return
    behind = list_batched(list(second))
    assert (
        found + [(cells, one, line + first.line_count, *more) for cells, one, line, *more in behind]
        == expected
    )


@settings(max_examples=200, deadline=None)
@given(lines=LINES, size=st.integers(1, 50))
def test_the_header_is_the_first_record(lines: list[tuple[list[str], str]], size: int) -> None:
    """Also behind empty lines, and over several; the records follow it, numbered from one."""
    text = "\n" + compose(lines)
    expected = list(iter_parsed(CsvRecordReader(io.StringIO(text, newline=""), ",").read_records))
    rows = [row for part in expected for row in part.rows]
    reader = CsvBatchReader(Source(text, size), ",")
    assert reader.read_header() == (rows[0] if rows else None)
    assert list_batched(list(reader))[:1] == list_parsed([merge(expected)])[1:2]


def merge(parts: list[ParsedRecords]) -> ParsedRecords:
    whole = ParsedRecords([], [], 1, [])
    for part in parts:
        whole.extend(part)
    return whole


@pytest.mark.timeout(60)
def test_a_record_that_is_longer_than_a_block_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block grows until a record ends in it; lines ended by carriage returns alone are lines too."""
    monkeypatch.setattr(csv_batches, "BLOCK_BYTES", 10)
    text = 'a,"' + "x\n" * 500 + '"\nb,c\n'
    found = list_batched(list(CsvBatchReader(io_source(text), ",")))
    assert [cells for cells, *_ in found] == [["a", "x\n" * 500], ["b", "c"]]
    found = list_batched(list(CsvBatchReader(io_source("a,b\rc,d\r\re,f"), ",")))
    assert [(cells, line) for cells, _, line, *_ in found] == [
        (["a", "b"], 1),
        (["c", "d"], 2),
        (["e", "f"], 4),
    ]


def io_source(text: str) -> Source:
    return Source(text, 10)


def test_plain_lines_are_not_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the csv module reads are the lines with quotes, and as many records as these are lines."""
    taken: list[str] = []
    read = csv.reader

    def counted(lines: Any, **kwargs: Any) -> Any:
        return read((taken.append(line) or line for line in lines), **kwargs)  # type: ignore[func-returns-value]

    monkeypatch.setattr("batch_inference.jobs.common.csv_reading.csv.reader", counted)
    text = "a,b\n" * 50 + '"q\n",c\n' + "a,b\n" * 50
    assert len(list_batched(list(CsvBatchReader(Source(text, 1 << 20), ",")))) == 101
    assert taken == ['"q\n', '",c\n', "a,b\n"]
