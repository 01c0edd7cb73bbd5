"""Ranges of bytes in a buffer, such as the cells of records: joined, copied, decoded and parsed, many at once.

A buffer has PADDING bytes behind its content, so that eight bytes can be read from any place of it.
"""

from __future__ import annotations

from typing import Iterator, List, Optional, Sequence, Union, overload

import numpy as np

PADDING = 16


def expand_ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The indexes in all ranges, one range after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total)


def join_ranges(buffer: bytes, starts: np.ndarray, ends: np.ndarray) -> bytes:
    """Join the ranges; those that follow each other without a gap are copied at once."""
    if not len(starts):
        return b""
    breaks = np.flatnonzero(starts[1:] != ends[:-1])
    run_starts = starts[np.concatenate(([0], breaks + 1))].tolist()
    run_ends = ends[np.concatenate((breaks, [-1]))].tolist()
    if len(run_starts) == 1:
        return buffer[run_starts[0] : run_ends[0]]
    view = memoryview(buffer)
    return b"".join([view[start:end] for start, end in zip(run_starts, run_ends)])


def join_cells(
    buffer: bytes, starts: np.ndarray, ends: np.ndarray, separator: str, line_end: str
) -> tuple[np.ndarray, np.ndarray]:
    """Join the cells of rows: `starts` and `ends` have one row each, of one or more cells.

    Returns the bytes, in which the line end follows the last cell of a row, and the separator any other, each of one
    byte; and for each cell, row by row, the end of its separator in these.
    """
    lengths = (ends - starts + 1).ravel()
    joined = np.frombuffer(buffer, dtype=np.uint8)[expand_ranges(starts.ravel(), lengths)]
    cell_ends = np.cumsum(lengths)
    if starts.shape[1] > 1:
        joined[cell_ends - 1] = ord(separator)
    joined[cell_ends[starts.shape[1] - 1 :: starts.shape[1]] - 1] = ord(line_end)
    return joined, cell_ends


def are_joined(buffer: bytes, starts: np.ndarray, ends: np.ndarray, separator: str) -> bool:
    """Whether the cells of each row lie in the buffer one after the other, with the separator between them."""
    if starts.shape[1] == 1:
        return True
    is_next = bool((starts[:, 1:] == ends[:, :-1] + 1).all())
    between = np.frombuffer(buffer, dtype=np.uint8)[ends[:, :-1]] if is_next else None
    return between is not None and bool((between == ord(separator)).all())


def find_cells_with(characters: str, joined: np.ndarray, cell_ends: np.ndarray) -> np.ndarray:
    """Find the cells, by index, that hold one of the characters; `cell_ends` as `join_cells` returns them."""
    is_wanted = np.zeros(256, dtype=bool)
    is_wanted[list(characters.encode("ascii"))] = True
    positions = np.flatnonzero(is_wanted[joined])
    found = np.searchsorted(cell_ends - 1, positions)
    return np.unique(found[cell_ends[found] - 1 != positions])


def read_words(buffer: bytes, starts: np.ndarray) -> np.ndarray:
    """Read eight bytes from each start as an unsigned integer, the first byte the lowest."""
    words = np.ndarray((len(buffer) - 7,), dtype="<u8", buffer=buffer, strides=(1,))
    return np.asarray(words[starts])


class ByteCells(Sequence[str]):
    """One column of cells as text, decoded when used."""

    def __init__(self, buffer: bytes, starts: np.ndarray, ends: np.ndarray) -> None:
        self.buffer = buffer
        self.starts = starts
        self.ends = ends
        self._texts: Optional[List[str]] = None

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> List[str]: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[str, List[str]]:
        if isinstance(index, slice):
            return self._decode()[index]
        return self.buffer[self.starts[index] : self.ends[index]].decode("utf-8")

    def __iter__(self) -> Iterator[str]:
        return iter(self._decode())

    def select(self, mask: np.ndarray) -> ByteCells:
        """Select the cells where `mask` is true."""
        return ByteCells(self.buffer, self.starts[mask], self.ends[mask])

    def _decode(self) -> List[str]:
        if self._texts is None:
            if not len(self.starts):
                return []
            # A cell may hold a line feed, but not NUL.
            column = self.starts[:, np.newaxis], self.ends[:, np.newaxis]
            joined, _ = join_cells(self.buffer, *column, "\0", "\0")
            self._texts = joined[:-1].tobytes().decode("utf-8").split("\0")
        return self._texts
