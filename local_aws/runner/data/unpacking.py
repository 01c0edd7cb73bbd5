"""Unpacks gzip streams, and archives of models and scripts: with a size limit, and only inside the target folder."""

from __future__ import annotations

import io
import os
import sys
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

#: Environment variable that passes the limit to containers: images unpack archives too.
UNPACK_LIMIT_VARIABLE = "LOCAL_AWS_UNPACKED_ARCHIVE_BYTES"
GZIP_WBITS = 16 + zlib.MAX_WBITS
MAX_CHUNK_BYTES = 1024 * 1024
#: What `gunzip` raises.
GZIP_ERRORS: tuple[type[zlib.error], type[EOFError]] = (zlib.error, EOFError)


def read_unpack_limit() -> int:
    """The most bytes that an archive may unpack to in this container, as the runner sets it; no limit on AWS."""
    return int(os.environ.get(UNPACK_LIMIT_VARIABLE, sys.maxsize))


def gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The decompressed bytes of a gzip stream of one or several members, in pieces of at most 1 MiB.

    Raises zlib.error when it is not gzip and EOFError when it ends early.
    """
    decoder = zlib.decompressobj(GZIP_WBITS)
    begun = False
    for piece in chunks:
        rest = piece
        while rest:
            if decoder.eof:
                decoder = zlib.decompressobj(GZIP_WBITS)
            out = decoder.decompress(rest, MAX_CHUNK_BYTES)
            begun = True
            rest = decoder.unconsumed_tail or decoder.unused_data
            if decoder.eof and not rest.strip(b"\0"):
                rest = b""  # padding after the last member, as gzip itself allows
            if out:
                yield out
    if begun and not decoder.eof:
        raise EOFError("the gzip stream ends before its end-of-stream marker")


class ArchiveTooLargeError(Exception):
    """An archive unpacks to more than the setting allows."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(
            f"It unpacks to more than {max_bytes:,} bytes, which is what the setting runner.unpacked_archive_mb of the "
            f"embedded AWS allows; raise it if the archive is right."
        )


class ChunkReader(io.RawIOBase):
    """A file over pieces of bytes, for tarfile's stream mode."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._pieces = chunks
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


def unpack_tar_gz(chunks: Iterable[bytes], folder: Path, max_bytes: int) -> None:
    """A .tar.gz into `folder`: files, folders and links within it, at most `max_bytes` bytes in all.

    Raises:
        ArchiveTooLargeError: there is more; what fits was written.
        tarfile.TarError, zlib.error, EOFError, OSError: it is not a .tar.gz, or a member is a device or leaves the
            folder.
    """
    unpacked = 0

    def count(size: int) -> None:
        nonlocal unpacked
        unpacked += size
        if unpacked > max_bytes:
            raise ArchiveTooLargeError(max_bytes)

    def counted() -> Iterator[bytes]:
        for piece in gunzip(chunks):
            count(len(piece))
            yield piece

    def checked(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        if member.issparse():
            count(member.size)  # its holes are not in the archive
        return tarfile.data_filter(member, path)

    with tarfile.open(fileobj=io.BufferedReader(ChunkReader(counted())), mode="r|") as archive:
        archive.extractall(folder, filter=checked)  # noqa: S202 (`checked` is what the rule asks for)
