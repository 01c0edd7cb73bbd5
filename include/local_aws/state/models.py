"""Stores models in sqlite; a model can be deleted and its name used again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.local_aws.state.database import Database


class DuplicateModelError(ValueError):
    """A model of this name exists; `arn` is its ARN."""

    def __init__(self, arn: str) -> None:
        super().__init__(arn)
        self.arn = arn


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model: the CreateModel request, when (epoch seconds), and its ARN."""

    region: str
    name: str
    name_key: str
    arn: str
    request: dict[str, Any]
    created_at: float

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Its container definitions in order, from PrimaryContainer or Containers."""
        primary = self.request.get("PrimaryContainer")
        return [primary] if primary else list(self.request.get("Containers", []))


class ModelStore:
    """Reads and writes models."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, region: str, name_key: str) -> Model | None:
        """The model, or None."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT * FROM models WHERE region = ? AND name_key = ?", (region, name_key)
            ).fetchone()
        return _model_from_row(row) if row else None

    def create(self, model: Model, tags: Mapping[str, str]) -> None:
        """Insert `model` and its tags; raises DuplicateModelError for a name in use."""
        with self._database.write() as connection:
            row = connection.execute(
                "SELECT arn FROM models WHERE region = ? AND name_key = ?", (model.region, model.name_key)
            ).fetchone()
            if row:
                raise DuplicateModelError(row["arn"])
            connection.execute(
                "INSERT INTO models (region, name, name_key, arn, request, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    model.region,
                    model.name,
                    model.name_key,
                    model.arn,
                    json.dumps(model.request),
                    model.created_at,
                ),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO tags (arn, key, value) VALUES (?, ?, ?)",
                [(model.arn, key, value) for key, value in tags.items()],
            )

    def delete(self, region: str, name_key: str) -> bool:
        """Delete the entry and its tags; False when there is none."""
        with self._database.write() as connection:
            row = connection.execute(
                "DELETE FROM models WHERE region = ? AND name_key = ? RETURNING arn", (region, name_key)
            ).fetchone()
            if row:
                connection.execute("DELETE FROM tags WHERE arn = ?", (row["arn"],))
            return row is not None

    def select(self, where: str, values: Sequence[Any], order_and_limit: str = "") -> list[Model]:
        """Models by an SQL condition whose values are all in `values`."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT * FROM models WHERE {where} {order_and_limit}",  # noqa: S608 - conditions come from code, values do not
                tuple(values),
            ).fetchall()
        return [_model_from_row(row) for row in rows]


def _model_from_row(row: sqlite3.Row) -> Model:
    return Model(
        region=row["region"],
        name=row["name"],
        name_key=row["name_key"],
        arn=row["arn"],
        request=json.loads(row["request"]),
        created_at=row["created_at"],
    )
