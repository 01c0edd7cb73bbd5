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
    """A column of cells as a pandas Series; integers with a gap become floats, anything but a number stays text."""
    import pandas as pd

    if kind not in ("integer", "float"):
        return pd.Series([cell or None for cell in cells], dtype=object)
    if kind == "integer" and all(cells):
        return pd.Series([int(cell) for cell in cells if cell], dtype="int64")
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
