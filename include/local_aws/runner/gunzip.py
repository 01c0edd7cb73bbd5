"""gzip, a piece at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

GZIP = 16 + zlib.MAX_WBITS
OUT_BYTES = 1024 * 1024


def gunzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The decompressed bytes of a gzip stream of one or several members, in pieces of at most 1 MiB.

    Raises zlib.error when it is no gzip and EOFError when it ends early.
    """
    decoder = zlib.decompressobj(GZIP)
    begun = False
    for piece in pieces:
        rest = piece
        while rest:
            if decoder.eof:
                decoder = zlib.decompressobj(GZIP)
            out = decoder.decompress(rest, OUT_BYTES)
            begun = True
            rest = decoder.unconsumed_tail or decoder.unused_data
            if decoder.eof and not rest.strip(b"\0"):
                rest = b""  # padding after the last member, as gzip itself allows
            if out:
                yield out
    if begun and not decoder.eof:
        raise EOFError("the gzip stream ends before its end-of-stream marker")
