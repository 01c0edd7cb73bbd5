"""Defines the types of columns: which texts are a cell of each, and the exact value of one cell.

A value of any type but string and json has a number too, for rules and profiles: see `to_number`. Needs the standard
library only, so that a pipeline file is checked by the same code as the cells.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, Optional, Union

MAX_PRECISION = 38  # of Arrow's decimal128, and of Glue
#: Types of columns of the input, less those of decimals: `decimal(18,4)` has 18 digits, 4 of them behind the point.
COLUMN_TYPES = ("string", "float", "integer", "boolean", "date", "timestamp", "timestamptz")
#: What a message says of them.
ALLOWED_TYPES = (
    ", ".join(COLUMN_TYPES) + f", and decimal(p,s) such as decimal(18,4), with p from 1 to {MAX_PRECISION}"
)

#: Value of a cell: of a date its days, and of a timestamp its microseconds, since 1970-01-01 (in UTC).
Value = Union[bool, int, float, Decimal, None]

_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_INT64 = range(-(1 << 63), 1 << 63)
_DECIMAL_TYPE = re.compile(r"decimal\((\d{1,2}),(\d{1,2})\)", re.ASCII)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6})0*)?)?)?(Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_TRUTH = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}
#: The words of a boolean, in lower case; cells may have them in any case.
TRUE_WORDS, FALSE_WORDS = (
    tuple(word for word, value in _TRUTH.items() if value is each) for each in (True, False)
)
_EPOCH = datetime(1970, 1, 1)
MICROSECONDS_A_DAY = 86_400_000_000
_EPOCH_DAYS = date(1970, 1, 1).toordinal()
LAST_DAY = date.max.toordinal() - _EPOCH_DAYS  # days after 1970-01-01
_MICROSECOND = timedelta(microseconds=1)


class DecimalSize(NamedTuple):
    """Digits of a decimal type: all, and those behind the point."""

    precision: int
    scale: int


def parse_decimal_type(column_type: str) -> Optional[DecimalSize]:
    """Precision and scale of a decimal type such as `decimal(18,4)`; None if it is not one, or out of bounds."""
    found = _DECIMAL_TYPE.fullmatch(column_type)
    if found is None:
        return None
    precision, scale = int(found[1]), int(found[2])
    return DecimalSize(precision, scale) if 1 <= precision <= MAX_PRECISION and scale <= precision else None


def is_column_type(column_type: str) -> bool:
    """Whether it is a type of columns of the input."""
    return column_type in COLUMN_TYPES or parse_decimal_type(column_type) is not None


def is_number_type(column_type: str) -> bool:
    """Whether the cells are numbers: of type integer, float or decimal."""
    return column_type in ("integer", "float") or column_type.startswith("decimal(")


def is_time_type(column_type: str) -> bool:
    """Whether the cells are dates or timestamps."""
    return column_type in ("date", "timestamp", "timestamptz")


def is_typed(column_type: str) -> bool:
    """Whether a cell may be of another type: any but string and json."""
    return column_type not in ("string", "json")


def parse_cell(cell: str, column_type: str) -> tuple[Value, str]:
    """Parse one cell: its value (None if empty), or what is allowed instead.

    It may be surrounded by spaces. `nan`, `inf`, `1_000` and `0x10` are not numbers, an integer has 64 bits, a float is
    finite; nothing is rounded to fit a decimal or a timestamp.
    """
    text = cell.strip(" \t")
    if not text:
        return None, ""
    if column_type == "integer":
        if not _INTEGER.fullmatch(text):
            return None, "a whole number or empty"
        if len(text) > 20 or int(text) not in _INT64:
            return None, "a whole number of 64 bits"
        return int(text), ""
    if column_type == "float":
        if not _FLOAT.fullmatch(text):
            return None, "a number or empty"
        number = float(text)
        return (number, "") if math.isfinite(number) else (None, "a finite number of 64 bits")
    if column_type == "boolean":
        value = _TRUTH.get(text.lower()) if text.isascii() else None
        return value, "" if value is not None else "true, t, yes, y, 1, false, f, no, n, 0 or empty"
    if column_type == "date":
        return _parse_date(text)
    if column_type in ("timestamp", "timestamptz"):
        return _parse_timestamp(text, has_zone=column_type == "timestamptz")
    return _parse_decimal(text, column_type)


def to_number(value: Value) -> float:
    """The nearest double of a value: 1 and 0 for a boolean, NaN for a missing one. Its order is that of the values."""
    return math.nan if value is None else float(value)


def format_day(days: int) -> str:
    """The ISO date of a day after 1970-01-01."""
    return date.fromordinal(days + _EPOCH_DAYS).isoformat()


def to_datetime(microseconds: int) -> datetime:
    """The date and time of a timestamp, without a zone."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_decimal_text(value: Any) -> str:
    """The digits of a Decimal, without an exponent."""
    return format(value, "f")


def _parse_date(text: str) -> tuple[Value, str]:
    found = _DATE.fullmatch(text)
    if found is None:
        return None, "a date such as 2026-01-31 or empty"
    try:
        return date(*map(int, found.groups())).toordinal() - _EPOCH_DAYS, ""
    except ValueError:
        return None, "a date of the calendar, from 0001-01-01 to 9999-12-31"


def _parse_timestamp(text: str, has_zone: bool) -> tuple[Value, str]:
    form = "2026-01-31T10:30:00" + ("Z" if has_zone else "")
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        return None, f"a timestamp such as {form}, with at most 6 digits of a second, or empty"
    *clock, fraction, zone = found.groups()
    if has_zone != bool(zone):
        kind = "with Z or an offset (timestamptz)" if has_zone else "without a zone (timestamp)"
        return None, f"a timestamp {kind}, such as {form}, or empty"
    try:
        moment = datetime(*(int(part or 0) for part in clock), int((fraction or "0").ljust(6, "0")))  # type: ignore[arg-type, call-arg]
        if zone not in (None, "Z"):
            moment -= _parse_offset(zone)
    except (ValueError, OverflowError):
        return None, "a time of the calendar, from the year 1 to 9999"
    return (moment - _EPOCH) // _MICROSECOND, ""


def _parse_offset(zone: str) -> timedelta:
    hours, minutes = int(zone[1:3]), int(zone[-2:]) if len(zone) > 3 else 0
    if hours > 23 or minutes > 59:
        raise ValueError(zone)
    return timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)


def _parse_decimal(text: str, column_type: str) -> tuple[Value, str]:
    size = parse_decimal_type(column_type)
    if size is None:
        raise ValueError(f"{column_type!r} is not a type of columns")
    if not _FLOAT.fullmatch(text):
        return None, "a number or empty"
    allowed = f"a {column_type}: at most {size.precision - size.scale} digits before the point and {size.scale} behind"
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation:  # its exponent has too many digits
        return None, allowed
    digits_text = "".join(map(str, digits)).lstrip("0")
    kept = digits_text.rstrip("0")
    exponent = int(exponent) + len(digits_text) - len(kept)
    if not kept:
        return Decimal((sign, (0,), -size.scale)), ""
    if -exponent > size.scale or len(kept) + exponent > size.precision - size.scale:
        return None, allowed
    unscaled = int(kept) * 10 ** (exponent + size.scale)
    return Decimal((sign, tuple(map(int, str(unscaled))), -size.scale)), ""
