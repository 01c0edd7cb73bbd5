"""Cells as numbers: exactly what counts as one, at the speed of a whole column."""

from __future__ import annotations

import math
import re
import sys
from typing import Sequence

import numpy as np

_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_INT64 = range(-(1 << 63), 1 << 63)

_PLAIN = {"float": "0123456789.+-eE", "integer": "0123456789+-"}


def parse_column(cells: Sequence[str], kind: str) -> tuple[np.ndarray, dict[int, str]]:
    """The cells of an integer or float column as float64, NaN where empty, and what is wrong with which cell.

    A number is written in ASCII digits, with spaces around it allowed; `nan`, `inf`, `1_000` and `0x10` are
    none, an integer has 64 bits, a float is finite.
    """
    # Python's own float() takes all of these spellings and a few more; the alphabet leaves out the few.
    if not "".join(cells).strip(_PLAIN[kind]):
        try:
            convert = float if kind == "float" else int
            values = np.array([convert(cell) if cell else math.nan for cell in cells], dtype=np.float64)
            if not (np.abs(values) > (sys.float_info.max if kind == "float" else 2.0**53)).any():
                return values, {}
        except (ValueError, OverflowError):
            pass
    values = np.full(len(cells), math.nan)
    wrong = {}
    for index, cell in enumerate(cells):
        number, problem = parse_cell(cell, kind)
        if problem:
            wrong[index] = problem
        elif number is not None:
            values[index] = number
    return values, wrong


def parse_cell(cell: str, kind: str) -> tuple[float | int | None, str]:
    """One cell's number (None when empty), or what is allowed instead of it."""
    text = cell.strip(" \t")
    if not text:
        return None, ""
    if kind == "integer":
        if not _INTEGER.fullmatch(text):
            return None, "a whole number or empty"
        if len(text) > 20 or int(text) not in _INT64:
            return None, "a whole number of 64 bits"
        return int(text), ""
    if not _FLOAT.fullmatch(text):
        return None, "a number or empty"
    number = float(text)
    return (number, "") if math.isfinite(number) else (None, "a finite number of 64 bits")
