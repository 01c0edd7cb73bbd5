"""What the model sees of records that passed: chosen columns, gaps filled, the user's function applied."""

from __future__ import annotations

from collections import Counter
from itertools import compress
from typing import Any, Callable, Sequence

import numpy as np

from include.jobs.config import Config
from include.jobs.errors import FunctionError
from include.jobs.json_reading import is_text
from include.jobs.pandas_function import columns_twice, load, text, typed
from include.jobs.rules import Table, shown

Cells = Sequence[str]


class Features:
    """Makes the features of one batch after the other.

    Attributes:
        imputed: how many empty cells were filled, by column.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._numeric = {column.name: column.type for column in config.input.columns if column.numeric}
        self._call = load(config.function, "function") if config.function else None
        self.imputed: Counter[str] = Counter()

    def make(
        self, table: Table, keep: np.ndarray, where: str
    ) -> tuple[list[tuple[str, ...]], dict[int, tuple[str, str]]]:
        """The features of the rows to keep, and, by place in the table, the rows that turn out to have none.

        `where` says which records these are. Raises FunctionError when the user's function fails.
        """
        places = np.flatnonzero(keep).tolist()
        cells = table.cells
        if len(places) < table.length:
            kept = keep.tolist()
            cells = {name: list(compress(column, kept)) for name, column in cells.items()}
        for impute in self._config.imputes:
            empty = sum(not cell.strip() for cell in cells.get(impute.column, ()))
            if empty:
                cells = {
                    **cells,
                    impute.column: [cell if cell.strip() else impute.value for cell in cells[impute.column]],
                }
                self.imputed[impute.column] += empty
        failed: dict[int, tuple[str, str]] = {}
        if self._call and places:
            cells, stayed = self._through_function(self._call, cells, where)
            if len(stayed) < len(places):
                reason = ("function", f"{self._name} left the record out")
                failed = {place: reason for at, place in enumerate(places) if at not in stayed}
                places = [place for at, place in enumerate(places) if at in stayed]
        columns = [cells[name] for name in self._config.features]
        breaks = _line_breaks(self._config.features, columns)
        rows = list(zip(*columns))
        if breaks:
            failed.update((places[at], ("line break", reason)) for at, reason in breaks.items())
            rows = [row for at, row in enumerate(rows) if at not in breaks]
        return rows, failed

    @property
    def _name(self) -> str:
        function = self._config.function
        return f"{function.module}.{function.name}" if function else ""

    def _through_function(
        self, call: Callable[[Any], Any], cells: dict[str, Cells], where: str
    ) -> tuple[dict[str, Cells], set[int]]:
        """The function's columns as cells, and which of the rows it kept."""
        import pandas as pd

        given = pd.DataFrame(
            {
                name: typed(self._numeric.get(name), [cell or None for cell in column])
                for name, column in cells.items()
            }
        )
        try:
            made = call(given.copy())
        except Exception as error:
            raise FunctionError(f"{self._name} failed on {where}: {type(error).__name__}: {error}") from error
        if not isinstance(made, pd.DataFrame):
            raise FunctionError(f"{self._name} gave {type(made).__name__}, it must give a pandas DataFrame")
        if not made.index.is_unique or not made.index.isin(given.index).all():
            raise FunctionError(
                f"{self._name} gave rows that it was not given: it must keep the index of the rows"
            )
        missing = [name for name in self._config.features if name not in made.columns]
        if missing:
            raise FunctionError(
                f"{self._name} made no column {', '.join(missing)}, which features.columns names"
            )
        twice = columns_twice(self._config.features, made)
        if twice:
            raise FunctionError(
                f"{self._name} made column {', '.join(twice)} twice, which features.columns names"
            )
        made = made.sort_index()
        stayed = made.index.tolist()
        found: dict[str, Cells] = {}
        for name in self._config.features:
            column = made[name]
            if name in cells and column.equals(given[name].loc[stayed]):
                found[name] = [cells[name][at] for at in stayed]  # untouched: its own text, to the digit
            else:
                found[name] = [text(value) for value in column.tolist()]
                strange = next((cell for cell in found[name] if not is_text(cell)), None)
                if strange is not None:
                    raise FunctionError(
                        f"{self._name} made {name} {shown(strange)} of {where}, which is not text: it has half of a "
                        f"surrogate pair"
                    )
        return found, set(stayed)


def _line_breaks(names: Sequence[str], columns: Sequence[Cells]) -> dict[int, str]:
    """The rows with a feature that would end a line: SageMaker cuts there and knows nothing of quotes."""
    found: dict[int, str] = {}
    for name, column in zip(names, columns):
        together = "".join(column)
        if "\n" in together or "\r" in together:
            for at, cell in enumerate(column):
                if "\n" in cell or "\r" in cell:
                    found.setdefault(
                        at, f"feature {name} is {shown(cell)}: a line break cannot be sent to the model"
                    )
    return found
