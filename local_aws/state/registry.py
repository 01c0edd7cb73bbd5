"""Stores models and the model registry in sqlite: groups, versions of groups, and packages without a group."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from local_aws.state.rows import Resource, Table


class MissingGroupError(LookupError):
    """There is no such group."""


class GroupInUseError(ValueError):
    """The group still has `package_count` versions."""

    def __init__(self, package_count: int) -> None:
        super().__init__(package_count)
        self.package_count = package_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(Resource):
    """One model; it can be deleted and its name used again."""

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Its container definitions in order, from PrimaryContainer or Containers."""
        primary = self.request.get("PrimaryContainer")
        return [primary] if primary else list(self.request.get("Containers", []))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageGroup(Resource):
    """One group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package(Resource):
    """One package and its current state.

    Attributes:
        name: its own, or its group's for a version.
        name_key: the unique key: of the name, or of group and version.
        group_key, version: of a version; None for a package without a group.
        request: the CreateModelPackage request, with what UpdateModelPackage changed.
        approval: ModelApprovalStatus; None for a package without a group.
        token: the ClientToken it was created with.
    """

    group_key: str | None
    version: int | None
    approval: str | None
    token: str | None
    modified_at: float | None


class ModelTable(Table[Model]):
    """Reads and writes models."""

    table_name = "models"
    row_type = Model


class GroupTable(Table[PackageGroup]):
    """Reads and writes groups."""

    table_name = "package_groups"
    row_type = PackageGroup

    def delete(self, *key: str) -> bool:
        """Delete an empty group and its tags; False when there is none, GroupInUseError when it has versions."""
        with self._database.write() as connection:
            number: int = connection.execute(
                "SELECT COUNT(*) FROM packages WHERE region = ? AND group_key = ?", key
            ).fetchone()[0]
            if number:
                raise GroupInUseError(number)
            return self.delete_row(connection, *key)


class PackageTable(Table[Package]):
    """Reads and writes packages."""

    table_name = "packages"
    row_type = Package

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
            self.insert(connection, inserted, {})
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


def build_version_key(group_key: str, version: int) -> str:
    """The unique key of a version; the number is padded, so that keys sort by number."""
    return f"{group_key}/{version:09}"
