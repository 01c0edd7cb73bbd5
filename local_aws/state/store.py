"""Opens the tables of one sqlite file."""

from __future__ import annotations

from pathlib import Path

from local_aws.state.database import Database
from local_aws.state.jobs import JobTable
from local_aws.state.registry import GroupTable, ModelTable, PackageTable
from local_aws.state.rows import TagStore


class Store:
    """Jobs, models, package groups, packages and tags of one data directory."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self.jobs = JobTable(self._database)
        self.models = ModelTable(self._database)
        self.package_groups = GroupTable(self._database)
        self.packages = PackageTable(self._database)
        self.tags = TagStore(self._database)

    def close(self) -> None:
        """Close the file's connections."""
        self._database.close()
