"""Lists the input objects of a Processing job, assigns them to hosts and opens their text, decompressed."""

from __future__ import annotations

import gzip
import io
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Iterator, Sequence, cast

from batch_inference.jobs.common.arrow import require_arrow
from batch_inference.jobs.common.binary_formats import (
    BZIP2,
    GZIP,
    PARQUET,
    UTF16_BYTE_ORDER_MARKS,
    XZ,
    ZIP,
    ZSTD,
)
from batch_inference.jobs.common.errors import InputError
from batch_inference.jobs.config.preprocess_config import InputConfig

# Limit of one line: an object without line breaks is not CSV, and would not fit into memory.
MAX_LINE_BYTES = 64 << 20
# Magic bytes, which no text begins with.
_UNEXPECTED_FORMATS = {
    GZIP: "gzip data; set input.compression to gzip",
    ZSTD: "zstd data; set input.compression to zstd",
    PARQUET: "a Parquet file; set input.format to parquet",
    ZIP: "a zip archive, which is not read",
    BZIP2: "bzip2 data, which is not read",
    XZ: "xz data, which is not read",
}
_COMPRESSIONS = {"gzip": GZIP, "zstd": ZSTD}
_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True)
class InputObject:
    """One object of the input, and its local file; `stored_bytes` is its size before decompression."""

    path: Path
    uri: str
    stored_bytes: int


def list_objects(folder: Path, input_uri: str) -> list[InputObject]:
    """List all objects below `folder`, in the order of their keys; `input_uri`, which ends in `/`, is their prefix.

    The prefix of the input's manifest is `input_uri`: SageMaker puts each object at the same path below the folder as
    it has below that prefix.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return [
        InputObject(paths[name], f"{input_uri}{name}", paths[name].stat().st_size)
        for name in sorted(paths, key=lambda name: name.encode("utf-8", "surrogateescape"))
    ]


def select_balanced_share(
    objects: Sequence[InputObject], hosts: Sequence[str], host: str
) -> list[InputObject]:
    """Select the objects of `host` when every host has all: largest first, each to the host with the fewest bytes."""
    loads = dict.fromkeys(hosts, 0)
    mine = []
    for one in sorted(objects, key=lambda one: (-one.stored_bytes, one.uri)):
        lightest = min(hosts, key=lambda name: loads[name])
        loads[lightest] += one.stored_bytes
        if lightest == host:
            mine.append(one)
    chosen = {one.uri for one in mine}
    return [one for one in objects if one.uri in chosen]


def estimate_decompressed_bytes(input_object: InputObject, input_config: InputConfig) -> int:
    """Estimate the bytes of text of a CSV or JSON Lines object; a compressed one is sampled at its beginning."""
    with input_object.path.open("rb") as stored:
        compression = _detect_compression(stored, input_object.uri, input_config.compression)
        ratio = _estimate_expansion_ratio(stored, compression) if compression else 1
    return max(1, round(input_object.stored_bytes * ratio))


def open_text(input_object: InputObject, input_config: InputConfig) -> IO[str]:
    """Open the object as text: line ends unchanged, bytes outside of its encoding as lone surrogates."""
    stored: IO[bytes] = input_object.path.open("rb")
    compression = _detect_compression(stored, input_object.uri, input_config.compression)
    if compression:
        stored = _decompress(stored, compression)
    buffered = io.BufferedReader(_LineLengthGuard(stored, input_object.uri), 1 << 18)
    head = buffered.peek(8)[:8]
    for magic, what in _UNEXPECTED_FORMATS.items():
        if head.startswith(magic):
            raise InputError(f"{input_object.uri} is {what}")
    encoding = input_config.encoding.lower().replace("_", "-")
    wide = encoding.startswith(("utf-16", "utf-32", "u16", "u32"))
    if not wide and head[:2] in UTF16_BYTE_ORDER_MARKS:
        raise InputError(
            f"{input_object.uri} is written in {UTF16_BYTE_ORDER_MARKS[head[:2]]}, not {input_config.encoding}; "
            "set input.encoding"
        )
    if encoding in ("utf-8", "utf8", "u8"):
        encoding = "utf-8-sig"  # the same, less a byte order mark
    errors = "strict" if wide else "surrogateescape"
    return io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline="")


@contextmanager
def translate_read_errors(input_object: InputObject, input_config: InputConfig) -> Iterator[None]:
    """Turn errors raised while an object is read into an InputError that names the object."""
    try:
        yield
    except UnicodeError as error:
        raise InputError(f"{input_object.uri} is not valid {input_config.encoding}: {error}") from error
    except (EOFError, zlib.error, OSError) as error:
        raise InputError(f"{input_object.uri} cannot be read to its end: {error}") from error


def _detect_compression(stored: IO[bytes], uri: str, configured: str) -> str:
    """Detect the compression of an object: "gzip", "zstd" or "". `stored` is left at its beginning.

    Raises:
        InputError: input.compression names a compression that this object does not have.
        ConfigError: it is zstd, which needs pyarrow, and the image has none.
    """
    head = stored.read(4)
    stored.seek(0)
    if configured == "none":
        return ""
    found = next((name for name, magic in _COMPRESSIONS.items() if head.startswith(magic)), "")
    if head and configured != "auto" and found != configured:
        raise InputError(
            f"{uri} is not {configured} data; set input.compression to none, or to auto for a mix"
        )
    if found == "zstd":
        require_arrow(f"{uri} is zstd data")
    return found


def _decompress(stored: IO[bytes], compression: str) -> IO[bytes]:
    """Stream the decompressed bytes; `compression` as `_detect_compression` returned it."""
    if compression == "zstd":
        arrow = require_arrow("the input is zstd data")
        return cast(IO[bytes], arrow.CompressedInputStream(arrow.PythonFile(stored, mode="r"), "zstd"))
    stream = gzip.GzipFile(fileobj=stored)
    stream.myfileobj = stored  # type: ignore[assignment]  # closed with the stream, as a file that it opens itself
    return cast(IO[bytes], stream)


def _estimate_expansion_ratio(stored: IO[bytes], compression: str) -> float:
    """Estimate the ratio of decompressed to stored bytes from the beginning of the object."""
    sample = stored.read(_SAMPLE_BYTES)
    text_bytes, stream = 0, _decompress(io.BytesIO(sample), compression)
    # The sample of a longer object ends amid a block; a broken object is reported when it is read.
    with suppress(EOFError, OSError, zlib.error):
        while chunk := stream.read(_SAMPLE_BYTES):
            text_bytes += len(chunk)
    return text_bytes / len(sample)


class _LineLengthGuard(io.RawIOBase):
    """Passes bytes on and raises InputError if a line is longer than MAX_LINE_BYTES."""

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
        if self._since > MAX_LINE_BYTES:
            raise InputError(
                f"{self._source} has no line break in {MAX_LINE_BYTES:,} bytes: it holds no lines"
            )
        return len(data)

    def close(self) -> None:
        self._stored.close()
        super().close()
