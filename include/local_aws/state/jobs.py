"""Jobs in sqlite: one row each, for ever, as AWS keeps them."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from include.local_aws.state.database import Database

Kind = Literal["transform", "processing"]
Status = Literal["InProgress", "Completed", "Failed", "Stopping", "Stopped"]
ACTIVE: tuple[Status, ...] = ("InProgress", "Stopping")


class DuplicateJobError(ValueError):
    """A job of this name exists; `arn` is its ARN."""

    def __init__(self, arn: str) -> None:
        super().__init__(arn)
        self.arn = arn


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as it stands.

    Attributes:
        name_key: what has to be unique: the name, in lower case if names are case-insensitive.
        request: the Create request as it was sent.
        containers: the model's containers at creation (transform), so that deleting the model is harmless.
        network_isolation: of the model (transform) or of the request (processing).
        created_at, modified_at, started_at, ended_at: epoch seconds.
        instances: what the runner reported of each instance when it ended.
    """

    kind: Kind
    region: str
    name: str
    name_key: str
    arn: str
    status: Status
    request: dict[str, Any]
    containers: list[dict[str, Any]]
    network_isolation: bool
    instance_type: str
    instance_count: int
    created_at: float
    modified_at: float
    started_at: float | None = None
    ended_at: float | None = None
    failure_reason: str | None = None
    exit_message: str | None = None
    instances: list[dict[str, Any]] = dataclasses.field(default_factory=list)


JSON_COLUMNS = ("request", "containers", "instances")
COLUMNS = tuple(field.name for field in dataclasses.fields(Job))


class JobStore:
    """Reads and writes jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, kind: Kind, region: str, name_key: str) -> Job | None:
        """The job, or None."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT * FROM jobs WHERE kind = ? AND region = ? AND name_key = ?", (kind, region, name_key)
            ).fetchone()
        return _job(row) if row else None

    def create(
        self,
        job: Job,
        tags: Mapping[str, str],
        check: Callable[[dict[str, int]], None],
        counted: Sequence[Status],
    ) -> None:
        """Insert `job` and its tags, if `check` agrees, in one transaction.

        `check` is given the instances in use by type, over jobs of this kind, in this region and in a
        `counted` status; it raises to refuse. Raises DuplicateJobError for a name in use.
        """
        values = [_column(job, name) for name in COLUMNS]
        with self._database.write() as connection:
            row = connection.execute(
                "SELECT arn FROM jobs WHERE kind = ? AND region = ? AND name_key = ?",
                (job.kind, job.region, job.name_key),
            ).fetchone()
            if row:
                raise DuplicateJobError(row["arn"])
            marks = ", ".join("?" for _ in counted)
            in_use = connection.execute(
                "SELECT instance_type, SUM(instance_count) FROM jobs "  # noqa: S608 - only "?" is put in
                f"WHERE status IN ({marks}) AND kind = ? AND region = ? GROUP BY instance_type",
                (*counted, job.kind, job.region),
            ).fetchall()
            check({row[0]: row[1] for row in in_use})
            connection.execute(
                f"INSERT INTO jobs ({', '.join(COLUMNS)}) "  # noqa: S608 - names of this file's own fields
                f"VALUES ({', '.join('?' for _ in COLUMNS)})",
                values,
            )
            connection.executemany(
                "INSERT OR REPLACE INTO tags (arn, key, value) VALUES (?, ?, ?)",
                [(job.arn, key, value) for key, value in tags.items()],
            )

    def update(self, job: Job, **changes: Any) -> Job:
        """Write `changes` to the row of `job`; returns the job as it stands now."""
        return self._change(job, None, changes) or job

    def update_if(self, job: Job, statuses: Sequence[Status], **changes: Any) -> Job | None:
        """Write `changes` only while the job is in one of `statuses`; None when it is not."""
        return self._change(job, statuses, changes)

    def select(self, where: str, values: Sequence[Any], tail: str = "") -> list[Job]:
        """Jobs by an SQL condition whose values are all in `values`."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT * FROM jobs WHERE {where} {tail}",  # noqa: S608 - conditions come from code, values do not
                tuple(values),
            ).fetchall()
        return [_job(row) for row in rows]

    def active(self) -> list[Job]:
        """Jobs that have not ended."""
        return self.select("status IN (?, ?)", ACTIVE)

    def beat(self, now: float) -> None:
        """Note that the server, and with it every job at work, runs at `now` (epoch seconds)."""
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO heartbeat (id, beat_at) VALUES (1, ?)", (now,))

    def last_beat(self) -> float | None:
        """When `beat` was last called, by this server or one before it."""
        with self._database.read() as connection:
            row = connection.execute("SELECT beat_at FROM heartbeat").fetchone()
        return row["beat_at"] if row else None

    def _change(self, job: Job, statuses: Sequence[Status] | None, changes: dict[str, Any]) -> Job | None:
        unknown = set(changes) - set(COLUMNS)
        if unknown:
            raise TypeError(f"no such column: {', '.join(sorted(unknown))}")
        changed = dataclasses.replace(job, **changes)
        sets = ", ".join(f"{name} = ?" for name in changes)
        condition = "kind = ? AND region = ? AND name_key = ?"
        values = [_column(changed, name) for name in changes]
        values += [job.kind, job.region, job.name_key]
        if statuses is not None:
            condition += f" AND status IN ({', '.join('?' for _ in statuses)})"
            values += statuses
        with self._database.write() as connection:
            cursor = connection.execute(
                f"UPDATE jobs SET {sets} WHERE {condition} RETURNING *",  # noqa: S608 - columns are checked above
                values,
            )
            row = cursor.fetchone()
        return _job(row) if row else None


def _column(job: Job, name: str) -> Any:
    value = getattr(job, name)
    return json.dumps(value) if name in JSON_COLUMNS else value


def _job(row: sqlite3.Row) -> Job:
    values = {name: json.loads(row[name]) if name in JSON_COLUMNS else row[name] for name in COLUMNS}
    values["network_isolation"] = bool(values["network_isolation"])
    return Job(**values)
