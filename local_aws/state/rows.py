"""Reads and writes dataclasses as rows of a table; each field is a column of the same name."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from local_aws.state.database import Database

JSON_COLUMNS = ("request", "containers", "instances")


class DuplicateError(ValueError):
    """A resource of this name exists; `arn` is its ARN."""

    def __init__(self, arn: str) -> None:
        super().__init__(arn)
        self.arn = arn


class Resource(Protocol):
    """A dataclass that a table can store."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name_key(self) -> str:
        """The unique key of its name."""

    @property
    def arn(self) -> str:
        """Its ARN, by which its tags are stored."""


Row = TypeVar("Row", bound=Resource)


class Table(Generic[Row]):
    """The rows of one table.

    Attributes:
        table_name, row_type: the table, and the dataclass of its rows.
        key_columns: the columns that identify a row.
        columns: all columns that the dataclass has.
    """

    table_name: str
    row_type: type[Row]
    key_columns: tuple[str, ...] = ("region", "name_key")

    def __init__(self, database: Database) -> None:
        self.columns = tuple(field.name for field in dataclasses.fields(self.row_type))
        self._database = database
        self._key_condition = " AND ".join(f"{column} = ?" for column in self.key_columns)

    def select(self, where: str, values: Sequence[Any], order_and_limit: str = "") -> list[Row]:
        """Rows by an SQL condition whose values are all in `values`."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT * FROM {self.table_name} WHERE {where} {order_and_limit}",  # noqa: S608 - conditions come from code, values do not
                tuple(values),
            ).fetchall()
        return [self.from_row(row) for row in rows]

    def get(self, *key: str) -> Row | None:
        """The row with these values of `key_columns`, or None."""
        rows = self.select(self._key_condition, key)
        return rows[0] if rows else None

    def create(self, row: Row, tags: Mapping[str, str]) -> None:
        """Insert `row` and its tags; raises DuplicateError for a name in use."""
        with self._database.write() as connection:
            self.refuse_duplicate(connection, row)
            self.insert(connection, row, tags)

    def delete(self, *key: str) -> bool:
        """Delete a row and its tags; False when there is none."""
        with self._database.write() as connection:
            return self.delete_row(connection, *key)

    def refuse_duplicate(self, connection: sqlite3.Connection, row: Row) -> None:
        """Raise DuplicateError for a key in use; within a transaction."""
        existing = connection.execute(
            f"SELECT arn FROM {self.table_name} WHERE {self._key_condition}",  # noqa: S608 - names of columns
            tuple(getattr(row, column) for column in self.key_columns),
        ).fetchone()
        if existing:
            raise DuplicateError(existing["arn"])

    def insert(self, connection: sqlite3.Connection, row: Row, tags: Mapping[str, str]) -> None:
        """Insert `row` and its tags; within a transaction."""
        marks = ", ".join("?" for _ in self.columns)
        connection.execute(
            f"INSERT INTO {self.table_name} ({', '.join(self.columns)}) VALUES ({marks})",  # noqa: S608 - names of fields
            [to_column(row, column) for column in self.columns],
        )
        connection.executemany(
            "INSERT OR REPLACE INTO tags (arn, key, value) VALUES (?, ?, ?)",
            [(row.arn, key, value) for key, value in tags.items()],
        )

    def delete_row(self, connection: sqlite3.Connection, *key: str) -> bool:
        """Delete a row and its tags; within a transaction."""
        row = connection.execute(
            f"DELETE FROM {self.table_name} WHERE {self._key_condition} RETURNING arn",  # noqa: S608 - names of columns
            key,
        ).fetchone()
        if row:
            connection.execute("DELETE FROM tags WHERE arn = ?", (row["arn"],))
        return row is not None

    def from_row(self, row: sqlite3.Row) -> Row:
        """The dataclass of a row."""
        return self.row_type(
            **{
                column: json.loads(row[column]) if column in JSON_COLUMNS else row[column]
                for column in self.columns
            }
        )


def to_column(row: Resource, column: str) -> Any:
    """The value of a field as its column stores it."""
    value = getattr(row, column)
    return json.dumps(value) if column in JSON_COLUMNS else value
