"""Selects and renames the input columns that are published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from batch_inference.config.sections.record_rules import check_input_column
from batch_inference.config.sections.stages import JoinSection
from batch_inference.config.validation_errors import FieldError


def select_output_columns(input_columns: Sequence[str], join: JoinSection) -> dict[str, str]:
    """Output name by input column, for the columns that are published, in the order of the output."""
    chosen = input_columns if join.include_columns is None else join.include_columns
    return {name: join.rename.get(name, name) for name in chosen if name not in join.exclude_columns}


def check_output_columns(
    input_columns: Sequence[str], prediction_columns: Iterable[str], join: JoinSection
) -> None:
    """Raise ValueError for columns that the input does not have, and for duplicate names in the output."""
    for key in ("include_columns", "exclude_columns", "rename"):
        for name in getattr(join, key) or ():
            check_input_column(input_columns, name, f"join.{key}")
    kept = select_output_columns(input_columns, join)
    for name in join.rename:
        if name not in kept:
            raise FieldError("join.rename", f"found the column {name!r}, which is not published")
    seen: set[str] = set()
    for name in [*kept.values(), *prediction_columns, *({} if join.function is None else join.function.adds)]:
        if name in seen:
            raise FieldError(
                "join",
                f"the output would have the column {name!r} twice; allowed are names that differ, "
                f"of input, predictions.fields, join.rename and join.function.adds together",
            )
        seen.add(name)

    if join.function is not None:
        for name in join.function.adds:
            if name in input_columns:
                raise FieldError(
                    "join.function.adds",
                    f"found {name!r}, a column of the input, which the function receives "
                    f"whether it is published or not; choose another name",
                )
