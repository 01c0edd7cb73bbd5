"""Digests keys to 128 bits, many keys at once.

A digest is four multiply-shift hashes of 32 bits (M. Dietzfelbinger, "Universal hashing and k-wise independent random
variables via integer arithmetic without primes", 1996) of the key's length and its 32-bit words. Two different keys
have the same digest with a probability of 2**-128 over the multipliers, which follow from a seed.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Sequence

import numpy as np

from batch_inference.jobs.common.byte_ranges import PADDING, ByteCells, are_joined, join_cells, read_words

# A longer key is digested by BLAKE2b, one by one.
MAX_WORDS = 32
_LANES = 4
_U64 = np.uint64
# By how many bytes of a word belong to the key.
_MASKS = np.array([(1 << (8 * count)) - 1 for count in range(9)], dtype=_U64)


class KeyDigester:
    """Digests keys, each of which is the cells of some columns in one row."""

    def __init__(self, seed: bytes) -> None:
        self._seed = blake2b(seed, digest_size=32).digest()
        count = _LANES * (1 + 2 * MAX_WORDS)
        stream = b"".join(
            blake2b(number.to_bytes(4, "little"), key=self._seed).digest() for number in range(count // 8 + 1)
        )
        self._multipliers = np.frombuffer(stream, dtype="<u8", count=count).reshape(-1, _LANES)

    def digest(self, columns: Sequence[ByteCells], is_plain: np.ndarray, separator: str) -> np.ndarray:
        """Digest the key of each row; returns a row of two unsigned 64-bit integers for each.

        `is_plain` is false for the rows that may have the separator within a cell.
        """
        starts = np.stack([column.starts for column in columns], axis=1)
        ends = np.stack([column.ends for column in columns], axis=1)
        buffer = columns[0].buffer
        key_starts, key_ends = starts[:, 0], ends[:, -1]
        if not are_joined(buffer, starts, ends, separator):
            joined, cell_ends = join_cells(buffer, starts, ends, separator, separator)
            row_ends = cell_ends[len(columns) - 1 :: len(columns)]
            key_starts, key_ends = np.concatenate(([0], row_ends[:-1])), row_ends - 1
            buffer = joined.tobytes() + bytes(PADDING)
        digests = self._digest_words(buffer, key_starts, key_ends - key_starts)
        for row in np.flatnonzero(key_ends - key_starts > 8 * MAX_WORDS).tolist():
            digests[row] = self._digest_bytes(buffer[key_starts[row] : key_ends[row]])
        for row in np.flatnonzero(~is_plain).tolist():
            cells = [column[row] for column in columns]
            if any(separator in cell for cell in cells):
                # NUL separates the cells: a record that holds NUL is rejected before this.
                digests[row] = self._digest_bytes(b"\0" + "\0".join(cells).encode("utf-8"))
        return digests

    def _digest_bytes(self, key: bytes) -> np.ndarray:
        return np.frombuffer(blake2b(key, digest_size=16, key=self._seed).digest(), dtype="<u8")

    def _digest_words(self, buffer: bytes, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        lanes = [self._multipliers[0, lane] * lengths.astype(_U64) for lane in range(_LANES)]
        longest = min(int(lengths.max()) if len(lengths) else 0, 8 * MAX_WORDS)
        for number, offset in enumerate(range(0, longest, 8)):
            counts = np.clip(lengths - offset, 0, 8)
            words = read_words(buffer, np.where(counts > 0, starts + offset, 0)) & _MASKS[counts]
            lower, upper = words & _U64(0xFFFFFFFF), words >> _U64(32)
            for lane in range(_LANES):
                lanes[lane] += self._multipliers[1 + 2 * number, lane] * lower
                lanes[lane] += self._multipliers[2 + 2 * number, lane] * upper
        digests = np.empty((len(lengths), 2), dtype=_U64)
        shift = _U64(32)
        digests[:, 0] = (lanes[0] >> shift << shift) | (lanes[1] >> shift)
        digests[:, 1] = (lanes[2] >> shift << shift) | (lanes[3] >> shift)
        return digests
