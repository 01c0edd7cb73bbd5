"""Splits objects into records: Line, RecordIO, TFRecord. Records keep their framing; `strip` removes it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

RECORDIO_MAGIC = 0xCED7230A


class MalformedObjectError(Exception):
    """The object is not what SplitType says."""


class RecordTooLargeError(Exception):
    """A record is larger than the payload."""


@dataclass(frozen=True, slots=True)
class Splitter:
    """`split(chunks, max_bytes)` gives framed records; RecordTooLargeError beyond `max_bytes` (None: no limit)."""

    split: Callable[[Iterable[bytes], int | None], Iterator[bytes]]
    strip: Callable[[bytes], bytes]


def split_lines(chunks: Iterable[bytes], max_bytes: int | None) -> Iterator[bytes]:
    """Lines with their newline; the last one as it is."""
    parts: list[bytes] = []
    held = 0
    for piece in chunks:
        begin = 0
        while (end := piece.find(b"\n", begin) + 1) > 0:
            if max_bytes is not None and held + end - begin > max_bytes:
                raise RecordTooLargeError(f"a record is larger than {max_bytes} bytes")
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
            if max_bytes is not None and held > max_bytes:
                raise RecordTooLargeError(f"a record is larger than {max_bytes} bytes")
    if parts:
        yield b"".join(parts)


class ByteReader:
    """Reads exact numbers of bytes from pieces."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._pieces = iter(chunks)
        self._buffer = bytearray()

    def read_exactly(self, count: int) -> bytes:
        """`count` bytes; b"" at the very end; raises MalformedObjectError when the input ends in between."""
        while len(self._buffer) < count:
            piece = next(self._pieces, None)
            if piece is None:
                if self._buffer:
                    raise MalformedObjectError(
                        f"the last record ends {count - len(self._buffer)} bytes early"
                    )
                return b""
            self._buffer += piece
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def split_recordio(chunks: Iterable[bytes], max_bytes: int | None) -> Iterator[bytes]:
    """RecordIO as MXNet writes it: magic, 3 bits of part and 29 bits of length, data, padding to 4 bytes.

    The parts of a record that was cut (because its data holds the magic) belong to one record.
    """
    window = ByteReader(chunks)
    parts: list[bytes] = []
    held = 0
    while head := window.read_exactly(8):
        magic, word = struct.unpack("<II", head)
        if magic != RECORDIO_MAGIC:
            raise MalformedObjectError(f"RecordIO magic expected, found 0x{magic:08x}")
        part, length = word >> 29, word & 0x1FFFFFFF
        held += 8 + length + -length % 4
        if max_bytes is not None and held > max_bytes:
            raise RecordTooLargeError(f"a record is larger than {max_bytes} bytes")
        data = window.read_exactly(length + -length % 4) if length else b""
        if length and not data:
            raise MalformedObjectError("the last record has no data")
        parts.append(head + data)
        if part in (0, 3):
            yield b"".join(parts)
            parts, held = [], 0
    if parts:
        raise MalformedObjectError("the last record lacks its last part")


def strip_recordio(record: bytes) -> bytes:
    """The data without framing and padding; parts are joined by the magic that stood between them."""
    found, at = [], 0
    while at < len(record):
        length = struct.unpack_from("<I", record, at + 4)[0] & 0x1FFFFFFF
        found.append(record[at + 8 : at + 8 + length])
        at += 8 + length + -length % 4
    return struct.pack("<I", RECORDIO_MAGIC).join(found)


def split_tfrecord(chunks: Iterable[bytes], max_bytes: int | None) -> Iterator[bytes]:
    """TFRecord: length (8), its checksum (4), data, its checksum (4)."""
    window = ByteReader(chunks)
    while head := window.read_exactly(12):
        (length,) = struct.unpack_from("<Q", head)
        if max_bytes is not None and length + 16 > max_bytes:
            raise RecordTooLargeError(f"a record is larger than {max_bytes} bytes")
        rest = window.read_exactly(length + 4)
        if not rest:
            raise MalformedObjectError("the last record has no data")
        yield head + rest


def strip_tfrecord(record: bytes) -> bytes:
    return record[12:-4]


def keep_framing(record: bytes) -> bytes:
    return record


def strip_newline(record: bytes) -> bytes:
    return record.removesuffix(b"\n")


def get_splitter(split_type: str, single_keeps_newline: bool) -> Splitter:
    """The splitter of a SplitType other than None."""
    return {
        "Line": Splitter(split_lines, keep_framing if single_keeps_newline else strip_newline),
        "RecordIO": Splitter(split_recordio, strip_recordio),
        "TFRecord": Splitter(split_tfrecord, strip_tfrecord),
    }[split_type]
