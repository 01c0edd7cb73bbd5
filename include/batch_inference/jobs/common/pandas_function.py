"""Calls the user's pandas function, and converts cells to its columns and back."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from datetime import timezone
from decimal import Decimal
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from batch_inference.jobs.common.cell_types import is_number_type, is_typed, parse_cell, to_decimal_text
from batch_inference.jobs.common.errors import ConfigError, FunctionError
from batch_inference.jobs.common.json_reading import Cell
from batch_inference.jobs.config.preprocess_config import UserFunction

# From here on a float is not exact for all integers.
FIRST_INEXACT_INTEGER = 1 << 53
_TRUTH = (bool, np.bool_)
# Days before and after 1970-01-01 that lie within the nanoseconds of pandas before 2.0.
_MAX_PANDAS_1_DAYS = 106_750


class PandasFunction:
    """The user's function, imported; may be called on any thread."""

    def __init__(
        self,
        function: UserFunction,
        config_path: str,
        *,
        types: Mapping[str, str],
        wanted: Sequence[str],
        may_drop_rows: bool,
    ) -> None:
        """`types` has the types of the columns that it gets, and `wanted` the columns that it must return.

        Raises ConfigError that names the field at `config_path` if the function does not exist.
        """
        self._name = str(function)
        self._types = types
        self._wanted = wanted
        self._may_drop_rows = may_drop_rows
        try:
            module = importlib.import_module(function.module)
        except ImportError as error:
            raise ConfigError(
                f"{config_path}.module {function.module!r} cannot be imported here: {error}"
            ) from error
        self._call: Any = getattr(module, function.name, None)
        if not callable(self._call):
            raise ConfigError(
                f"{config_path}.name is {function.name!r}, which {function.module} does not define"
            )

    def __str__(self) -> str:
        return self._name

    def __call__(
        self,
        cells: Mapping[str, Sequence[Cell]],
        label: str,
        label_rows: Callable[[int, int], str] | None = None,
    ) -> tuple[list[int], dict[str, list[Any] | None]]:
        """Call it on columns of cells; returns the indexes of the rows that it kept, and by name the wanted columns.

        A column has its values, or None if it was not changed: its cells keep their text. `label` names the rows in
        messages, and `label_rows` the first to the last of those on which the function fails, if they can be located.

        Raises:
            FunctionError: the function failed, added rows, dropped rows though it may not, or did not return a column.
        """
        import pandas as pd

        columns = {name: to_series(self._types.get(name), column) for name, column in cells.items()}
        frame = pd.DataFrame(columns)
        try:
            result = self._call(frame.copy())
        except Exception as error:
            where = label_rows(*self._find_failing_rows(frame)) if label_rows else label
            raise FunctionError(f"{self} failed on {where}: {type(error).__name__}: {error}") from error
        if not isinstance(result, pd.DataFrame):
            raise FunctionError(
                f"{self} returned {type(result).__name__} for {label}; it must return a pandas DataFrame"
            )
        if self._may_drop_rows:
            has_valid_rows = bool(result.index.is_unique and result.index.isin(frame.index).all())
            allowed = "keep the index of the rows, and may leave rows out"
        else:
            has_valid_rows = result.index.equals(frame.index)
            allowed = (
                "return each input row once, in order and with its index: records are left out by rules, before they "
                "are scored"
            )
        if not has_valid_rows:
            raise FunctionError(
                f"{self} returned {len(result):,} rows for the {len(frame):,} of {label}; it must {allowed}"
            )
        counts = Counter(result.columns.tolist())
        if missing := [name for name in self._wanted if not counts[name]]:
            raise FunctionError(f"{self} returned no column {', '.join(missing)} for {label}")
        if twice := [name for name in self._wanted if counts[name] > 1]:
            raise FunctionError(f"{self} returned column {', '.join(twice)} twice for {label}")
        result = result.sort_index()
        kept = result.index.tolist()
        return kept, {
            name: None
            if name in cells and result[name].equals(frame[name].loc[kept])
            else result[name].tolist()
            for name in self._wanted
        }

    def _find_failing_rows(self, frame: Any) -> tuple[int, int]:
        """Find the first and the last row on which the function fails, by bisection."""
        first, last = 0, len(frame)
        while last - first > 1:
            middle = (first + last) // 2
            if self._fails(frame.iloc[first:middle]):
                last = middle
            elif self._fails(frame.iloc[middle:last]):
                first = middle
            else:
                break
        return first, last - 1

    def _fails(self, frame: Any) -> bool:
        try:
            self._call(frame.copy())
        except Exception:  # noqa: BLE001 - whatever the user's function raises, it failed
            return True
        return False


