"""Groups the stores of one sqlite file."""

from __future__ import annotations

from pathlib import Path

from include.local_aws.state.database import Database
from include.local_aws.state.jobs import JobStore
from include.local_aws.state.models import ModelStore
from include.local_aws.state.registry import RegistryStore
from include.local_aws.state.tags import TagStore


class Store:
    """Jobs, models, the registry and tags of one data directory."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self.jobs = JobStore(self._database)
        self.models = ModelStore(self._database)
        self.registry = RegistryStore(self._database)
        self.tags = TagStore(self._database)

    def close(self) -> None:
        """Close the file's connections."""
        self._database.close()
