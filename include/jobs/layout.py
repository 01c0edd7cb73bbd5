"""Which columns the records of an object have: decided once, by its header or its first fitting record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from include.jobs.config import Input
from include.jobs.errors import InputError


@dataclass(frozen=True)
class Layout:
    """The columns of an object's records, in the order of the object.

    Attributes:
        names: None as long as no record told how many of the optional columns this object has.
    """

    names: tuple[str, ...] | None

    def settled_by(self, rows: Sequence[Sequence[str]], source: Input) -> Layout:
        """This layout, or the one that the first of `rows` with an allowed number of fields decides."""
        if self.names is not None:
            return self
        allowed = range(source.required, len(source.columns) + 1)
        for row in rows:
            if len(row) in allowed:
                return Layout(source.names[: len(row)])
        return self

    def misfit(self, fields: int, source: Input) -> str:
        """Why a record of so many fields does not fit, in words."""
        if self.names is not None:
            return f"{_fields(fields)}, the records of this object have {len(self.names)}"
        few, many = source.required, len(source.columns)
        return f"{_fields(fields)}, allowed are {few} to {many}"


def first_layout(source: Input) -> Layout:
    """The layout of a headerless object before its first record."""
    return Layout(source.names if source.required == len(source.columns) else None)


def header_layout(header: Sequence[str], source: Input, uri: str) -> Layout:
    """The layout that a header line names, in any order, optional columns or not.

    Raises InputError when it names anything else.
    """
    names = tuple(cell.strip() for cell in header)
    unknown = [name for name in names if name not in source.names]
    twice = sorted({name for name in names if names.count(name) > 1})
    missing = [column.name for column in source.columns if not column.optional and column.name not in names]
    for problem, which in (("unknown column", unknown), ("repeated column", twice), ("no column", missing)):
        if which:
            raise InputError(
                f"{uri}: the header has {problem} {', '.join(map(repr, which))}; "
                f"the pipeline names {', '.join(source.names)}. "
                "If the first line is data, set input.header to false"
            )
    return Layout(names)


def _fields(count: int) -> str:
    return f"{count} field" if count == 1 else f"{count} fields"
