from __future__ import annotations

import csv
import io
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.jobs.preprocess.readers import batch, csv_records
from batch_inference.jobs.preprocess.readers.batch import ParsedRecords, iter_parsed
from batch_inference.jobs.preprocess.readers.csv_records import CsvRecordReader

HOSTILE = st.text(alphabet='a,"\n\r é\u2028', max_size=60)


def read(text: str, limit: int = 1000) -> list[ParsedRecords]:
    records = CsvRecordReader(io.StringIO(text, newline=""), ",")
    return list(iter(lambda: records.read_records(limit), None))


def ended_properly(text: str) -> bool:
    """No quote is left open at the end, and none is out of place, as the strict csv module sees it."""
    if text and not text.endswith(("\n", "\r")):
        text += "\n"
    try:
        rows = list(csv.reader(io.StringIO(text + "a\n", newline=""), strict=True))
    except csv.Error:
        return False
    return bool(rows) and rows[-1] == ["a"]


def is_well_quoted(text: str) -> bool:
    """Nothing is out of place: in a record of several lines fields have quotes around all of them, or none."""
    if not ended_properly(text):
        return False
    state, has_break, has_bare_quote = "begin", False, False
    for character in text:
        if state == "quoted":
            has_break |= character in "\r\n"
            state = "closed" if character == '"' else state
        elif character in "\r\n":
            if has_break and has_bare_quote:
                return False
            state, has_break, has_bare_quote = "begin", False, False
        elif character == ",":
            state = "begin"
        elif character == '"' and state != "bare":  # it opens a field, or doubles the quote before it
            state = "quoted"
        else:
            has_bare_quote |= character == '"'
            state = "bare"
    return not (has_break and has_bare_quote)


@settings(max_examples=400)
@given(text=HOSTILE.filter(is_well_quoted), limit=st.integers(1, 7))
def test_fields_are_those_of_the_csv_module(text: str, limit: int) -> None:
    """For any text that is CSV, in batches of any size, the records are those of the csv module, but empty lines."""
    parts = read(text, limit)
    rows = [row for part in parts for row in part.rows]
    everything = list(csv.reader(io.StringIO(text, newline="")))
    assert rows == [row for row in everything if row]
    assert sum(part.blank_lines for part in parts) == len(everything) - len(rows)
    numbers = [part.first_record + index for part in parts for index in range(len(part.rows))]
    assert numbers == list(range(1, len(rows) + 1))


@settings(max_examples=400)
@given(text=HOSTILE.filter(is_well_quoted), limit=st.integers(1, 7))
def test_each_text_reads_as_its_own_record_and_nothing_is_lost(text: str, limit: int) -> None:
    """A record's text gives its fields again, and the texts together are the input but for its line ends."""
    parts = read(text, limit)
    texts = [one for part in parts for one in part.texts]
    rows = [row for part in parts for row in part.rows]
    assert [next(csv.reader(io.StringIO(one, newline=""))) for one in texts] == rows
    assert all(one.endswith("\n") and not one.endswith("\r\n") for one in texts)

    def bare(value: str) -> str:
        return value.replace("\r", "").replace("\n", "")

    assert bare("".join(texts)) == bare(text)


@settings(max_examples=200)
@given(text=HOSTILE.filter(is_well_quoted))
def test_line_numbers_point_at_the_first_line_of_a_record(text: str) -> None:
    """Counting physical lines, whatever ends them."""
    lines = list(io.StringIO(text, newline=""))
    for part in read(text, 3):
        for number, one in zip(part.line_numbers, part.texts, strict=True):
            assert "".join(islice(lines, number - 1, None)).startswith(one.rstrip("\n"))


