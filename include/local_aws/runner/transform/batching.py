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
        current: Batch | None = None
        for record in records:
            sent = self.shape(record)
            if self.limit is not None and len(sent) > self.limit:
                raise TooLargeError(
                    f"a record of {len(sent)} bytes is larger than the payload of {self.limit} bytes"
                )
            if current is not None and (self.single or not self._fits(current, sent)):
                yield current
                current = None
            if current is None:
                current = self._new()
            self._add(current, record, sent)
        if current is not None:
            yield current

    def _new(self) -> Batch:
        spool = Spool(self.folder)
        chunked = self.limit is None
        return Batch(
            Body(None if chunked else 0, spool.pieces), 0, [] if self.keep_originals else None, spool
        )

    def _fits(self, batch: Batch, sent: bytes) -> bool:
        return self.limit is None or batch.spool is None or batch.spool.size + len(sent) <= self.limit

    def _add(self, batch: Batch, record: bytes, sent: bytes) -> None:
        if batch.spool is None:
            return
        batch.spool.write(sent)
        batch.records += 1
        if batch.originals is not None:
            batch.originals.append(record)
        batch.body = Body(None if self.limit is None else batch.spool.size, batch.spool.pieces)
