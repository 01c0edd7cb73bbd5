"""Base classes of the outputs of a join."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

from batch_inference.jobs.common.json_reading import Cell
from batch_inference.jobs.config.join_spec import JoinSpec
from batch_inference.jobs.join.prediction_reader import PredictionBatch
from batch_inference.jobs.join.records import RecordBlock


class Sink:
    """Writes joined rows to one file.

    Attributes:
        block_bytes: preferred size of a block of records.
    """

    block_bytes = 4 << 20

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        self.path = path
        self.spec = spec

    def prepare(self, records: RecordBlock, predictions: PredictionBatch) -> Any:
        """Prepare the output of these records and predictions; may run on any thread, out of order."""
        raise NotImplementedError

    def prepare_cells(self, cells: Mapping[str, Sequence[Cell]]) -> Any:
        """Prepare the output of rows given as cells by output column, None for null."""
        raise NotImplementedError

    def write(self, prepared: Any) -> None:
        """Write a prepared block; called in the order of the records."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file; also called when the join has failed."""
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
