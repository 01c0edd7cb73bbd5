"""Parses the cells of a column to numbers, all at once; cell_types.py defines what a cell of each type is.

The number of a boolean is 1 or 0, that of a date its days and that of a timestamp its microseconds since 1970-01-01.

Cells of up to 16 digits without an exponent are parsed together, eight characters in one 64-bit integer (as in D.
Lemire, "Number parsing at a gigabyte per second", 2021). Their digits are a whole number up to 2**53 and their power of
ten is below 10**22: both are exact as doubles, so that their quotient is the nearest double, which `float` returns too.
"""

from __future__ import annotations

import math
import sys
from typing import NamedTuple, Sequence

import numpy as np

from batch_inference.jobs.common.byte_ranges import PADDING, ByteCells, read_words
from batch_inference.jobs.common.cell_types import (
    FALSE_WORDS,
    LAST_DAY,
    MICROSECONDS_A_DAY,
    TRUE_WORDS,
    parse_cell,
    parse_decimal_type,
    to_number,
)

_PLAIN = {"float": "0123456789.+-eE", "integer": "0123456789+-"}


class ParsedColumn(NamedTuple):
    """A column as float64, NaN where empty, and what is allowed instead, by the index of each bad cell."""

    numbers: np.ndarray
    allowed: dict[int, str]


def parse_column(cells: Sequence[str], column_type: str) -> ParsedColumn:
    """Parse a column of any type but string and json."""
    if column_type not in _PLAIN:
        encoded = [cell.encode("utf-8", "surrogatepass") for cell in cells]
        lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        ends = np.cumsum(lengths)
        return parse_byte_cells(
            ByteCells(b"".join(encoded) + bytes(PADDING), ends - lengths, ends), column_type
        )
    # float() accepts all notations of numbers and a few more, which the check of the characters excludes.
    if not "".join(cells).strip(_PLAIN[column_type]):
        try:
            convert = float if column_type == "float" else int
            values = np.array([convert(cell) if cell else math.nan for cell in cells], dtype=np.float64)
            if not (np.abs(values) > (sys.float_info.max if column_type == "float" else 2.0**53)).any():
                return ParsedColumn(values, {})
        except (ValueError, OverflowError):
            pass
    return _parse_each(cells, column_type)


def _parse_each(cells: Sequence[str], column_type: str) -> ParsedColumn:
    values = np.full(len(cells), math.nan)
    allowed = {}
    for index, cell in enumerate(cells):
        value, expected = parse_cell(cell, column_type)
        if expected:
            allowed[index] = expected
        else:
            values[index] = to_number(value)
    return ParsedColumn(values, allowed)


def parse_byte_cells(cells: ByteCells, column_type: str) -> ParsedColumn:
    """Parse a column to the same numbers as `parse_column`."""
    parse = _PARSERS.get(column_type, _parse_numbers)
    numbers, is_plain = parse(cells, column_type)
    is_empty = cells.starts == cells.ends
    numbers[is_empty] = math.nan
    others = np.flatnonzero(~(is_plain | is_empty))
    allowed = {}
    if len(others):
        texts = [cells[index] for index in others.tolist()]
        parsed = (
            parse_column(texts, column_type) if column_type in _PLAIN else _parse_each(texts, column_type)
        )
        numbers[others] = parsed.numbers
        allowed = {int(others[index]): expected for index, expected in parsed.allowed.items()}
    return ParsedColumn(numbers, allowed)


def _parse_numbers(cells: ByteCells, column_type: str) -> tuple[np.ndarray, np.ndarray]:
    """Parse the cells that are plain numbers: the doubles, and which these are."""
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
    size = parse_decimal_type(column_type)
    if column_type == "integer":
        is_plain &= ~has_point
    numbers = digits.astype(np.float64)
    if size is not None:
        is_plain &= decimals <= size.scale
        whole_digits = size.precision - size.scale + np.maximum(decimals, 0)
        is_plain &= numbers < 10.0 ** np.minimum(whole_digits, 17)
    if has_point.any():
        numbers /= _POWERS[decimals]
    if has_sign.any():
        np.negative(numbers, out=numbers, where=is_negative)
        if column_type == "integer":
            numbers += 0.0  # of zero and negative zero, the sum is zero
    return numbers, is_plain


def _parse_booleans(cells: ByteCells, _: str) -> tuple[np.ndarray, np.ndarray]:
    """Parse the cells that are words of a boolean: 1 or 0, and which these are."""
    lengths = np.clip(cells.ends - cells.starts, 0, 6)
    words = read_words(cells.buffer, cells.starts) & _LOWER_BYTES[lengths]
    words |= (words & _U64(0x4040404040404040)) >> _U64(1)  # to lower case: only letters have this bit
    is_true, is_false = (
        np.logical_or.reduce([words == _U64(int.from_bytes(word.encode(), "little")) for word in group])
        for group in (TRUE_WORDS, FALSE_WORDS)
    )
    return is_true.astype(np.float64), is_true | is_false


def _parse_dates(cells: ByteCells, _: str) -> tuple[np.ndarray, np.ndarray]:
    """Parse the cells that are dates without spaces: days since 1970-01-01, and which these are."""
    days, is_plain = _parse_days(cells, 10)
    return days.astype(np.float64), is_plain & (cells.ends - cells.starts == 10)