def to_series(column_type: str | None, cells: Sequence[Cell]) -> Any:
    """Convert a column of cells to a pandas Series; strings and JSON stay text.

    Integers with nulls become floats, as pandas reads them, or `Int64` if a float is not exact for one of them. Pandas
    has `Int64` since 0.24; before 1.0 its nulls are NaN. Booleans with nulls are `boolean`. Dates and timestamps are
    `datetime64` (of UTC if they have a zone), or datetimes where pandas before 2.0 has no `datetime64` of their year.
    Decimals are decimal.Decimal.
    """
    import pandas as pd

    if column_type is None or not is_typed(column_type):
        return pd.Series(list(cells), dtype=object)
    if column_type not in ("integer", "float"):
        return _to_typed_series(column_type, cells)
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


def _to_typed_series(column_type: str, cells: Sequence[Cell]) -> Any:
    """Convert booleans, dates, timestamps or decimals. Raises ValueError for another cell."""
    import pandas as pd

    values: list[Any] = []
    for cell in cells:
        value, allowed = parse_cell(cell or "", column_type)
        if allowed:
            raise ValueError(f"found {cell!r}, allowed is {allowed}")
        values.append(value)
    if is_number_type(column_type):
        return pd.Series(values, dtype=object)
    gaps = np.array([value is None for value in values], dtype=bool)
    if column_type == "boolean":
        truth = np.array([bool(value) for value in values], dtype=bool)
        return pd.Series(pd.arrays.BooleanArray(truth, gaps) if gaps.any() else truth)
    unit = "D" if column_type == "date" else "us"
    times = np.array([value or 0 for value in values], dtype=np.int64).astype(f"datetime64[{unit}]")
    times[gaps] = "NaT"
    # pandas before 2.0 has nanoseconds alone, and converts to them without a check for an overflow.
    has_microseconds = int(pd.__version__.split(".")[0]) >= 2
    days = times[~gaps].astype("datetime64[D]").astype(np.int64)
    if not has_microseconds and (np.abs(days) > _MAX_PANDAS_1_DAYS).any():
        moments = [None if moment is None else moment for moment in times.astype("datetime64[us]").tolist()]
        utc = timezone.utc if column_type == "timestamptz" else None
        return pd.Series([moment and moment.replace(tzinfo=utc) for moment in moments], dtype=object)
    series = pd.Series(times.astype("datetime64[us]" if has_microseconds else "datetime64[ns]"))
    return series.dt.tz_localize("UTC") if column_type == "timestamptz" else series


def is_missing(value: Any) -> bool:
    """Whether a value of a Series is None, NaN, NaT or pandas' NA."""
    if value is None:
        return True
    unequal = value != value
    # A comparison with NA, which pandas has since 1.0, returns NA.
    return bool(unequal) if isinstance(unequal, _TRUTH) else unequal is value


def format_pandas_value(value: Any, true: str = "true", false: str = "false") -> str:
    """Convert a value of a Series to a cell; a missing one becomes empty, and a boolean `true` or `false`."""
    if type(value) is float:  # fast path: most values are
        return repr(value) if value == value else ""
    if is_missing(value):
        return ""
    if isinstance(value, _TRUTH):
        return true if value else false
    return to_decimal_text(value) if isinstance(value, Decimal) else str(value)