def test_a_quote_that_is_never_closed_costs_one_line() -> None:
    """Its line is set apart with a reason; the records behind it are read as if it were not there."""
    (only,) = read('a,b\n"c,d\ne,f\n')
    assert only.rows[0] == ["a", "b"]
    assert only.rows[2] == ["e", "f"]
    assert only.texts == ["a,b\n", '"c,d\n', "e,f\n"]
    assert {index: rule for index, (rule, *_) in only.malformed.items()} == {1: "quoting"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("number", [1, 2, 255, 256, 257, 256 + 32_768, 257 + 32_768])
@pytest.mark.parametrize("last", ['b,"cut o', '"', 'b,"cut ""', 'b,"x"\nc,"cut'])
def test_an_object_that_is_cut_off_inside_a_field_loses_its_last_record_alone(
    number: int, end: str, last: str
) -> None:
    """Also where that record is the last of a batch; its last line is set apart, whether it has an end or not."""
    before, cut = last.split("\n") if "\n" in last else ("a,x", last)
    whole = ["a,x"] * (number - 2) + [before] * (number > 1)
    records = CsvRecordReader(
        io.StringIO("".join(f"{line}\n" for line in whole) + cut + end, newline=""), ","
    )
    parts = list(iter_parsed(records.read_records))
    assert "".join(text for part in parts for text in part.texts) == "".join(
        f"{line}\n" for line in [*whole, cut]
    )
    broken = {
        part.first_record + index: rule for part in parts for index, (rule, *_) in part.malformed.items()
    }
    assert broken == {number: "quoting"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_the_lines_behind_a_quote_that_is_never_closed_are_records(limit: int) -> None:
    """In batches of any size, also those behind the last quote of the object, each of which may be open too."""
    text = 'a,b\n"g\nh"\n"c,d\ne,f\ni"j,"k\nk,l'
    parts = read(text, limit)
    assert [one for part in parts for one in part.texts] == [
        "a,b\n", '"g\nh"\n', '"c,d\n', "e,f\n", 'i"j,"k\n', "k,l\n",
    ]  # fmt: skip
    assert [part.first_record + index for part in parts for index in part.malformed] == [3, 5]


@pytest.mark.timeout(60)
@settings(max_examples=400)
@given(text=HOSTILE, limit=st.integers(1, 7))
def test_any_text_comes_to_an_end_with_every_character_in_one_record(text: str, limit: int) -> None:
    """The csv module's leniency about an open quote never passes as a record."""
    parts = read(text, limit)
    taken = "".join(one for part in parts for one in part.texts)
    assert taken.replace("\r", "").replace("\n", "") == text.replace("\r", "").replace("\n", "")
    for part in parts:
        for index, one in enumerate(part.texts):
            assert index in part.malformed or ended_properly(one)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("length", [17, 18, 19, 20, 21, 22])
def test_an_open_field_about_as_long_as_a_field_may_be_is_set_apart(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """Looking whether it would go on must not trip over the limit itself."""
    monkeypatch.setattr(csv_records, "MAX_FIELD_CHARACTERS", 20)
    (only,) = read('a,b\nc,"' + "x" * length)
    assert {index: rule for index, (rule, *_) in only.malformed.items()} == {1: "quoting"}


def test_a_field_beyond_the_limit_costs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stray quote does not make one record of megabytes."""
    monkeypatch.setattr(csv_records, "MAX_FIELD_CHARACTERS", 20)
    lines = ['"x', *[f"row {number}" for number in range(10)], 'y"', "z" * 21, "end"]
    (only,) = read("\n".join(lines))
    assert [text.rstrip("\n") for text in only.texts] == lines
    assert {index: rule for index, (rule, *_) in only.malformed.items()} == {0: "quoting", 12: "quoting"}
    (plain,) = read("\n".join(lines[1:11] + lines[12:]))
    assert [text.rstrip("\n") for text in plain.texts] == lines[1:11] + lines[12:]
    assert list(plain.malformed) == [10]


def test_wide_records_come_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is that of a number of characters, not of a number of records."""
    monkeypatch.setattr(batch, "BATCH_CHARACTERS", 10_000)
    records = CsvRecordReader(io.StringIO(f"{'x' * 99}\n" * 2_000), ",")
    assert [len(one.rows) for one in iter_parsed(records.read_records)] == [256, *[100] * 17, 44]
