"""Lists the input objects of a Processing job, assigns them to hosts and opens their text, decompressed."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import sys
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
# The ordinal of a record is the rank of its object, and in these lower bits its number within the object.
RECORD_BITS = 39
_COMPRESSIONS = {"gzip": GZIP, "zstd": ZSTD}
_SAMPLE_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 12  # of text that is decompressed at a time: an incomplete last one is lost
_CUT_WINDOW_BYTES = 1 << 16
_LINE_END = re.compile(rb"\n")
_CUTTABLE_ENCODINGS = frozenset(
    ["ascii", "utf-8", *(f"iso8859-{n}" for n in range(1, 17)), *(f"cp125{n}" for n in range(9))]
)


@dataclass(frozen=True)
class InputObject:
    """One object of the input, and its local file; `stored_bytes` is its size before decompression."""

    path: Path
    uri: str
    stored_bytes: int


@dataclass(frozen=True)
class ObjectPart:
    """Whole lines of one object, read by one process: all of it, or bytes `begin` to `end` of its text.

    Attributes:
        rank: the place of the object among all objects of the run.
        text_bytes: its bytes of text, estimated if the object is compressed.
        lines_before, records_before: how many lines and records of the object come before it.
    """

    object: InputObject
    rank: int
    text_bytes: int
    begin: int = 0
    end: int | None = None
    lines_before: int = 0
    records_before: int = 0

    @property
    def ordinal_before(self) -> int:
        """The ordinal of the record before its first one."""
        return (self.rank << RECORD_BITS) + self.records_before

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the object."""
        return not self.begin and self.end is None


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
    if input_config.compression == "none":
        return input_object.stored_bytes
    with input_object.path.open("rb") as stored:
        compression = _detect_compression(stored, input_object.uri, input_config.compression)
        ratio = _estimate_expansion_ratio(stored, compression) if compression else 1
    return max(1, round(input_object.stored_bytes * ratio))


class Text:
    """The text of an object, or of a part of it."""

    def __init__(self, part: ObjectPart, input_config: InputConfig) -> None:
        """Raises InputError if the object is of another format, encoding or compression than configured."""
        stored: IO[bytes] = part.object.path.open("rb")
        try:
            self._open(stored, part, input_config)
        except BaseException:
            stored.close()
            raise

    def _open(self, stored: IO[bytes], part: ObjectPart, input_config: InputConfig) -> None:
        uri = part.object.uri
        compression = _detect_compression(stored, uri, input_config.compression)
        if compression:
            stored = _decompress(stored, compression)
        if part.begin:
            stored.seek(part.begin)
        length = None if part.end is None else part.end - part.begin
        self._bytes = io.BufferedReader(_LineLengthGuard(stored, uri, length), 1 << 18)
        self._encoding = _normalize_encoding(input_config.encoding)
        if not part.begin:
            self._check_head(uri, input_config.encoding)
        self._decoded = None if self._encoding == "utf-8" else self.open_lines()

    def __enter__(self) -> Text:
        return self

    def __exit__(self, *_: object) -> None:
        self._bytes.close()

    def read(self, size: int, /) -> bytes:
        """Read about `size` bytes or characters as UTF-8; nothing at the end."""
        if self._decoded is None:
            return self._bytes.read(size)
        return self._decoded.read(size).encode("utf-8", "surrogatepass")

    def escape_undecodable(self, lines: bytes, /) -> bytes:
        """Replace bytes of whole lines that are outside of the object's encoding by lone surrogates."""
        if self._decoded is not None or lines.isascii():
            return lines
        try:
            lines.decode("utf-8")
        except UnicodeDecodeError:
            return lines.decode("utf-8", "surrogateescape").encode("utf-8", "surrogatepass")
        return lines

    def open_lines(self) -> IO[str]:
        """Open it as text: line ends unchanged, bytes outside of its encoding as lone surrogates."""
        errors = "strict" if _is_wide(self._encoding) else "surrogateescape"
        return io.TextIOWrapper(self._bytes, encoding=self._encoding, errors=errors, newline="")

    def _check_head(self, uri: str, encoding: str) -> None:
        """Skip a byte order mark of UTF-8; raise InputError if the first bytes are those of another format."""
        head = self._bytes.peek(8)[:8]
        for magic, what in _UNEXPECTED_FORMATS.items():
            if head.startswith(magic):
                raise InputError(f"{uri} is {what}")
        if not _is_wide(self._encoding) and head[:2] in UTF16_BYTE_ORDER_MARKS:
            raise InputError(
                f"{uri} is written in {UTF16_BYTE_ORDER_MARKS[head[:2]]}, not {encoding}; set input.encoding"
            )
        if self._encoding == "utf-8" and head.startswith(codecs.BOM_UTF8):
            self._bytes.read(len(codecs.BOM_UTF8))


def find_part_ends(input_object: InputObject, input_config: InputConfig, offsets: Sequence[int]) -> list[int]:
    """Find the end of a line behind each of the offsets at which the object can be cut; fewer if it has no such lines.

    Quoted line breaks are avoided, not excluded: a line without quotes before and after the cut is preferred.
    """
    if input_config.format == "parquet" or not _has_single_byte_line_ends(input_config.encoding):
        return []
    ends: list[int] = []
    with input_object.path.open("rb") as stored:
        if _detect_compression(stored, input_object.uri, input_config.compression):
            return []
        for offset in offsets:
            stored.seek(offset)
            window = stored.read(_CUT_WINDOW_BYTES)
            starts = [match.end() for match in _LINE_END.finditer(window)]
            lines = zip(starts, starts[1:], starts[2:])
            plain = (middle for start, middle, end in lines if b'"' not in window[start:end])
            end = offset + next(plain, starts[0] if starts else 0)
            if starts and end > (ends[-1] if ends else 0) and end < input_object.stored_bytes:
                ends.append(end)
    return ends


def _normalize_encoding(name: str) -> str:
    name = name.lower().replace("_", "-")
    return "utf-8" if name in ("utf-8", "utf8", "u8") else name


def _is_wide(encoding: str) -> bool:
    return encoding.startswith(("utf-16", "utf-32", "u16", "u32"))


def _has_single_byte_line_ends(encoding: str) -> bool:
    """Whether a byte 0x0A is a line feed wherever it stands, and decoding can begin behind it."""
    return codecs.lookup(encoding).name in _CUTTABLE_ENCODINGS


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
    return len(decompress_start(sample, compression)) / len(sample)


def decompress_start(sample: bytes, compression: str, max_bytes: int = sys.maxsize) -> bytes:
    """Decompress the first bytes of an object, "gzip" or "zstd", as far as these can be decompressed.

    At most about `max_bytes`: some bytes of a repetitive text may stand for thousands of times as many.
    """
    chunks: list[bytes] = []
    stream = _decompress(io.BytesIO(sample), compression)
    # The sample of a longer object ends amid a block; a broken object is reported when it is read.
    with suppress(EOFError, OSError, zlib.error):
        while (chunk := stream.read(_CHUNK_BYTES)) and max_bytes > 0:
            chunks.append(chunk)
            max_bytes -= len(chunk)
    return b"".join(chunks)


class _LineLengthGuard(io.RawIOBase):
    """Passes bytes on and raises InputError if a line is longer than MAX_LINE_BYTES."""

    def __init__(self, stored: IO[bytes], source: str, length: int | None) -> None:
        """`length`: how many bytes to read; None for all."""
        self._stored = stored
        self._source = source
        self._left = sys.maxsize if length is None else length
        self._since = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: any writable buffer
        data = self._stored.read(min(len(buffer), self._left))
        self._left -= len(data)
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
