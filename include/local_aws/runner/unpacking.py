"""Archives of models and scripts, unpacked as they arrive: at most so many bytes, and nothing outside the folder."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from include.local_aws.runner.gunzip import gunzip

#: Tells the containers the limit of the runner's settings: images unpack archives too.
LIMIT_VARIABLE = "LOCAL_AWS_UNPACKED_ARCHIVE_BYTES"


def limit_of_container() -> int:
    """The most bytes that an archive may unpack to in this container, as the runner tells it; AWS's tells none."""
    return int(os.environ.get(LIMIT_VARIABLE, sys.maxsize))


class ArchiveTooLargeError(Exception):
    """An archive unpacks to more than the setting allows."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"It unpacks to more than {limit:,} bytes, which is what the setting runner.unpacked_archive_mb of the "
            f"embedded AWS allows; raise it if the archive is right."
        )


class PieceReader(io.RawIOBase):
    """A file over pieces of bytes, for tarfile's stream mode."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed names a private protocol
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def unpack(pieces: Iterable[bytes], folder: Path, limit: int) -> None:
    """A .tar.gz into `folder`: files, folders and links within it, in all `limit` bytes.

    Raises:
        ArchiveTooLargeError: there is more; what fits was written.
        tarfile.TarError, zlib.error, EOFError, OSError: it is not a .tar.gz, or a member is a device or leaves the
            folder.
    """
    unpacked = 0

    def count(size: int) -> None:
        nonlocal unpacked
        unpacked += size
        if unpacked > limit:
            raise ArchiveTooLargeError(limit)

    def counted() -> Iterator[bytes]:
        for piece in gunzip(pieces):
            count(len(piece))
            yield piece

    def checked(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        if member.issparse():
            count(member.size)  # its holes are not in the archive
        return tarfile.data_filter(member, path)

    with tarfile.open(fileobj=io.BufferedReader(PieceReader(counted())), mode="r|") as archive:
        archive.extractall(folder, filter=checked)  # noqa: S202 (`checked` is what the rule asks for)