def _parse_timestamps(cells: ByteCells, column_type: str) -> tuple[np.ndarray, np.ndarray]:
    """Parse the cells that are timestamps with seconds: microseconds since 1970-01-01, and which these are."""
    lengths = cells.ends - cells.starts
    days, is_plain = _parse_days(cells, 19)
    characters = _read_characters(cells, 10, 9)
    clock = characters[[1, 2, 4, 5, 7, 8]] - _U8(ord("0"))
    hours, minutes, seconds = (clock[at] * _U8(10) + clock[at + 1] for at in (0, 2, 4))
    is_plain &= (clock <= 9).all(axis=0) & (characters[3] == ord(":")) & (characters[6] == ord(":"))
    is_plain &= (characters[0] == ord("T")) | (characters[0] == ord(" "))
    is_plain &= (hours < 24) & (minutes < 60) & (seconds < 60)
    whole_seconds = days * 86_400 + hours.astype(np.int64) * 3_600 + minutes.astype(np.int64) * 60 + seconds
    if column_type == "timestamptz":
        offsets, zone_lengths = _parse_zones(cells)
        is_plain &= zone_lengths > 0
        whole_seconds -= offsets
    else:
        zone_lengths = np.zeros(len(lengths), dtype=np.int64)
    fraction_lengths = lengths - 19 - zone_lengths
    microseconds = np.zeros(len(lengths), dtype=np.int64)
    has_fraction = (fraction_lengths > 1) & (fraction_lengths < 8)
    if has_fraction.any():
        starts = np.where(has_fraction, cells.starts + 19, 0)
        counts = np.where(has_fraction, fraction_lengths, 0)
        digits, decimals, is_digits = _parse_digits(read_words(cells.buffer, starts), counts)
        # All digits follow the point, so that it is the first character.
        has_fraction &= is_digits & (decimals == counts - 1)
        microseconds = digits.astype(np.int64) * 10 ** np.clip(7 - counts, 0, 6)
    is_plain &= (fraction_lengths == 0) | has_fraction
    total = whole_seconds * 1_000_000 + np.where(has_fraction, microseconds, 0)
    is_plain &= (total >= _FIRST_MICROSECOND) & (total <= _LAST_MICROSECOND)
    return total.astype(np.float64), is_plain


def _parse_days(cells: ByteCells, min_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Parse the first ten characters of cells as dates: days since 1970-01-01, and for which cells they are one."""
    characters = _read_characters(cells, 0, 10)
    digits = characters[[0, 1, 2, 3, 5, 6, 8, 9]] - _U8(ord("0"))
    is_date = (cells.ends - cells.starts >= min_length) & (digits <= 9).all(axis=0)
    is_date &= (characters[4] == ord("-")) & (characters[7] == ord("-"))
    numbers = digits.astype(np.int64)
    years = ((numbers[0] * 10 + numbers[1]) * 10 + numbers[2]) * 10 + numbers[3]
    months, days = numbers[4] * 10 + numbers[5], numbers[6] * 10 + numbers[7]
    is_date &= (years > 0) & (months > 0) & (months <= 12) & (days > 0)
    is_leap = (years % 4 == 0) & ((years % 100 != 0) | (years % 400 == 0))
    months = np.where(is_date, months, 1)
    is_date &= days <= _MONTH_DAYS[months] + (is_leap & (months == 2))
    before = years - 1
    first_of_year = before * 365 + before // 4 - before // 100 + before // 400 - _DAYS_TO_1970
    return first_of_year + _DAYS_BEFORE_MONTH[months] + (is_leap & (months > 2)) + days - 1, is_date


def _parse_zones(cells: ByteCells) -> tuple[np.ndarray, np.ndarray]:
    """Parse `Z`, or an offset such as +05:30, at the end of cells: seconds, and their lengths; 0 for other ends."""
    buffer = np.frombuffer(cells.buffer, dtype=np.uint8)
    lengths = cells.ends - cells.starts
    last = buffer[np.maximum(cells.ends - 1, 0)]
    offsets, zone_lengths = np.zeros(len(lengths), dtype=np.int64), (last == ord("Z")).astype(np.int64)
    others = np.flatnonzero((zone_lengths == 0) & (lengths >= 25))
    if len(others):
        sign, *tail = (buffer[cells.ends[others] - 6 + at] for at in range(6))
        digits = np.stack([tail[0], tail[1], tail[3], tail[4]]) - _U8(ord("0"))
        hours, minutes = (digits[at] * _U8(10) + digits[at + 1] for at in (0, 2))
        is_zone = (digits <= 9).all(axis=0) & (tail[2] == ord(":")) & (hours < 24) & (minutes < 60)
        is_zone &= (sign == ord("+")) | (sign == ord("-"))
        seconds = hours.astype(np.int64) * 3_600 + minutes.astype(np.int64) * 60
        offsets[others] = np.where(sign == ord("-"), -seconds, seconds)
        zone_lengths[others] = np.where(is_zone, 6, 0)
    return offsets, zone_lengths


def _read_characters(cells: ByteCells, first: int, count: int) -> np.ndarray:
    """Read `count` bytes of each cell from its byte `first` on, one row for each byte; what a short cell gives is not
    defined."""
    buffer = np.frombuffer(cells.buffer, dtype=np.uint8)
    starts = np.minimum(cells.starts + first, len(buffer) - count)
    return np.stack([buffer[starts + at] for at in range(count)])


_U8, _U64 = np.uint8, np.uint64
_LOWER_BYTES = np.array([(1 << (8 * count)) - 1 for count in range(7)], dtype=_U64)
_DAYS_TO_1970 = 719_162
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_DAYS_BEFORE_MONTH = np.concatenate(([0], np.cumsum(_MONTH_DAYS)[:-1]))
_FIRST_MICROSECOND, _LAST_MICROSECOND = (
    -_DAYS_TO_1970 * MICROSECONDS_A_DAY,
    (LAST_DAY + 1) * MICROSECONDS_A_DAY - 1,
)
_PARSERS = {
    "boolean": _parse_booleans,
    "date": _parse_dates,
    "timestamp": _parse_timestamps,
    "timestamptz": _parse_timestamps,
}
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
