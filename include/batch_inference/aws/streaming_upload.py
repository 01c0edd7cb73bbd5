"""Uploading a file while it is still being written."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from batch_inference.aws.s3 import Storage

#: Seconds between two reads of a file that has not grown.
POLL_SECONDS = 0.02


class WriteAbortedError(Exception):
    """The writer of the file has failed, so the file stays incomplete."""


class GrowingFile(io.RawIOBase):
    """A file that another thread appends to, read as one stream until it is complete.

    S3's transfer manager reads such a stream part by part and sends several parts at a time. The file may be renamed
    once, from the first of `paths` to the second, when it is complete.
    """

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._whole = threading.Event()
        self._aborted = threading.Event()
        self._file: io.BufferedReader | None = None

    def readable(self) -> bool:
        """True; the stream is not seekable."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes and wait for them; fewer only at the end.

        Raises:
            WriteAbortedError: the writer has failed.
        """
        parts: list[bytes] = []
        missing = size
        while size < 0 or missing > 0:
            whole = self._whole.is_set()  # before the read: what is written later is read in the next turn
            if self._aborted.is_set():
                raise WriteAbortedError(f"{self._paths[0]} was not written to its end")
            if self._file is None:
                self._file = self._open()
                if self._file is None and whole:
                    raise FileNotFoundError(f"{self._paths[-1]} was never written")
            more = self._file.read(missing if size >= 0 else -1) if self._file is not None else b""
            parts.append(more)
            missing -= len(more)
            if not more and whole:
                break
            if not more:
                self._whole.wait(POLL_SECONDS)
        return b"".join(parts)

    def finish(self) -> None:
        """Mark the file as complete."""
        self._whole.set()

    def abort(self) -> None:
        """Mark the file as incomplete for good."""
        self._aborted.set()

    def _open(self) -> io.BufferedReader | None:
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
def upload_while_writing(
    storage: Storage, uri: str, writing_path: Path, final_path: Path | None = None
) -> Iterator[None]:
    """Upload a file while the `with` block writes it; the object is complete when the block has ended.

    The file is at `writing_path`; a complete one may be renamed to `final_path`. If the block fails there is no object.
    """
    with GrowingFile(writing_path, final_path or writing_path) as growing, ThreadPoolExecutor(1) as pool:
        upload = pool.submit(storage.upload_stream, cast(IO[bytes], growing), uri)
        try:
            yield
        except BaseException:
            growing.abort()
            upload.exception()  # waits, so that no part of it is sent after this
            raise
        growing.finish()
        upload.result()
