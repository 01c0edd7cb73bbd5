"""Writes shards of equal size: records, features and rejects, line for line."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import IO, Any, Mapping

import numpy as np

from batch_inference.jobs.preprocess.objects import RECORD_BITS
from batch_inference.jobs.preprocess.readers.batch import Batch
from batch_inference.jobs.preprocess.record_validator import ValidationResult
from batch_inference.jobs.preprocess.rejects import Reject, RejectSummary, encode_reject


class ShardWriter:
    """Writes the shards of one host or process, cut at equal distances of its input.

    Cutting by the bytes read, not by the bytes written, needs no second pass: shards are equal if rejects are spread
    evenly.
    """

    def __init__(
        self,
        output: Path,
        shard_prefix: str,
        total_bytes: int,
        shard_bytes: int,
        records_suffix: str,
        rejects: RejectSummary,
    ) -> None:
        """`total_bytes`: bytes of text of all its input; `records_suffix`: file suffix of the records.

        `rejects` gets all rejects.
        """
        self._reject_summary = rejects
        self._suffix = records_suffix
        self._output = output
        self._host = shard_prefix
        count = max(1, round(total_bytes / shard_bytes))
        self._cuts = [total_bytes * number / count for number in range(1, count)]
        self._cuts.reverse()  # the next cut is the last item
        self._number = 0
        self._open: dict[str, IO[bytes]] = {}
        self._columns: tuple[str, ...] = ()
        self._records = self._rejects = 0
        self.shards: list[dict[str, Any]] = []
        for folder in ("records", "features", "rejects"):
            (output / folder).mkdir(parents=True, exist_ok=True)

    def add(
        self,
        uris: Mapping[int, str],
        columns: tuple[str, ...],
        batch: Batch,
        validation: ValidationResult,
        bytes_read: np.ndarray,
    ) -> None:
        """Write one batch; `bytes_read` has the bytes of input read after each of its records.

        `uris`: of the objects, by rank.
        """
        if self._records and columns != self._columns:
            self._close()
        self._columns = columns
        start = 0
        kept = np.concatenate(([0], np.cumsum(validation.passed)))
        rejects = deque(validation.rejects.items())
        line_ends = np.concatenate(([0], validation.feature_ends))
        while start < len(batch):
            end = len(batch)
            if self._cuts:
                end = min(end, max(start, int(np.searchsorted(bytes_read, self._cuts[-1]))) + 1)
            if kept[end] > kept[start]:
                texts = batch.join_texts(start, validation.passed[start:end])
                features = validation.features[line_ends[kept[start]] : line_ends[kept[end]]]
                self._write_kept(texts, features, int(kept[end] - kept[start]))
            while rejects and rejects[0][0] < end:
                self._write_reject(uris, batch, *rejects.popleft())
            start = end
            while self._cuts and self._cuts[-1] <= bytes_read[end - 1]:
                self._cuts.pop()
                self._close()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._close()
        for file in self._open.values():  # rejects may follow the last record that passed
            file.close()
        self._open.clear()

    @property
    def _name(self) -> str:
        return f"{self._host}-{self._number:05d}"

    def _file(self, kind: str, suffix: str) -> IO[bytes]:
        if kind not in self._open:
            self._open[kind] = (self._output / kind / f"{self._name}.{suffix}").open("wb")
        return self._open[kind]

    def _write_kept(self, texts: bytes, features: bytes, count: int) -> None:
        self._file("features", "csv").write(features)
        self._file("records", self._suffix).write(texts)
        self._records += count

    def _write_reject(self, uris: Mapping[int, str], batch: Batch, index: int, reject: Reject) -> None:
        rank, record = divmod(int(batch.ordinals[index]), 1 << RECORD_BITS)
        line, text = int(batch.line_numbers[index]), batch.get_original_text(index)
        self._file("rejects", "jsonl").write(encode_reject(uris[rank], line, record, reject, text))
        self._reject_summary.add(uris[rank], line, record, reject, text)
        self._rejects += 1

    def _close(self) -> None:
        """Close the current shard; one without records stays open, so that no shard is empty."""
        if not self._records:
            return
        sizes = {kind: self._open[kind].tell() for kind in ("records", "features")}
        for file in self._open.values():
            file.close()
        self.shards.append(
            {
                "name": self._name,
                "columns": list(self._columns),
                "records": self._records,
                "bytes": sizes["records"],
                "features_bytes": sizes["features"],
                "records_key": f"records/{self._name}.{self._suffix}",
                "features_key": f"features/{self._name}.csv",
                "rejects": self._rejects,
            }
        )
        self._open.clear()
        self._number += 1
        self._records = self._rejects = 0
