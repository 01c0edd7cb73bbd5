"""The input objects of a Processing job: which there are, whose they are, and their text."""

from __future__ import annotations

import io
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Iterator, Sequence

from include.jobs.config import Input
from include.jobs.errors import InputError
from include.jobs.foreign import BZIP2, GZIP, PARQUET, WIDE_MARKS, XZ, ZIP, ZSTD
from include.jobs.packing import growth, packing_of, unpacked

# No line may be longer: an object without line breaks is no CSV file, and would not fit into memory.
LINE_LIMIT = 64 << 20
# First bytes that no text begins with.
_FOREIGN = {
    GZIP: "gzip data; set input.compression to gzip",
    ZSTD: "zstd data; set input.compression to zstd",
    PARQUET: "a Parquet file; set input.format to parquet",
    ZIP: "a zip archive, which is not read",
    BZIP2: "bzip2 data, which is not read",
    XZ: "xz data, which is not read",
}


@dataclass(frozen=True)
class InputObject:
    """One object of the input.

    Attributes:
        path: where it lies in this container.
        source: its s3:// URI.
        size: bytes as stored.
    """

    path: Path
    source: str
    size: int


def list_objects(folder: Path, input_uri: str) -> list[InputObject]:
    """All objects below `folder`, in the order of their keys; `input_uri`, which ends in `/`, is where they came from.

    SageMaker puts what a manifest names below the manifest's prefix, which is `input_uri`, to the same name below the
    input's folder.
    """
    if not folder.is_dir():
        return []
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return [
        InputObject(paths[name], f"{input_uri}{name}", paths[name].stat().st_size)
        for name in sorted(paths, key=lambda name: name.encode("utf-8", "surrogateescape"))
    ]


def share(objects: Sequence[InputObject], hosts: Sequence[str], host: str) -> list[InputObject]:
    """The objects that `host` handles when every host has all: the largest first, to whoever has least."""
    loads = dict.fromkeys(hosts, 0)
    mine = []
    for one in sorted(objects, key=lambda one: (-one.size, one.source)):
        lightest = min(hosts, key=lambda name: loads[name])
        loads[lightest] += one.size
        if lightest == host:
            mine.append(one)
    chosen = {one.source for one in mine}
    return [one for one in objects if one.source in chosen]


def stored_text_bytes(one: InputObject, source: Input) -> int:
    """About how many bytes of text a CSV or JSON Lines object holds: a compressed one is judged by its beginning."""
    with one.path.open("rb") as stored:
        packing = packing_of(stored, one.source, source.compression)
        return max(1, round(one.size * growth(stored, packing))) if packing else one.size


def open_text(one: InputObject, source: Input) -> IO[str]:
    """The object's text, its line ends untouched, bytes that are not of its encoding as lone surrogates."""
    stored: IO[bytes] = one.path.open("rb")
    packing = packing_of(stored, one.source, source.compression)
    if packing:
        stored = unpacked(stored, packing)
    buffered = io.BufferedReader(_Guarded(stored, one.source), 1 << 18)
    head = buffered.peek(8)[:8]
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise InputError(f"{one.source} is {what}")
    encoding = source.encoding.lower().replace("_", "-")
    wide = encoding.startswith(("utf-16", "utf-32", "u16", "u32"))
    if not wide and head[:2] in WIDE_MARKS:
        raise InputError(
            f"{one.source} is written in {WIDE_MARKS[head[:2]]}, not {source.encoding}; set input.encoding"
        )
    if encoding in ("utf-8", "utf8", "u8"):
        encoding = "utf-8-sig"  # the same, less a byte order mark
    return io.TextIOWrapper(
        buffered, encoding=encoding, errors="strict" if wide else "surrogateescape", newline=""
    )


@contextmanager
def reading(one: InputObject, source: Input) -> Iterator[None]:
    """Turns what goes wrong while an object is read into an InputError that names the object."""
    try:
        yield
    except UnicodeError as error:
        raise InputError(f"{one.source} is not valid {source.encoding}: {error}") from error
    except (EOFError, zlib.error, OSError) as error:
        raise InputError(f"{one.source} cannot be read to its end: {error}") from error


class _Guarded(io.RawIOBase):
    """Bytes passed through, as long as they contain line breaks."""

    def __init__(self, stored: IO[bytes], source: str) -> None:
        self._stored = stored
        self._source = source
        self._since = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: any writable buffer
        data = self._stored.read(len(buffer))
        buffer[: len(data)] = data
        last = max(data.rfind(b"\n"), data.rfind(b"\r"))
        self._since = self._since + len(data) if last < 0 else len(data) - last
        if self._since > LINE_LIMIT:
            raise InputError(f"{self._source} has no line break in {LINE_LIMIT:,} bytes: it holds no lines")
        return len(data)

    def close(self) -> None:
        self._stored.close()
        super().close()
