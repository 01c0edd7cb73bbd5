"""Stores the model registry in sqlite: groups, versions of groups, and packages without a group."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from include.local_aws.state.database import Database


class DuplicatePackageError(ValueError):
    """A group or a package of this name exists; `arn` is its ARN."""

    def __init__(self, arn: str) -> None:
        super().__init__(arn)
        self.arn = arn


class MissingGroupError(LookupError):
    """There is no such group."""


class GroupInUseError(ValueError):
    """The group still has `package_count` versions."""

    def __init__(self, package_count: int) -> None:
        super().__init__(package_count)
        self.package_count = package_count


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageGroup:
    """One group: the CreateModelPackageGroup request, when (epoch seconds), and its ARN."""

    region: str
    name: str
    name_key: str
    arn: str
    request: dict[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package and its current state.

    Attributes:
        name: its own, or its group's for a version.
        name_key: the unique key: of the name, or of group and version.
        group_key, version: of a version; None for a package without a group.
        request: the CreateModelPackage request, with what UpdateModelPackage changed.
        approval: ModelApprovalStatus; None for a package without a group.
        token: the ClientToken it was created with.
    """

    region: str
    name: str
    name_key: str
    arn: str
    group_key: str | None
    version: int | None
    request: dict[str, Any]
    approval: str | None
    token: str | None
    created_at: float
    modified_at: float | None


class RegistryStore:
    """Reads and writes groups and packages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def select_groups(
        self, where: str, values: Sequence[Any], order_and_limit: str = ""
    ) -> list[PackageGroup]:
        """Groups by an SQL condition whose values are all in `values`."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT * FROM package_groups WHERE {where} {order_and_limit}",  # noqa: S608 - conditions come from code
                tuple(values),
            ).fetchall()
        return [_group_from_row(row) for row in rows]

    def create_group(self, group: PackageGroup, tags: Mapping[str, str]) -> None:
        """Insert `group` and its tags; raises DuplicatePackageError for a name in use."""
        with self._database.write() as connection:
            _refuse_duplicate(connection, "package_groups", group)
            connection.execute(
                "INSERT INTO package_groups (region, name, name_key, arn, request, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (group.region, group.name, group.name_key, group.arn, json.dumps(group.request), group.created_at),
            )  # fmt: skip
            _insert_tags(connection, group.arn, tags)

    def delete_group(self, region: str, name_key: str) -> bool:
        """Delete an empty group and its tags; False when there is none, GroupInUseError when it has versions."""
        with self._database.write() as connection:
            number: int = connection.execute(
                "SELECT COUNT(*) FROM packages WHERE region = ? AND group_key = ?", (region, name_key)
            ).fetchone()[0]
            if number:
                raise GroupInUseError(number)
            return _delete_row(connection, "package_groups", region, name_key)

    def select(self, where: str, values: Sequence[Any], order_and_limit: str = "") -> list[Package]:
        """Packages by an SQL condition whose values are all in `values`."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT * FROM packages WHERE {where} {order_and_limit}",  # noqa: S608 - conditions come from code
                tuple(values),
            ).fetchall()
        return [_package_from_row(row) for row in rows]

    def create(self, package: Package, tags: Mapping[str, str]) -> None:
        """Insert a package without a group, and its tags; raises DuplicatePackageError for a name in use."""
        with self._database.write() as connection:
            _refuse_duplicate(connection, "packages", package)
            _insert_package(connection, package)
            _insert_tags(connection, package.arn, tags)

    def create_version(self, package: Package) -> Package:
        """Insert the next version of the package's group; returns the package as inserted.

        `package` has the `arn` and `name_key` of its group. A version number is never used again, even if the version
        is deleted. Raises MissingGroupError.
        """
        with self._database.write() as connection:
            row = connection.execute(
                "UPDATE package_groups SET last_version = last_version + 1 "
                "WHERE region = ? AND name_key = ? RETURNING last_version",
                (package.region, package.group_key),
            ).fetchone()
            if row is None:
                raise MissingGroupError(package.group_key)
            version: int = row["last_version"]
            inserted = replace(
                package,
                version=version,
                arn=f"{package.arn}/{version}",
                name_key=build_version_key(package.name_key, version),
            )
            _insert_package(connection, inserted)
            return inserted

    def update(self, package: Package) -> None:
        """Write a package's request, approval and modification time."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE packages SET request = ?, approval = ?, modified_at = ? WHERE region = ? AND name_key = ?",
                (
                    json.dumps(package.request),
                    package.approval,
                    package.modified_at,
                    package.region,
                    package.name_key,
                ),
            )

    def delete(self, region: str, name_key: str) -> bool:
        """Delete a package and its tags; False when there is none."""
        with self._database.write() as connection:
            return _delete_row(connection, "packages", region, name_key)


def build_version_key(group_key: str, version: int) -> str:
    """The unique key of a version; the number is padded, so that keys sort by number."""
    return f"{group_key}/{version:09}"


def _refuse_duplicate(connection: sqlite3.Connection, table: str, item: PackageGroup | Package) -> None:
    row = connection.execute(
        f"SELECT arn FROM {table} WHERE region = ? AND name_key = ?",  # noqa: S608 - names of this file's tables
        (item.region, item.name_key),
    ).fetchone()
    if row:
        raise DuplicatePackageError(row["arn"])


def _delete_row(connection: sqlite3.Connection, table: str, region: str, name_key: str) -> bool:
    row = connection.execute(
        f"DELETE FROM {table} WHERE region = ? AND name_key = ? RETURNING arn",  # noqa: S608 - as above
        (region, name_key),
    ).fetchone()
    if row:
        connection.execute("DELETE FROM tags WHERE arn = ?", (row["arn"],))
    return row is not None


def _insert_tags(connection: sqlite3.Connection, arn: str, tags: Mapping[str, str]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO tags (arn, key, value) VALUES (?, ?, ?)",
        [(arn, key, value) for key, value in tags.items()],
    )


def _insert_package(connection: sqlite3.Connection, package: Package) -> None:
    connection.execute(
        "INSERT INTO packages (region, name, name_key, arn, group_key, version, request, approval, token, "
        "created_at, modified_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            package.region,
            package.name,
            package.name_key,
            package.arn,
            package.group_key,
            package.version,
            json.dumps(package.request),
            package.approval,
            package.token,
            package.created_at,
            package.modified_at,
        ),
    )


def _group_from_row(row: sqlite3.Row) -> PackageGroup:
    return PackageGroup(
        region=row["region"],
        name=row["name"],
        name_key=row["name_key"],
        arn=row["arn"],
        request=json.loads(row["request"]),
        created_at=row["created_at"],
    )


def _package_from_row(row: sqlite3.Row) -> Package:
    return Package(
        region=row["region"],
        name=row["name"],
        name_key=row["name_key"],
        arn=row["arn"],
        group_key=row["group_key"],
        version=row["version"],
        request=json.loads(row["request"]),
        approval=row["approval"],
        token=row["token"],
        created_at=row["created_at"],
        modified_at=row["modified_at"],
    )
