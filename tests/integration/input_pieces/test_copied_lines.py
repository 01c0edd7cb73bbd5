"""Records that were never read before come to the join with line ends of one character, wherever others begin."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.run import join_inputs
from batch_inference.run.join_inputs import copy_normalized_lines


def copied(text: bytes) -> bytes:
    target = io.BytesIO()
    copy_normalized_lines(io.BytesIO(text), target)
    return target.getvalue()


def test_lines_of_windows_behind_the_first_mebibyte_end_in_one_character_too() -> None:
    """As in an object that was put together from files of two systems."""
    before = b"c1,42,0.5\n" * 110_000
    assert len(before) > 1 << 20
    assert copied(before + b"c2,7,1.5\r\nc3,8,2.5\r\n") == before + b"c2,7,1.5\nc3,8,2.5\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a\nb", b"a\nb"),
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b"a\r\r\nb\r\r\n", b"a\nb\n"),
        (b"a\r\nb\r", b"a\nb"),
        (b"a\rb\n", b"a\rb\n"),
        (b"", b""),
    ],
)
def test_no_record_keeps_a_carriage_return_at_its_end(text: bytes, expected: bytes) -> None:
    """Not where text mode doubled it, nor where the object ends with it; one within a line is the record's own."""
    assert copied(text) == expected


@given(
    lines=st.lists(st.tuples(st.text("a\r,", max_size=9), st.sampled_from(["\n", "\r\n", "\r\r\n"]))),
    size=st.integers(1, 12),
)
def test_line_ends_are_told_wherever_reading_stops(lines: list[tuple[str, str]], size: int) -> None:
    text = "".join(line + end for line, end in lines).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(join_inputs, "_CHUNK", size)
        assert copied(text) == "".join(line.rstrip("\r") + "\n" for line, _ in lines).encode()
