"""Bodies of requests and responses: in memory while small, on disk beyond that."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_MEMORY_BYTES = 256 * 1024
CHUNK_BYTES = 256 * 1024


class Spool:
    """Bytes written once, read any number of times, one reader at a time."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.SpooledTemporaryFile(MAX_MEMORY_BYTES, dir=str(folder))  # noqa: SIM115 (closed by `close`)
        self.size = 0

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self.size += len(chunk)

    def iter_chunks(self) -> Iterator[bytes]:
        self._file.seek(0)
        while piece := self._file.read(CHUNK_BYTES):
            yield piece

    def read(self) -> bytes:
        self._file.seek(0)
        return self._file.read()

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class RequestBody:
    """What to POST. `length` None means chunked; `iter_chunks` may be called again for a retry."""

    length: int | None
    iter_chunks: Callable[[], Iterator[bytes]]
