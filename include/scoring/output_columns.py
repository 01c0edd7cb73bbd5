"""Which of the input's columns are published, and under which names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from include.scoring.messages import did_you_mean
from include.scoring.sections import JoinSection


def kept_columns(columns: Sequence[str], join: JoinSection) -> dict[str, str]:
    """The published ones of the input's columns, in the order of the output, and what the output calls each."""
    chosen = columns if join.include_columns is None else join.include_columns
    return {name: join.rename.get(name, name) for name in chosen if name not in join.exclude_columns}


def check_output_columns(columns: Sequence[str], predictions: Iterable[str], join: JoinSection) -> None:
    """Raise ValueError for columns that the input does not have, and for names that would stand twice in the output."""
    for key, names in _named(join).items():
        for name in names:
            if name not in columns:
                raise ValueError(
                    f"join.{key}: found the column {name!r}; the input's columns are {', '.join(columns)}"
                    f"{did_you_mean(name, list(columns))}"
                )
    kept = kept_columns(columns, join)
    for name in join.rename:
        if name not in kept:
            raise ValueError(f"join.rename: found the column {name!r}, which is not published")
    seen: set[str] = set()
    for name in [*kept.values(), *predictions, *({} if join.function is None else join.function.adds)]:
        if name in seen:
            raise ValueError(
                f"join: the output would have the column {name!r} twice; allowed are names that differ, "
                f"of input, predictions.fields, join.rename and join.function.adds together"
            )
        seen.add(name)

    if join.function is not None:
        for name in join.function.adds:
            if name in columns:
                raise ValueError(
                    f"join.function.adds: found {name!r}, a column of the input, which the function is given "
                    f"whether it is published or not; allowed are names of its own"
                )


def _named(join: JoinSection) -> Mapping[str, Iterable[str]]:
    return {
        "include_columns": join.include_columns or (),
        "exclude_columns": join.exclude_columns,
        "rename": join.rename,
    }
