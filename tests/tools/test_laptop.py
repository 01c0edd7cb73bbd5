"""The Airflow of a laptop."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine, text

from tools.laptop import SQLITE_PATIENCE_SECONDS, database_url


def test_whoever_writes_to_the_database_waits_a_minute_for_its_turn(tmp_path: Path) -> None:
    """SQLite itself says how long, in milliseconds."""
    with create_engine(database_url(tmp_path)).connect() as connection:
        waits = connection.execute(text("PRAGMA busy_timeout")).scalar()
    assert waits == 1000 * SQLITE_PATIENCE_SECONDS == 60_000
