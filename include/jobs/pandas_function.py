"""The user's own pandas function: found by name, given typed columns, and what it gives read back as cells."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from typing import Any, Callable, Iterable, Optional, Sequence

import numpy as np

from include.jobs.config import Function
from include.jobs.errors import ConfigError

Cell = Optional[str]
# From here on a float does not tell a whole number from its neighbours.
INEXACT = 1 << 53
_TRUTH = (bool, np.bool_)


def load(function: Function, path: str) -> Callable[[Any], Any]:
    """The function; raises ConfigError, naming the field at `path`, when it is not there."""
    try:
        module = importlib.import_module(function.module)
    except ImportError as error:
        raise ConfigError(f"{path}.module {function.module!r} cannot be imported here: {error}") from error
    call = getattr(module, function.name, None)
    if not callable(call):
        raise ConfigError(f"{path}.name is {function.name!r}, which {function.module} does not define")
    found: Callable[[Any], Any] = call
    return found


def typed(kind: str | None, cells: Sequence[Cell]) -> Any:
    """A column of cells as a pandas Series; anything but a number stays text.

    Whole numbers with a gap among them are floats, as pandas itself reads them, and `Int64` where a float does not hold
    one of them. Pandas has that type since 0.24; before 1.0 its gaps are NaN.
    """
    import pandas as pd

    if kind not in ("integer", "float"):
        return pd.Series(list(cells), dtype=object)
    if kind == "integer":
        numbers = [int(cell) if cell and cell.strip() else None for cell in cells]
        gaps = np.array([number is None for number in numbers], dtype=bool)
        values = np.array([number or 0 for number in numbers], dtype=np.int64)
        if not gaps.any():
            return pd.Series(values)
        if any(abs(number) >= INEXACT for number in numbers if number):
            # Not from a list, of which pandas before 2.0 makes floats first.
            return pd.Series(pd.arrays.IntegerArray(values, gaps))
    return pd.Series([float(cell) if cell and cell.strip() else math.nan for cell in cells], dtype="float64")


def columns_twice(names: Iterable[str], frame: Any) -> list[str]:
    """Those of the columns that a DataFrame has more than once, so that nobody knows which one is meant."""
    found = Counter(frame.columns.tolist())
    return [name for name in names if found[name] > 1]


def is_missing(value: Any) -> bool:
    """Whether a value of a Series is None, NaN, NaT or pandas' NA."""
    if value is None:
        return True
    unequal = value != value
    # NA, which pandas before 1.0 has not, answers every comparison with itself.
    return bool(unequal) if isinstance(unequal, _TRUTH) else unequal is value


def text(value: Any) -> str:
    """A value of a Series as a cell; a missing one becomes empty."""
    if type(value) is float:  # most are, so that they are not kept waiting
        return repr(value) if value == value else ""
    if is_missing(value):
        return ""
    if isinstance(value, _TRUTH):
        return "true" if value else "false"
    return str(value)
