"""The model registry in sqlite: groups, and packages that are a group's versions or stand alone."""

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
    """The group still has `packages` versions."""

    def __init__(self, packages: int) -> None:
        super().__init__(packages)
        self.packages = packages


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
    """One package as it stands.

    Attributes:
        name: its own, or of its group for a version.
        name_key: what has to be unique: the name's key, and for a version the group's key and the version.
        group_key, version: of a version; None for a package that stands alone.
        request: the CreateModelPackage request, with what UpdateModelPackage changed.
        approval: ModelApprovalStatus; None for a package that stands alone.
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

    def select_groups(self, where: str, values: Sequence[Any], tail: str = "") -> list[PackageGroup]:
        """Groups by an SQL condition whose values are all in `values`."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT * FROM package_groups WHERE {where} {tail}",  # noqa: S608 - conditions come from code
                tuple(values),
            ).fetchall()
        return [_group(row) for row in rows]

    def create_group(self, group: PackageGroup, tags: Mapping[str, str]) -> None:
        """Insert `group` and its tags; raises DuplicatePackageError for a name in use."""
        with self._database.write() as connection:
            _refuse_taken(connection, "package_groups", group)
            connection.execute(
                "INSERT INTO package_groups (region, name, name_key, arn, request, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (group.region, group.name, group.name_key, group.arn, json.dumps(group.request), group.created_at),
            )  # fmt: skip
            _tag(connection, group.arn, tags)

    def delete_group(self, region: str, name_key: str) -> bool:
        """Delete an empty group and its tags; False when there is none, GroupInUseError when it has versions."""
        with self._database.write() as connection:
            number: int = connection.execute(
                "SELECT COUNT(*) FROM packages WHERE region = ? AND group_key = ?", (region, name_key)
            ).fetchone()[0]
            if number:
                raise GroupInUseError(number)
            return _delete(connection, "package_groups", region, name_key)

    def select(self, where: str, values: Sequence[Any], tail: str = "") -> list[Package]:
        """Packages by an SQL condition whose values are all in `values`."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT * FROM packages WHERE {where} {tail}",  # noqa: S608 - conditions come from code
                tuple(values),
            ).fetchall()
        return [_package(row) for row in rows]

    def create(self, package: Package, tags: Mapping[str, str]) -> None:
        """Insert a package that stands alone, and its tags; raises DuplicatePackageError for a name in use."""
        with self._database.write() as connection:
            _refuse_taken(connection, "packages", package)
            _insert(connection, package)
            _tag(connection, package.arn, tags)

    def create_version(self, package: Package) -> Package:
        """Insert the next version of the package's group; as it was inserted.

        Its `arn` and `name_key` come without the version. A number is given once, also after a version was deleted.
        Raises MissingGroupError.
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
            made = replace(
                package,
                version=version,
                arn=f"{package.arn}/{version}",
                name_key=version_key(package.name_key, version),
            )
            _insert(connection, made)
            return made

    def update(self, package: Package) -> None:
        """Write a package's request, approval and time of change."""
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
            return _delete(connection, "packages", region, name_key)


def version_key(group_key: str, version: int) -> str:
    """The key of a version; padded, so that keys sort as numbers do."""
    return f"{group_key}/{version:09}"


def _refuse_taken(connection: sqlite3.Connection, table: str, item: PackageGroup | Package) -> None:
    row = connection.execute(
        f"SELECT arn FROM {table} WHERE region = ? AND name_key = ?",  # noqa: S608 - names of this file's tables
        (item.region, item.name_key),
    ).fetchone()
    if row:
        raise DuplicatePackageError(row["arn"])


def _delete(connection: sqlite3.Connection, table: str, region: str, name_key: str) -> bool:
    row = connection.execute(
        f"DELETE FROM {table} WHERE region = ? AND name_key = ? RETURNING arn",  # noqa: S608 - as above
        (region, name_key),
    ).fetchone()
    if row:
        connection.execute("DELETE FROM tags WHERE arn = ?", (row["arn"],))
    return row is not None


def _tag(connection: sqlite3.Connection, arn: str, tags: Mapping[str, str]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO tags (arn, key, value) VALUES (?, ?, ?)",
        [(arn, key, value) for key, value in tags.items()],
    )


def _insert(connection: sqlite3.Connection, package: Package) -> None:
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


def _group(row: sqlite3.Row) -> PackageGroup:
    return PackageGroup(
        region=row["region"],
        name=row["name"],
        name_key=row["name_key"],
        arn=row["arn"],
        request=json.loads(row["request"]),
        created_at=row["created_at"],
    )


def _package(row: sqlite3.Row) -> Package:
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
