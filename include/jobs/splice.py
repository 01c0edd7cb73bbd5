"""Records and numbers joined line to line by Arrow, without an object for each line."""

from __future__ import annotations

from typing import Any

import numpy as np

from include.jobs.blocks import Block


def splicer(delimiter: bytes) -> Splice | None:
    """None where pyarrow is missing or older than the function that this needs."""
    try:
        import pyarrow.compute
        import pyarrow.csv
    except ImportError:
        return None
    return Splice(pyarrow, delimiter) if hasattr(pyarrow.compute, "binary_join_element_wise") else None


class Splice:
    """Puts a delimiter and a number behind each record of a block."""

    def __init__(self, arrow: Any, delimiter: bytes) -> None:
        self.arrow = arrow
        self._delimiter = delimiter[0]

    def __call__(self, records: Block, numbers: Block) -> Any:
        """The joined lines, as a buffer of bytes; both blocks have as many lines."""
        data = np.frombuffer(records.data, dtype=np.uint8).copy()
        data[records.ends - 1] = self._delimiter  # it stands where the line feed was
        nothing = self._array(np.zeros(records.count, dtype=np.int64), b"")
        # The separator may differ by line where a scalar would do, and a scalar imports pandas: so the number
        # is the separator between a record and nothing.
        joined = self.arrow.compute.binary_join_element_wise(
            self._array(records.ends, data), nothing, self._array(numbers.ends, numbers.data)
        )
        return joined.buffers()[2].slice(0, len(records.data) + len(numbers.data))

    def _array(self, ends: np.ndarray, data: Any) -> Any:
        offsets = np.zeros(len(ends) + 1, dtype=np.int32)
        offsets[1:] = ends
        buffers = [None, self.arrow.py_buffer(offsets), self.arrow.py_buffer(data)]
        return self.arrow.Array.from_buffers(self.arrow.binary(), len(ends), buffers)
