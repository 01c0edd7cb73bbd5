"""What every kind of output has in common."""

from __future__ import annotations

from pathlib import Path

from include.jobs.join_spec import JoinSpec
from include.jobs.records import Records


class Sink:
    """Writes joined rows to one file."""

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        self.path = path
        self.spec = spec

    def add(self, records: Records, texts: list[list[str]]) -> None:
        """Write these records, each with its text of every prediction column."""
        raise NotImplementedError

    def close(self) -> None:
        """End the file; also called when the join has failed."""
        raise NotImplementedError
