"""Determines which columns the records of an object have, by its header or its first valid record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from batch_inference.jobs.common.errors import InputError
from batch_inference.jobs.config.preprocess_config import InputConfig


@dataclass(frozen=True)
class ObjectColumns:
    """The columns of an object's records, in the order of the object.

    Attributes:
        names: None until a record shows how many of the optional columns this object has.
    """

    names: tuple[str, ...] | None

    def resolve(self, rows: Sequence[Sequence[str]], input_config: InputConfig) -> ObjectColumns:
        """Return these columns or, if they are unknown, those of the first row with an allowed number of fields."""
        if self.names is not None:
            return self
        allowed = range(input_config.required_count, len(input_config.columns) + 1)
        for row in rows:
            if len(row) in allowed:
                return ObjectColumns(input_config.column_names[: len(row)])
        return self

    def describe_mismatch(self, field_count: int, input_config: InputConfig) -> str:
        """Describe why a record with `field_count` fields does not match."""
        if self.names is not None:
            return f"{_format_field_count(field_count)}, the records of this object have {len(self.names)}"
        least, most = input_config.required_count, len(input_config.columns)
        return f"{_format_field_count(field_count)}, allowed are {least} to {most}"


def get_initial_columns(input_config: InputConfig) -> ObjectColumns:
    """Get the columns of an object without a header, before its first record."""
    return ObjectColumns(
        input_config.column_names if input_config.required_count == len(input_config.columns) else None
    )


def parse_header(header: Sequence[str], input_config: InputConfig, uri: str) -> ObjectColumns:
    """Read the columns from a header line; they may come in any order.

    Raises InputError for unknown, repeated or missing columns.
    """
    names = tuple(cell.strip() for cell in header)
    unknown = [name for name in names if name not in input_config.column_names]
    repeated = sorted({name for name in names if names.count(name) > 1})
    missing = [
        column.name for column in input_config.columns if not column.optional and column.name not in names
    ]
    for problem, which in (
        ("unknown column", unknown),
        ("repeated column", repeated),
        ("no column", missing),
    ):
        if which:
            raise InputError(
                f"{uri}: the header has {problem} {', '.join(map(repr, which))}; "
                f"the pipeline names {', '.join(input_config.column_names)}. "
                "If the first line is data, set input.header to false"
            )
    return ObjectColumns(names)


def _format_field_count(count: int) -> str:
    return f"{count} field" if count == 1 else f"{count} fields"
