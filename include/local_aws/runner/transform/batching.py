"""Records to request bodies: one a request, or as many as the payload holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from include.local_aws.runner.transform.splitting import TooLargeError
from include.local_aws.runner.transform.spool import Body, Spool


@dataclass(slots=True)
class Batch:
    """One request: its body, how many records it holds and, when they are wanted later, the records as they came."""

    body: Body
    records: int
    originals: list[bytes] | None = None
    spool: Spool | None = None

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()


def _batch(spool: Spool, limit: int | None, records: int, originals: list[bytes] | None = None) -> Batch:
    return Batch(Body(None if limit is None else spool.size, spool.pieces), records, originals, spool)


@dataclass(frozen=True, slots=True)
class Batcher:
    """`limit` None is no limit, and bodies are sent in chunks. `shape` makes what is sent from a record."""

    folder: Path
    limit: int | None
    single: bool
    shape: Callable[[bytes], bytes]
    keep_originals: bool

    def batches(self, records: Iterable[bytes]) -> Iterator[Batch]:
        """Raises TooLargeError when one record alone does not fit."""
        spool, held = Spool(self.folder), list[bytes]()
        count = 0
        for record in records:
            sent = self.shape(record)
            if self.limit is not None and len(sent) > self.limit:
                raise TooLargeError(
                    f"a record of {len(sent)} bytes is larger than the payload of {self.limit} bytes"
                )
            if count and (self.single or (self.limit is not None and spool.size + len(sent) > self.limit)):
                yield _batch(spool, self.limit, count, held if self.keep_originals else None)
                spool, held, count = Spool(self.folder), [], 0
            spool.write(sent)
            count += 1
            if self.keep_originals:
                held.append(record)
        if count:
            yield _batch(spool, self.limit, count, held if self.keep_originals else None)


def line_batches(folder: Path, limit: int | None, pieces: Iterable[bytes]) -> Iterator[Batch]:
    """What `Batcher` makes of lines sent as they are, as many as fit, without looking at each one.

    Raises TooLargeError when one line alone does not fit.
    """
    spool, count = Spool(folder), 0
    for lines in _whole_lines(pieces, limit):
        at = 0
        while at < len(lines):
            room = len(lines) if limit is None else limit - spool.size
            # The last line of an object may end without a newline; it is then all that `lines` holds.
            end = len(lines) if len(lines) - at <= room else lines.rfind(b"\n", at, at + room) + 1
            if end <= at:
                if not count:
                    raise TooLargeError(f"a record is larger than the payload of {limit} bytes")
                yield _batch(spool, limit, count)
                spool, count = Spool(folder), 0
                continue
            part = lines[at:end]
            spool.write(part)
            count += part.count(b"\n") + (not part.endswith(b"\n"))
            at = end
    if count:
        yield _batch(spool, limit, count)


def _whole_lines(pieces: Iterable[bytes], limit: int | None) -> Iterator[bytes]:
    """The same bytes, cut only after newlines; raises TooLargeError rather than hold more than `limit`."""
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
            raise TooLargeError(f"a record is larger than the payload of {limit} bytes")
    if held:
        yield b"".join(tail)
