"""MXNet's NDArray list files (`*.params`), as written by `mx.nd.save`: only dense arrays, read without MXNet.

Layout, little endian: uint64 0x112, uint64 0, uint64 count; each array: uint32 0xF993FAC9, int32 storage type (0 is
dense),
uint32 dimensions, int64 each, int32 device type, int32 device number, int32 element type, data; then uint64 count of
names, each uint64 length and text. (src/ndarray/ndarray.cc, NDArray::Save.)
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

LIST_MAGIC = 0x112
ARRAY_MAGIC = 0xF993FAC9
DTYPES_BY_CODE = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise ValueError(f"ends at byte {len(self._data)}, expected at least {end}")
        taken, self._at = self._data[self._at : end], end
        return taken

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))


def read_params(data: bytes) -> dict[str, NDArray[np.generic]]:
    """Arrays by name; raises ValueError when `data` is no such file or holds sparse arrays."""
    reader = _Reader(data)
    magic, _reserved, count = reader.unpack("QQQ")
    if magic != LIST_MAGIC:
        raise ValueError(f"not an MXNet NDArray list: begins with 0x{magic:x}, expected 0x{LIST_MAGIC:x}")
    arrays = [_read_array(reader) for _ in range(count)]
    (names,) = reader.unpack("Q")
    if names != count:
        raise ValueError(f"{count} arrays but {names} names")
    return {reader.take(reader.unpack("Q")[0]).decode(): array for array in arrays}


def _read_array(reader: _Reader) -> NDArray[np.generic]:
    magic, storage, dimensions = reader.unpack("IiI")
    if magic != ARRAY_MAGIC or storage != 0:
        raise ValueError(
            f"only dense version 2 arrays are read, found magic 0x{magic:x}, storage type {storage}"
        )
    shape = reader.unpack(f"{dimensions}q")
    _device, _number, kind = reader.unpack("iii")
    if kind not in DTYPES_BY_CODE:
        raise ValueError(f"element type {kind} is unknown, expected one of {sorted(DTYPES_BY_CODE)}")
    dtype = np.dtype(DTYPES_BY_CODE[kind])
    size = int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(reader.take(size * dtype.itemsize), dtype).reshape(shape)
