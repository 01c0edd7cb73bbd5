"""Groups records into request bodies: one per request, or as many as the payload limit allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from local_aws.runner.transform.splitting import RecordTooLargeError
from local_aws.runner.transform.spool import RequestBody, Spool


@dataclass(slots=True)
class Batch:
    """One request: its body, how many records it holds and, when they are wanted later, the records as they came."""

    body: RequestBody
    record_count: int
    original_records: list[bytes] | None = None
    spool: Spool | None = None

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()


def _batch(spool: Spool, limit: int | None, records: int, originals: list[bytes] | None = None) -> Batch:
    length = None if limit is None else spool.size
    return Batch(RequestBody(length, spool.iter_chunks), records, originals, spool)


@dataclass(frozen=True, slots=True)
class Batcher:
    """`max_bytes` None means no limit: bodies are sent chunked. `prepare_record` gives what is sent for a record."""

    folder: Path
    max_bytes: int | None
    single_record: bool
    prepare_record: Callable[[bytes], bytes]
    keep_originals: bool

    def iter_batches(self, records: Iterable[bytes]) -> Iterator[Batch]:
        """Raises RecordTooLargeError when one record alone does not fit."""
        spool, originals = Spool(self.folder), list[bytes]()
        record_count = 0
        for record in records:
            prepared = self.prepare_record(record)
            if self.max_bytes is not None and len(prepared) > self.max_bytes:
                raise RecordTooLargeError(
                    f"a record of {len(prepared)} bytes is larger than the payload of {self.max_bytes} bytes"
                )
            if record_count and (
                self.single_record
                or (self.max_bytes is not None and spool.size + len(prepared) > self.max_bytes)
            ):
                yield _batch(spool, self.max_bytes, record_count, originals if self.keep_originals else None)
                spool, originals, record_count = Spool(self.folder), [], 0
            spool.write(prepared)
            record_count += 1
            if self.keep_originals:
                originals.append(record)
        if record_count:
            yield _batch(spool, self.max_bytes, record_count, originals if self.keep_originals else None)


def batch_lines(folder: Path, max_bytes: int | None, chunks: Iterable[bytes]) -> Iterator[Batch]:
    """What `Batcher` makes of lines sent as they are, as many as fit, without looking at each one.

    Raises RecordTooLargeError when one line alone does not fit.
    """
    spool, count = Spool(folder), 0
    for lines in _whole_lines(chunks, max_bytes):
        at = 0
        while at < len(lines):
            room = len(lines) if max_bytes is None else max_bytes - spool.size
            # The last line of an object may end without a newline; it is then all that `lines` holds.
            end = len(lines) if len(lines) - at <= room else lines.rfind(b"\n", at, at + room) + 1
            if end <= at:
                if not count:
                    raise RecordTooLargeError(f"a record is larger than the payload of {max_bytes} bytes")
                yield _batch(spool, max_bytes, count)
                spool, count = Spool(folder), 0
                continue
            part = lines[at:end]
            spool.write(part)
            count += part.count(b"\n") + (not part.endswith(b"\n"))
            at = end
    if count:
        yield _batch(spool, max_bytes, count)


def _whole_lines(pieces: Iterable[bytes], limit: int | None) -> Iterator[bytes]:
    """The same bytes, cut only after newlines; raises RecordTooLargeError rather than hold more than `limit`."""
    tail: list[bytes] = []
    held = 0
    for piece in pieces:
        cut = piece.rfind(b"\n") + 1
        if cut:
            yield b"".join([*tail, piece[:cut]])
            tail, held = [], 0
        tail.append(piece[cut:])
        held += len(piece) - cut
        if limit is not None and held > limit:
            raise RecordTooLargeError(f"a record is larger than the payload of {limit} bytes")
    if held:
        yield b"".join(tail)
