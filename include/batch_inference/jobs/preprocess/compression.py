"""Detects compressed objects by their first bytes and decompresses them while they are read."""

from __future__ import annotations

import gzip
import io
import zlib
from contextlib import suppress
from typing import IO, cast

from batch_inference.jobs.common.arrow import require_arrow
from batch_inference.jobs.common.binary_formats import GZIP, ZSTD
from batch_inference.jobs.common.errors import InputError

_MAGIC = {"gzip": GZIP, "zstd": ZSTD}
_SAMPLE_BYTES = 1 << 20


def detect_compression(stored: IO[bytes], uri: str, configured: str) -> str:
    """Detect the compression of an object: "gzip", "zstd" or "". `stored` is left at its beginning.

    Raises:
        InputError: input.compression names a compression that this object does not have.
        ConfigError: it is zstd, which needs pyarrow, and the image has none.
    """
    head = stored.read(4)
    stored.seek(0)
    if configured == "none":
        return ""
    found = next((name for name, magic in _MAGIC.items() if head.startswith(magic)), "")
    if head and configured != "auto" and found != configured:
        raise InputError(
            f"{uri} is not {configured} data; set input.compression to none, or to auto for a mix"
        )
    if found == "zstd":
        require_arrow(f"{uri} is zstd data")
    return found


def decompress(stored: IO[bytes], compression: str) -> IO[bytes]:
    """Stream the decompressed bytes; `compression` as `detect_compression` returned it."""
    if compression == "zstd":
        arrow = require_arrow("the input is zstd data")
        return cast(IO[bytes], arrow.CompressedInputStream(arrow.PythonFile(stored, mode="r"), "zstd"))
    stream = gzip.GzipFile(fileobj=stored)
    stream.myfileobj = stored  # type: ignore[assignment]  # closed with the stream, as a file that it opens itself
    return cast(IO[bytes], stream)


def estimate_expansion_ratio(stored: IO[bytes], compression: str) -> float:
    """Estimate the ratio of decompressed to stored bytes from the beginning of the object."""
    sample = stored.read(_SAMPLE_BYTES)
    text_bytes, stream = 0, decompress(io.BytesIO(sample), compression)
    # The sample of a longer object ends amid a block; a broken object is reported when it is read.
    with suppress(EOFError, OSError, zlib.error):
        while chunk := stream.read(_SAMPLE_BYTES):
            text_bytes += len(chunk)
    return text_bytes / len(sample)
