"""Opens the sqlite file: schema, connection pool, one writer at a time."""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

# Increment with every change of SCHEMA.
SCHEMA_VERSION = 3
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    kind TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    arn TEXT NOT NULL,
    status TEXT NOT NULL,
    request TEXT NOT NULL,
    containers TEXT NOT NULL,
    network_isolation INTEGER NOT NULL,
    instance_type TEXT NOT NULL,
    instance_count INTEGER NOT NULL,
    created_at REAL NOT NULL,
    modified_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    failure_reason TEXT,
    exit_message TEXT,
    instances TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (kind, region, name_key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (kind, region, created_at, name_key);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, kind, region);
CREATE TABLE IF NOT EXISTS models (
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    arn TEXT NOT NULL,
    request TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (region, name_key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS package_groups (
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    arn TEXT NOT NULL,
    request TEXT NOT NULL,
    created_at REAL NOT NULL,
    last_version INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (region, name_key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS packages (
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    arn TEXT NOT NULL,
    group_key TEXT,
    version INTEGER,
    request TEXT NOT NULL,
    approval TEXT,
    token TEXT,
    created_at REAL NOT NULL,
    modified_at REAL,
    PRIMARY KEY (region, name_key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (
    arn TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (arn, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heartbeat (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    beat_at REAL NOT NULL
);
"""


class SchemaError(RuntimeError):
    """The file was written by another version; the message says what to do."""


class Database:
    """Connections to one file; readers never wait for the writer (WAL).

    Each request has its own short-lived thread, so connections are pooled, not kept per thread.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file; raises SchemaError for a file of another version."""
        self._path = path
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._writer = threading.Lock()
        with self.write() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA_VERSION):  # 0: a new file
                raise SchemaError(
                    f"{path} has version {version} of the embedded AWS's state, this program needs {SCHEMA_VERSION}; "
                    "move the data directory away to start anew"
                )
            connection.executescript(f"{SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};")

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for SELECTs."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._idle.put(connection)

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed at the end, rolled back if the block raises."""
        with self._writer, self.read() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def close(self) -> None:
        """Close idle connections; call it when no request is in progress."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=30, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        # NORMAL loses nothing when the process is killed, only when the machine is.
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection
