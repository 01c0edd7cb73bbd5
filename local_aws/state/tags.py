"""Stores tags by resource ARN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from local_aws.state.database import Database


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
