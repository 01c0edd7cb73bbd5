"""What every kind of output has in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

from include.jobs.answers import Taken
from include.jobs.join_spec import JoinSpec
from include.jobs.records import Cell, Records


class Sink:
    """Writes joined rows to one file.

    Attributes:
        block_bytes: how many bytes of records it is best given at a time.
    """

    block_bytes = 4 << 20

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        self.path = path
        self.spec = spec

    @classmethod
    def require(cls) -> Any:
        """What the sink needs besides numpy; raises ConfigError where it is not here. Called before data is read."""
        return None

    def prepare(self, records: Records, taken: Taken) -> Any:
        """What is to be written of these records and their answers; may run on any thread, out of order."""
        raise NotImplementedError

    def prepare_cells(self, cells: Mapping[str, Sequence[Cell]]) -> Any:
        """The same of rows given as the text of each cell by output column, None for null."""
        raise NotImplementedError

    def write(self, prepared: Any) -> None:
        """Write what was prepared; called in the order of the records."""
        raise NotImplementedError

    def close(self) -> None:
        """End the file; also called when the join has failed."""
        raise NotImplementedError


class BytesSink(Sink):
    """A sink whose prepared blocks are bytes."""

    block_bytes = 1 << 20

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        super().__init__(path, spec)
        self.file = path.open("wb")

    def write(self, prepared: Any) -> None:
        self.file.write(prepared)

    def close(self) -> None:
        self.file.close()
