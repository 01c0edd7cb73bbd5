"""Joins lines of records and numbers with Arrow, without a Python object for each line."""

from __future__ import annotations

from typing import Any

import numpy as np

from batch_inference.jobs.common.blocks import Block


def create_line_splicer(delimiter: bytes) -> LineSplicer | None:
    """Create a LineSplicer, or None if pyarrow is missing or too old."""
    try:
        import pyarrow.compute
        import pyarrow.csv
    except ImportError:
        return None
    return LineSplicer(pyarrow, delimiter) if hasattr(pyarrow.compute, "binary_join_element_wise") else None


class LineSplicer:
    """Appends a delimiter and a number to each record of a block."""

    def __init__(self, arrow: Any, delimiter: bytes) -> None:
        self.arrow = arrow
        self._delimiter = delimiter[0]

    def __call__(self, records: Block, numbers: Block) -> Any:
        """Return the joined lines as a buffer of bytes; both blocks have the same number of lines."""
        data = np.frombuffer(records.data, dtype=np.uint8).copy()
        data[records.ends - 1] = self._delimiter  # replaces the line feed
        nothing = self._array(np.zeros(records.record_count, dtype=np.int64), b"")
        # A scalar separator would import pandas, so an array is used: the number is the separator between the record
        # and an empty text.
        joined = self.arrow.compute.binary_join_element_wise(
            self._array(records.ends, data), nothing, self._array(numbers.ends, numbers.data)
        )
        return joined.buffers()[2].slice(0, len(records.data) + len(numbers.data))

    def _array(self, ends: np.ndarray, data: Any) -> Any:
        offsets = np.zeros(len(ends) + 1, dtype=np.int32)
        offsets[1:] = ends
        buffers = [None, self.arrow.py_buffer(offsets), self.arrow.py_buffer(data)]
        return self.arrow.Array.from_buffers(self.arrow.binary(), len(ends), buffers)
