"""Compressed objects: told by their first bytes, unpacked while they are read."""

from __future__ import annotations

import gzip
import io
import zlib
from contextlib import suppress
from typing import IO, cast

from include.jobs.arrow import require_arrow
from include.jobs.errors import InputError
from include.jobs.foreign import GZIP, ZSTD

_MAGIC = {"gzip": GZIP, "zstd": ZSTD}
_SAMPLE = 1 << 20


def packing_of(stored: IO[bytes], source: str, compression: str) -> str:
    """How the object is packed: "gzip", "zstd" or "". `stored` is left at its beginning.

    Raises:
        InputError: the pipeline says that all objects are packed, and this one is not.
        ConfigError: it is zstd, which needs pyarrow, and this image has none.
    """
    head = stored.read(4)
    stored.seek(0)
    if compression == "none":
        return ""
    found = next((name for name, magic in _MAGIC.items() if head.startswith(magic)), "")
    if head and compression != "auto" and found != compression:
        raise InputError(
            f"{source} is not {compression} data; set input.compression to none, or to auto for a mix"
        )
    if found == "zstd":
        require_arrow(f"{source} is zstd data")
    return found


def unpacked(stored: IO[bytes], packing: str) -> IO[bytes]:
    """The object's own bytes, streamed; `packing` as `packing_of` told it."""
    if packing == "zstd":
        return cast(IO[bytes], _ZstdFile(stored))
    return cast(IO[bytes], gzip.GzipFile(fileobj=stored))


def growth(stored: IO[bytes], packing: str) -> float:
    """How many times as large the object is unpacked, judged by its beginning."""
    head = stored.read(_SAMPLE)
    plain, stream = 0, unpacked(io.BytesIO(head), packing)
    # The beginning of a longer object ends somewhere; a broken one is reported when it is read.
    with suppress(EOFError, OSError, zlib.error):
        while piece := stream.read(_SAMPLE):
            plain += len(piece)
    return plain / len(head)


class _ZstdFile(io.RawIOBase):
    """Arrow's zstd stream, one frame or several, as a file of Python's."""

    def __init__(self, stored: IO[bytes]) -> None:
        self._stored = stored
        arrow = require_arrow("the input is zstd data")
        self._stream = arrow.CompressedInputStream(arrow.PythonFile(stored, mode="r"), "zstd")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        plain: bytes = self._stream.read(None if size < 0 else size)
        return plain

    def close(self) -> None:
        self._stream.close()
        self._stored.close()
        super().close()
