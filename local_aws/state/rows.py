"""Reads and writes dataclasses as rows of a table, each field a column of the same name, and the tags of rows."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from local_aws.state.database import Database

JSON_COLUMNS = ("request", "containers", "instances")


class DuplicateError(ValueError):
    """A resource of this name exists; `arn` is its ARN."""

    def __init__(self, arn: str) -> None:
        super().__init__(arn)
        self.arn = arn


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What the rows of all tables have.

    Attributes:
        name_key: the unique key: the name, in lower case if names are case-insensitive.
        arn: its ARN, by which its tags are stored.
        request: the Create request as it was sent.
        created_at: epoch seconds.
    """

    region: str
    name: str
    name_key: str
    arn: str
    request: dict[str, Any]
    created_at: float


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


class TooManyTagsError(ValueError):
    """The resource would have more tags than are allowed."""


class TagStore:
    """Reads and writes tags; a key is unique on a resource, a later value overwrites."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, arn: str) -> dict[str, str]:
        """Tags of the resource, sorted by key."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT key, value FROM tags WHERE arn = ? ORDER BY key", (arn,))
            return {row["key"]: row["value"] for row in rows}

    def add(self, arn: str, tags: Mapping[str, str], limit: int) -> None:
        """Add or overwrite; raises TooManyTagsError and adds none if the resource would have more than `limit`."""
        with self._database.write() as connection:
            connection.executemany(
                "INSERT INTO tags (arn, key, value) VALUES (?, ?, ?) "
                "ON CONFLICT (arn, key) DO UPDATE SET value = excluded.value",
                [(arn, key, value) for key, value in tags.items()],
            )
            count = connection.execute("SELECT COUNT(*) FROM tags WHERE arn = ?", (arn,)).fetchone()[0]
            if count > limit:
                raise TooManyTagsError(f"{count} tags on {arn}, allowed are {limit}")

    def remove(self, arn: str, keys: Sequence[str]) -> None:
        """Remove by key; unknown keys are ignored, as on AWS."""
        with self._database.write() as connection:
            connection.executemany("DELETE FROM tags WHERE arn = ? AND key = ?", [(arn, key) for key in keys])
