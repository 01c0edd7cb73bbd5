"""The output of one input object: responses in input order, uploaded completely or not at all."""

from __future__ import annotations

import threading

from local_aws.runner.data.inputs import InputObject
from local_aws.runner.data.s3_objects import ObjectWriter, S3Address
from local_aws.runner.failures import JobFailedError
from local_aws.runner.transform.spool import Spool

NEWLINE = b"\n"


class OutputObject:
    """Takes responses in any order, writes them in input order. All methods may be called from several threads.

    `window` bounds how many requests may be ahead of the oldest unfinished one; each submitted batch holds one place
    of it until its response is written or dropped.
    """

    def __init__(
        self,
        input_object: InputObject,
        target: S3Address,
        writer: ObjectWriter,
        window: threading.Semaphore,
        *,
        newline: str,
    ) -> None:
        """`newline`: "never", "missing" (added to a response without one) or "always"."""
        self.input_object = input_object
        self.target = target
        self.failure: JobFailedError | None = None
        self._writer = writer
        self._window = window
        self._newline = newline
        self._lock = threading.Lock()
        self._waiting: dict[int, Spool] = {}
        self._next_batch = 0
        self._batch_count: int | None = None
        self._settled = False
        self.settled = threading.Event()

    def accept_response(self, batch_number: int, response: Spool) -> bool:
        """Add the response to a batch; True if the object is then complete. Raises S3_ERRORS if writing fails."""
        with self._lock:
            if self.failure is not None:
                self._release(response)
                return False
            self._waiting[batch_number] = response
            while (ready := self._waiting.pop(self._next_batch, None)) is not None:
                self._next_batch += 1
                try:
                    self._write(ready)
                finally:
                    self._release(ready)
            return self._complete()

    def set_batch_count(self, batch_count: int) -> bool:
        """Set the number of submitted batches; True if the object is then complete."""
        with self._lock:
            self._batch_count = batch_count
            return self.failure is None and self._complete()

    def fail(self, failure: JobFailedError) -> bool:
        """The object fails; True for the first failure only."""
        with self._lock:
            if self.failure is not None or self._settled:
                return False
            self.failure = failure
            for spool in self._waiting.values():
                self._release(spool)
            self._waiting.clear()
            return True

    def drop_batch(self) -> None:
        """Give up a submitted batch that gets no response."""
        self._window.release()

    def close(self) -> int:
        """Makes the object appear; returns its bytes."""
        self._writer.close()
        return self._writer.size

    def abort(self) -> None:
        self._writer.abort()

    def _complete(self) -> bool:
        if self._settled or self._batch_count is None or self._next_batch < self._batch_count:
            return False
        self._settled = True
        return True

    def _write(self, response: Spool) -> None:
        last = b""
        for piece in response.iter_chunks():
            self._writer.write(piece)
            last = piece[-1:]
        if self._newline == "always" or (self._newline == "missing" and last != NEWLINE):
            self._writer.write(NEWLINE)

    def _release(self, spool: Spool) -> None:
        spool.close()
        self._window.release()
