"""Loads the user's pandas function, and converts cells to its columns and back."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from typing import Any, Callable, Iterable, Optional, Sequence

import numpy as np

from batch_inference.jobs.common.errors import ConfigError
from batch_inference.jobs.config.preprocess_config import UserFunction

Cell = Optional[str]
# From here on a float is not exact for all integers.
FIRST_INEXACT_INTEGER = 1 << 53
_TRUTH = (bool, np.bool_)


def load_function(function: UserFunction, config_path: str) -> Callable[[Any], Any]:
    """Import the function. Raises ConfigError that names the field at `config_path` if it does not exist."""
    try:
        module = importlib.import_module(function.module)
    except ImportError as error:
        raise ConfigError(
            f"{config_path}.module {function.module!r} cannot be imported here: {error}"
        ) from error
    call = getattr(module, function.name, None)
    if not callable(call):
        raise ConfigError(f"{config_path}.name is {function.name!r}, which {function.module} does not define")
    found: Callable[[Any], Any] = call
    return found


def to_series(column_type: str | None, cells: Sequence[Cell]) -> Any:
    """Convert a column of cells to a pandas Series; anything but a number stays text.

    Integers with nulls become floats, as pandas reads them, or `Int64` if a float is not exact for one of them. Pandas
    has `Int64` since 0.24; before 1.0 its nulls are NaN.
    """
    import pandas as pd

    if column_type not in ("integer", "float"):
        return pd.Series(list(cells), dtype=object)
    if column_type == "integer":
        numbers = [int(cell) if cell and cell.strip() else None for cell in cells]
        gaps = np.array([number is None for number in numbers], dtype=bool)
        values = np.array([number or 0 for number in numbers], dtype=np.int64)
        if not gaps.any():
            return pd.Series(values)
        if any(abs(number) >= FIRST_INEXACT_INTEGER for number in numbers if number):
            # Not from a list, which pandas before 2.0 converts to floats first.
            return pd.Series(pd.arrays.IntegerArray(values, gaps))
    return pd.Series([float(cell) if cell and cell.strip() else math.nan for cell in cells], dtype="float64")


def find_duplicate_columns(names: Iterable[str], frame: Any) -> list[str]:
    """Find those of the columns that a DataFrame has more than once."""
    found = Counter(frame.columns.tolist())
    return [name for name in names if found[name] > 1]


def is_missing(value: Any) -> bool:
    """Whether a value of a Series is None, NaN, NaT or pandas' NA."""
    if value is None:
        return True
    unequal = value != value
    # A comparison with NA, which pandas has since 1.0, returns NA.
    return bool(unequal) if isinstance(unequal, _TRUTH) else unequal is value


def to_cell(value: Any) -> str:
    """Convert a value of a Series to a cell; a missing one becomes empty."""
    if type(value) is float:  # fast path: most values are
        return repr(value) if value == value else ""
    if is_missing(value):
        return ""
    if isinstance(value, _TRUTH):
        return "true" if value else "false"
    return str(value)
