"""Objects to records: Line, RecordIO, TFRecord. Records keep their framing; `strip` takes it off."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

RECORDIO_MAGIC = 0xCED7230A


class BadInputError(Exception):
    """The object is not what SplitType says."""


class TooLargeError(Exception):
    """A record is larger than the payload."""


@dataclass(frozen=True, slots=True)
class Splitter:
    """`split(pieces, limit)` gives framed records in order; TooLargeError beyond `limit` bytes (None: no limit)."""

    split: Callable[[Iterable[bytes], int | None], Iterator[bytes]]
    strip: Callable[[bytes], bytes]


def lines(pieces: Iterable[bytes], limit: int | None) -> Iterator[bytes]:
    """Lines with their newline; the last one as it is."""
    parts: list[bytes] = []
    held = 0
    for piece in pieces:
        begin = 0
        while (end := piece.find(b"\n", begin) + 1) > 0:
            if limit is not None and held + end - begin > limit:
                raise TooLargeError(f"a record is larger than {limit} bytes")
            if parts:
                parts.append(piece[begin:end])
                yield b"".join(parts)
                parts, held = [], 0
            else:
                yield piece[begin:end]
            begin = end
        if begin < len(piece):
            parts.append(piece[begin:])
            held += len(piece) - begin
            if limit is not None and held > limit:
                raise TooLargeError(f"a record is larger than {limit} bytes")
    if parts:
        yield b"".join(parts)


class Window:
    """Reads exact numbers of bytes from pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = bytearray()

    def take(self, count: int) -> bytes:
        """`count` bytes; b"" at the very end; raises BadInputError when the input ends in between."""
        while len(self._held) < count:
            piece = next(self._pieces, None)
            if piece is None:
                if self._held:
                    raise BadInputError(f"the last record ends {count - len(self._held)} bytes early")
                return b""
            self._held += piece
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken


def recordio(pieces: Iterable[bytes], limit: int | None) -> Iterator[bytes]:
    """RecordIO as MXNet writes it: magic, 3 bits of part and 29 bits of length, data, padding to 4 bytes.

    The parts of a record that was cut (because its data holds the magic) belong to one record.
    """
    window = Window(pieces)
    parts: list[bytes] = []
    held = 0
    while head := window.take(8):
        magic, word = struct.unpack("<II", head)
        if magic != RECORDIO_MAGIC:
            raise BadInputError(f"RecordIO magic expected, found 0x{magic:08x}")
        part, length = word >> 29, word & 0x1FFFFFFF
        held += 8 + length + -length % 4
        if limit is not None and held > limit:
            raise TooLargeError(f"a record is larger than {limit} bytes")
        data = window.take(length + -length % 4) if length else b""
        if length and not data:
            raise BadInputError("the last record has no data")
        parts.append(head + data)
        if part in (0, 3):
            yield b"".join(parts)
            parts, held = [], 0
    if parts:
        raise BadInputError("the last record lacks its last part")


def strip_recordio(record: bytes) -> bytes:
    """The data without framing and padding; parts are joined by the magic that stood between them."""
    found, at = [], 0
    while at < len(record):
        length = struct.unpack_from("<I", record, at + 4)[0] & 0x1FFFFFFF
        found.append(record[at + 8 : at + 8 + length])
        at += 8 + length + -length % 4
    return struct.pack("<I", RECORDIO_MAGIC).join(found)


def tfrecord(pieces: Iterable[bytes], limit: int | None) -> Iterator[bytes]:
    """TFRecord: length (8), its checksum (4), data, its checksum (4)."""
    window = Window(pieces)
    while head := window.take(12):
        (length,) = struct.unpack_from("<Q", head)
        if limit is not None and length + 16 > limit:
            raise TooLargeError(f"a record is larger than {limit} bytes")
        rest = window.take(length + 4)
        if not rest:
            raise BadInputError("the last record has no data")
        yield head + rest


def strip_tfrecord(record: bytes) -> bytes:
    return record[12:-4]


def keep(record: bytes) -> bytes:
    return record


def strip_newline(record: bytes) -> bytes:
    return record.removesuffix(b"\n")


def splitter_for(split: str, *, single_keeps_newline: bool) -> Splitter:
    """The splitter of a SplitType other than None."""
    return {
        "Line": Splitter(lines, keep if single_keeps_newline else strip_newline),
        "RecordIO": Splitter(recordio, strip_recordio),
        "TFRecord": Splitter(tfrecord, strip_tfrecord),
    }[split]
