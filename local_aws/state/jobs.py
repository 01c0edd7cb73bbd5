"""Stores jobs in sqlite: one row each, never deleted, as on AWS."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from local_aws.state.rows import Resource, Table, to_column

JobKindName = Literal["transform", "processing"]
JobStatus = Literal["InProgress", "Completed", "Failed", "Stopping", "Stopped"]
#: Number of instances by instance type.
InstancesByType = dict[str, int]
ACTIVE_STATUSES: tuple[JobStatus, ...] = ("InProgress", "Stopping")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Resource):
    """One job and its current state.

    Attributes:
        containers: the model's containers at creation (transform), so that the model may be deleted.
        network_isolation: of the model (transform) or of the request (processing).
        modified_at, started_at, ended_at: epoch seconds.
        instances: what the runner reported of each instance when it ended.
    """

    kind: JobKindName
    status: JobStatus
    containers: list[dict[str, Any]]
    network_isolation: bool
    instance_type: str
    instance_count: int
    modified_at: float
    started_at: float | None = None
    ended_at: float | None = None
    failure_reason: str | None = None
    exit_message: str | None = None
    instances: list[dict[str, Any]] = dataclasses.field(default_factory=list)


class JobTable(Table[Job]):
    """Reads and writes jobs."""

    table_name = "jobs"
    row_type = Job
    key_columns = ("kind", "region", "name_key")

    def create_within_quota(
        self,
        job: Job,
        tags: Mapping[str, str],
        check_instances_in_use: Callable[[InstancesByType], None],
        counted_statuses: Sequence[JobStatus],
    ) -> None:
        """Insert `job` and its tags in one transaction.

        `check_instances_in_use` gets the number of instances in use by type, over the jobs of this kind and region
        that are in one of `counted_statuses`; it raises to refuse the job. Raises DuplicateError for a name in use.
        """
        with self._database.write() as connection:
            self.refuse_duplicate(connection, job)
            marks = ", ".join("?" for _ in counted_statuses)
            in_use = connection.execute(
                "SELECT instance_type, SUM(instance_count) FROM jobs "  # noqa: S608 - only "?" is put in
                f"WHERE status IN ({marks}) AND kind = ? AND region = ? GROUP BY instance_type",
                (*counted_statuses, job.kind, job.region),
            ).fetchall()
            check_instances_in_use({row[0]: row[1] for row in in_use})
            self.insert(connection, job, tags)

    def from_row(self, row: sqlite3.Row) -> Job:
        """The job of a row; sqlite has no booleans."""
        return dataclasses.replace(super().from_row(row), network_isolation=bool(row["network_isolation"]))

    def update(self, job: Job, **changes: Any) -> Job:
        """Write `changes` to the row of `job`; returns the updated job."""
        return self._change(job, None, changes) or job

    def update_if_status(self, job: Job, statuses: Sequence[JobStatus], **changes: Any) -> Job | None:
        """Write `changes` only while the job is in one of `statuses`; None when it is not."""
        return self._change(job, statuses, changes)

    def list_active(self) -> list[Job]:
        """Jobs that have not ended."""
        return self.select("status IN (?, ?)", ACTIVE_STATUSES)

    def record_heartbeat(self, now: float) -> None:
        """Record that the server, and with it every active job, is running at `now` (epoch seconds)."""
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO heartbeat (id, beat_at) VALUES (1, ?)", (now,))

    def get_last_heartbeat(self) -> float | None:
        """Time of the last heartbeat, of this server or an earlier one; None before the first."""
        with self._database.read() as connection:
            row = connection.execute("SELECT beat_at FROM heartbeat").fetchone()
        return row["beat_at"] if row else None

    def _change(self, job: Job, statuses: Sequence[JobStatus] | None, changes: dict[str, Any]) -> Job | None:
        changed = dataclasses.replace(job, **changes)
        sets = ", ".join(f"{name} = ?" for name in changes)
        condition = "kind = ? AND region = ? AND name_key = ?"
        values = [to_column(changed, name) for name in changes]
        values += [job.kind, job.region, job.name_key]
        if statuses is not None:
            condition += f" AND status IN ({', '.join('?' for _ in statuses)})"
            values += statuses
        with self._database.write() as connection:
            cursor = connection.execute(
                f"UPDATE jobs SET {sets} WHERE {condition} RETURNING *",  # noqa: S608 - `replace` checks the names
                values,
            )
            row = cursor.fetchone()
        return self.from_row(row) if row else None
