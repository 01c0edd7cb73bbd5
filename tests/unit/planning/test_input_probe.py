"""A few windows of the input tell, before anything is spent, whether SageMaker's lines are the records."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.config.sections.stages import InputSection
from batch_inference.planning.inputs.input_probe import (
    ProbeResult,
    Window,
    find_object_start_problem,
    probe_window,
    split_whole_lines,
)

SOURCE = InputSection.model_validate(
    {"uri": "s3://data/in/", "columns": [{"name": "id"}, {"name": "text"}, {"name": "x", "type": "float"}]}
)
JSON = SOURCE.model_copy(update={"format": "jsonlines"})


def window(text: str | bytes, *, start: int = 0, is_end: bool = True) -> Window:
    return Window("in/a", start, text.encode() if isinstance(text, str) else text, is_end)


@given(text=st.text(alphabet="ab,\n\r", max_size=60), start=st.sampled_from([0, 9]), is_end=st.booleans())
def test_only_lines_whose_beginning_and_end_are_seen_are_looked_at(
    text: str, start: int, is_end: bool
) -> None:
    lines = text.split("\n")
    if start:
        lines = lines[1:]
    if not is_end or not lines[-1:] or not lines[-1]:
        lines = lines[:-1]
    assert split_whole_lines(window(text, start=start, is_end=is_end)) == [
        line.removesuffix("\r").encode() for line in lines
    ]


def test_plain_records_are_no_problem_and_the_longest_is_known() -> None:
    told, problems = probe_window(window('1,a,2\r\n2,"b, ""c""",3\n3,ddd,4'), SOURCE)
    assert (told, problems) == (ProbeResult(has_header=False, largest_record_bytes=14), ())
    assert probe_window(window('{"id": 1}\n{"id": 2}\n'), JSON) == (
        ProbeResult(largest_record_bytes=9, field_names=frozenset({"id"})),
        (),
    )


def test_a_line_longer_than_its_window_is_at_least_as_long() -> None:
    told, problems = probe_window(window("x" * 500, is_end=False), SOURCE)
    assert (told.largest_record_bytes, problems) == (500, ())


def test_a_cell_of_any_length_is_told() -> None:
    """The csv module would stop at 131,072 characters."""
    long = "x" * 200_000
    assert probe_window(window(f"1,{long},2\n"), SOURCE)[1] == ()
    (problem,) = probe_window(window(f"1,a,2\n1,{long}\n"), SOURCE)[1]
    assert problem.startswith("in/a: line 2 has 2 cells, and input.columns names 3")


def test_quotes_that_readers_of_csv_read_in_ways_of_their_own_are_a_problem() -> None:
    """An even number of them, as of two escaped by backslashes."""
    (problem,) = probe_window(window('1,a,2\n2,"5\\" pipe, 6\\" wide",3\n'), SOURCE)[1]
    assert problem.startswith(
        "in/a: line 2 has text behind the quote that closes a cell, and readers of CSV differ"
    )
    assert probe_window(window('1,5" or 6" pipe,2\n2,"a ""b""",3\n'), SOURCE)[1] == ()


def test_a_lone_carriage_return_is_a_problem_and_no_end_of_the_program() -> None:
    (problem,) = probe_window(window("1,a,2\r2,b,3\n"), SOURCE)[1]
    assert problem.startswith(
        "in/a: line 1 has a carriage return outside of quotes, at which readers of CSV end"
    )


def test_column_names_in_the_first_line_are_seen() -> None:
    assert probe_window(window("ID, Text,x\n1,a,2\n"), SOURCE)[0].has_header
    assert not probe_window(window("1,text,x\n"), SOURCE)[0].has_header
    assert not probe_window(window("id,text,x\n", start=4), SOURCE)[0].has_header


@pytest.mark.parametrize(
    ("text", "source", "message"),
    [
        (
            '1,a,2\n2,"first\nsecond",3\n', SOURCE,
            ("in/a: line 2 has an odd number of quotes, so a record goes on behind its end, and SageMaker ends a "
             "record at each line end; add a preprocess section, which reads line breaks in quotes, or upload "
             "records of one line"),
        ),
        (
            "1,a,2\nsecond line of a quoted text\n", SOURCE,
            ("in/a: line 2 has 1 cell, and input.columns names 3; correct the columns or the delimiter, or add a "
             "preprocess section, which keeps such records aside and reads line breaks in quotes"),
        ),
        (
            "1,a,2\n\n2,b,3\n", SOURCE,
            ("in/a: line 2 is empty, and SageMaker would send it to the model as a record; upload the object without "
             "it, or add a preprocess section, which passes over empty lines"),
        ),
        (
            '{"id": 1,\n "x": 2}\n', JSON,
            ("in/a: line 1 is not JSON: Expecting property name enclosed in double quotes at character 10, "
             "and SageMaker ends a record at each line end; write one object "
             "to a line, or add a preprocess section, which keeps such lines aside"),
        ),
        (
            "1,caf\xe9,2\n".encode("latin-1"), SOURCE,
            ("in/a: line 1 is not utf-8, and the model reads the bytes unchanged; upload utf-8, or add a "
             "preprocess section with input.encoding"),
        ),
    ],
)  # fmt: skip
def test_what_would_reach_the_model_in_parts_or_unreadable_is_one_sentence(
    text: str | bytes, source: InputSection, message: str
) -> None:
    assert probe_window(window(text), source)[1] == (message,)


@given(before=st.integers(0, 5), inside=st.integers(1, 5), after=st.integers(0, 5))
def test_a_quoted_line_break_anywhere_in_sight_is_seen(before: int, inside: int, after: int) -> None:
    quoted = "\n".join(["text"] * (inside + 1))
    lines = "1,a,2\n" * before + f'2,"{quoted}",3\n' + "1,a,2\n" * after
    assert probe_window(window(lines), SOURCE)[1] != ()


@pytest.mark.parametrize(
    ("data", "compression", "message"),
    [
        (b"PAR1....", "none", "found a Parquet file, which has no lines"),
        (
            gzip.compress(b"1,a,2\n", mtime=0),
            "none",
            "found gzip data, which the model would read compressed",
        ),
        (b"1,a,2\n", "gzip", "found no gzip data; set input.compression to none"),
        (b"\xef\xbb\xbf1,a,2\n", "none", "found a byte order mark"),
    ],
)
def test_objects_of_another_kind_are_seen_by_their_first_bytes(
    data: bytes, compression: str, message: str
) -> None:
    source = SOURCE.model_copy(update={"compression": compression})
    assert (find_object_start_problem(data, source) or "").startswith(message)


def test_what_is_what_it_should_be_is_left_alone() -> None:
    assert find_object_start_problem(b"1,a,2\n", SOURCE) is None
    packed = gzip.compress(b"1,a,2\n" * 1000)
    assert find_object_start_problem(packed, SOURCE.model_copy(update={"compression": "gzip"})) is None
