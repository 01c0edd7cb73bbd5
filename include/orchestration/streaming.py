"""Uploading a file while it is still being written."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from include.orchestration.storage import Storage

#: Seconds between looks at a file that does not grow fast enough.
LOOK = 0.02


class GivenUpError(Exception):
    """The file will never be whole; whoever writes it has failed."""


class GrowingFile(io.RawIOBase):
    """A file that another thread appends to, read as one stream up to the end that it will have.

    S3's transfer manager reads such a stream part by part and sends several parts at a time. The file may be renamed
    once, from the first of `paths` to the second, when it is whole.
    """

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._whole = threading.Event()
        self._given_up = threading.Event()
        self._file: io.BufferedReader | None = None

    def readable(self) -> bool:
        """It is read, and cannot be sought."""
        return True

    def read(self, size: int = -1) -> bytes:
        """So many bytes, waiting for them; fewer only at the end.

        Raises:
            GivenUpError: the end will never come.
        """
        parts: list[bytes] = []
        missing = size
        while size < 0 or missing > 0:
            whole = (
                self._whole.is_set()
            )  # asked before the look: what is written after it is seen by the next
            if self._given_up.is_set():
                raise GivenUpError(f"{self._paths[0]} was not written to its end")
            if self._file is None:
                self._file = self._opened()
                if self._file is None and whole:
                    raise FileNotFoundError(f"{self._paths[-1]} was never written")
            more = self._file.read(missing if size >= 0 else -1) if self._file is not None else b""
            parts.append(more)
            missing -= len(more)
            if not more and whole:
                break
            if not more:
                self._whole.wait(LOOK)
        return b"".join(parts)

    def finish(self) -> None:
        """Nothing more is written."""
        self._whole.set()

    def give_up(self) -> None:
        """Nothing more is written, and what there is must not be taken for the whole."""
        self._given_up.set()

    def _opened(self) -> io.BufferedReader | None:
        for path in self._paths:
            with suppress(FileNotFoundError):
                return path.open("rb")
        return None

    def close(self) -> None:
        """Close the file that is read."""
        if self._file is not None:
            self._file.close()
        super().close()


@contextmanager
def uploading(storage: Storage, uri: str, *paths: Path) -> Iterator[None]:
    """Upload a file while the block below `with` writes it; the object is there, whole, when the block has ended.

    `paths` are where it lies while it is written, and where in the end. If the block fails there is no object.
    """
    with GrowingFile(*paths) as growing, ThreadPoolExecutor(1) as pool:
        sent = pool.submit(storage.upload_stream, cast(IO[bytes], growing), uri)
        try:
            yield
        except BaseException:
            growing.give_up()
            sent.exception()  # waits, so that no part of it is sent after this
            raise
        growing.finish()
        sent.result()
