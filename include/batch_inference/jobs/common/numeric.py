"""Parses cells as numbers, a whole column at a time, and defines what a number is.

Cells of up to 16 digits without an exponent are parsed together, eight characters in one 64-bit integer (as in D.
Lemire, "Number parsing at a gigabyte per second", 2021). Their digits are a whole number up to 2**53 and their power of
ten is below 10**22: both are exact as doubles, so that their quotient is the nearest double, which `float` returns too.
"""

from __future__ import annotations

import math
import re
import sys
from typing import NamedTuple, Sequence

import numpy as np

from batch_inference.jobs.common.byte_ranges import ByteCells, read_words

_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_INT64 = range(-(1 << 63), 1 << 63)

_PLAIN = {"float": "0123456789.+-eE", "integer": "0123456789+-"}


class ParsedColumn(NamedTuple):
    """A column as float64, NaN where empty, and what is allowed instead, by the index of each bad cell."""

    numbers: np.ndarray
    allowed: dict[int, str]


def parse_column(cells: Sequence[str], column_type: str) -> ParsedColumn:
    """Parse an integer or float column.

    A number has ASCII digits and may be surrounded by spaces; `nan`, `inf`, `1_000` and `0x10` are not numbers, an
    integer has 64 bits, a float is finite.
    """
    # float() accepts all of these notations and a few more, which the check of the characters excludes.
    if not "".join(cells).strip(_PLAIN[column_type]):
        try:
            convert = float if column_type == "float" else int
            values = np.array([convert(cell) if cell else math.nan for cell in cells], dtype=np.float64)
            if not (np.abs(values) > (sys.float_info.max if column_type == "float" else 2.0**53)).any():
                return ParsedColumn(values, {})
        except (ValueError, OverflowError):
            pass
    values = np.full(len(cells), math.nan)
    allowed = {}
    for index, cell in enumerate(cells):
        number, expected = parse_cell(cell, column_type)
        if expected:
            allowed[index] = expected
        elif number is not None:
            values[index] = number
    return ParsedColumn(values, allowed)


def parse_cell(cell: str, column_type: str) -> tuple[float | int | None, str]:
    """Parse one cell: its number (None if empty), or what is allowed instead."""
    text = cell.strip(" \t")
    if not text:
        return None, ""
    if column_type == "integer":
        if not _INTEGER.fullmatch(text):
            return None, "a whole number or empty"
        if len(text) > 20 or int(text) not in _INT64:
            return None, "a whole number of 64 bits"
        return int(text), ""
    if not _FLOAT.fullmatch(text):
        return None, "a number or empty"
    number = float(text)
    return (number, "") if math.isfinite(number) else (None, "a finite number of 64 bits")


def parse_byte_cells(cells: ByteCells, column_type: str) -> ParsedColumn:
    """Parse an integer or float column to the same numbers as `parse_column`."""
    lengths = cells.ends - cells.starts
    starts, digit_counts = cells.starts, lengths
    words = read_words(cells.buffer, starts)
    first_bytes = words & _U64(0xFF)
    is_negative = first_bytes == ord("-")
    has_sign = (is_negative | (first_bytes == ord("+"))) & (lengths > 0)
    if has_sign.any():
        starts, digit_counts = starts + has_sign, lengths - has_sign
        words = read_words(cells.buffer, starts)
    if len(lengths) and digit_counts.max() > 8:
        digits, decimals, is_plain = _parse_long_digits(cells.buffer, starts, digit_counts)
    else:
        digits, decimals, is_plain = _parse_digits(words, digit_counts)
    has_point = decimals >= 0
    is_plain &= (digits <= _U64(1 << 53)) & (digit_counts > has_point)
    if column_type == "integer":
        is_plain &= ~has_point
    numbers = digits.astype(np.float64)
    if has_point.any():
        numbers /= _POWERS[decimals]
    if has_sign.any():
        np.negative(numbers, out=numbers, where=is_negative)
        if column_type == "integer":
            numbers += 0.0  # of zero and negative zero, the sum is zero
    allowed = {}
    is_plain |= lengths == 0
    numbers[lengths == 0] = math.nan
    if not is_plain.all():
        others = np.flatnonzero(~is_plain)
        parsed = parse_column([cells[index] for index in others.tolist()], column_type)
        numbers[others] = parsed.numbers
        allowed = {int(others[index]): expected for index, expected in parsed.allowed.items()}
    return ParsedColumn(numbers, allowed)


_U64 = np.uint64
_POWERS = np.array([10.0**power for power in range(16)] + [1.0])  # the last for -1: no decimal point
# '0' in all bytes but the highest `index`.
_ZEROS = np.array([0x3030303030303030 >> (8 * count) if count < 8 else 0 for count in range(9)], dtype=_U64)
# By the upper bits of the exponent of a double that is 0, or has bit 7 of byte `index` set: digits behind that byte.
_DECIMALS = np.full(136, -1)
_DECIMALS[128:] = range(7, -1, -1)


def _parse_digits(words: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parse up to eight characters, the first in the lowest byte, as digits with at most one decimal point.

    Returns the number without its point, how many digits follow the point (-1 without one), and for which words the
    characters are these.
    """
    counts = counts.astype(_U64)
    half = (_U64(8) - counts) << _U64(2)  # numpy before 1.18 does not shift by 64
    aligned = ((words << half) << half) | _ZEROS[counts]
    difference = aligned ^ _U64(0x2E2E2E2E2E2E2E2E)  # a zero byte is a point
    zero_bytes = (difference - _U64(0x0101010101010101)) & ~difference & _U64(0x8080808080808080)
    point = zero_bytes & (~zero_bytes + _U64(1))  # the lowest
    has_point = point != 0
    before_point = (point >> _U64(7)) - _U64(1)
    # The characters before the point take its place.
    moved = (
        (aligned & ~((before_point << _U64(8)) | _U64(0xFF)))
        | ((aligned & before_point) << _U64(8))
        | _U64(0x30)
    )
    aligned = np.where(has_point, moved, aligned)
    upper = _U64(0xF0F0F0F0F0F0F0F0)
    # A digit is 0x30 to 0x39: its upper half is 3, also after adding 6.
    is_digit = (aligned & upper) | (((aligned + _U64(0x0606060606060606)) & upper) >> _U64(4))
    pairs = ((aligned & _U64(0x0F0F0F0F0F0F0F0F)) * _U64(10 * 256 + 1)) >> _U64(8)
    fours = ((pairs & _U64(0x00FF00FF00FF00FF)) * _U64(100 * 65536 + 1)) >> _U64(16)
    eights = ((fours & _U64(0x0000FFFF0000FFFF)) * _U64(10000 * (1 << 32) + 1)) >> _U64(32)
    decimals = _DECIMALS[point.astype(np.float64).view(np.int64) >> 55]
    return eights, decimals, is_digit == _U64(0x3333333333333333)


def _parse_long_digits(
    buffer: bytes, starts: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parse up to 16 characters as `_parse_digits` does; more are not parsed."""
    head_counts = np.clip(counts - 8, 0, 8)
    head, head_decimals, is_head = _parse_digits(read_words(buffer, starts), head_counts)
    tail, decimals, is_tail = _parse_digits(read_words(buffer, starts + head_counts), np.minimum(counts, 8))
    digits = head * np.where(decimals >= 0, _U64(10**7), _U64(10**8)) + tail
    is_plain = is_head & is_tail & (counts <= 16) & ((head_decimals < 0) | (decimals < 0))
    return digits, np.where(head_decimals >= 0, head_decimals + 8, decimals), is_plain
