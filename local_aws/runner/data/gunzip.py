"""Decompresses gzip streams chunk by chunk."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

GZIP_WBITS = 16 + zlib.MAX_WBITS
MAX_CHUNK_BYTES = 1024 * 1024


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
