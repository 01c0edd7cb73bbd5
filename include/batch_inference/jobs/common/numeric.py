"""Parses cells as numbers, a whole column at a time, and defines what a number is."""

from __future__ import annotations

import math
import re
import sys
from typing import NamedTuple, Sequence

import numpy as np

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
