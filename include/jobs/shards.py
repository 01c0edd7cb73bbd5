"""Equal shards: records, features and rejects, line for line."""

from __future__ import annotations

import csv
import io
import json
from itertools import compress
from pathlib import Path
from typing import IO, Any, Sequence

import numpy as np

from include.jobs.batch import Batch
from include.jobs.judge import Verdict

_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


class ShardWriter:
    """Writes the shards of one host, cut at equal distances of the host's own input.

    Cutting by what was read, and not by what was written, needs no second pass: the shards come out equal as
    far as rejects are spread evenly.
    """

    def __init__(self, output: Path, host: str, total: int, shard_bytes: int, suffix: str) -> None:
        """`total`: bytes of text that this host will read; `suffix`: of the records files."""
        self._suffix = suffix
        self._output = output
        self._host = host
        count = max(1, round(total / shard_bytes))
        self._cuts = [total * number / count for number in range(1, count)]
        self._cuts.reverse()  # the next one is last
        self._number = 0
        self._open: dict[str, IO[bytes]] = {}
        self._columns: tuple[str, ...] = ()
        self._records = self._rejects = 0
        self.shards: list[dict[str, Any]] = []
        self.rejects_files: list[str] = []
        for folder in ("records", "features", "rejects"):
            (output / folder).mkdir(parents=True, exist_ok=True)

    def add(
        self, source: str, columns: tuple[str, ...], batch: Batch, verdict: Verdict, positions: np.ndarray
    ) -> None:
        """Write one batch; `positions`: how much of the host's input is read after each of its records."""
        if self._records and columns != self._columns:
            self._close()
        self._columns = columns
        start = 0
        kept = np.concatenate(([0], np.cumsum(verdict.keep)))
        at = 0  # rejects written
        while start < len(batch.texts):
            while self._cuts and start and self._cuts[-1] <= positions[start - 1]:
                self._cuts.pop()
                self._close()
            end = len(batch.texts)
            if self._cuts:
                end = min(end, max(start, int(np.searchsorted(positions, self._cuts[-1]))) + 1)
            self._write_kept(
                compress(batch.texts[start:end], verdict.keep[start:end].tolist()),
                verdict.features[kept[start] : kept[end]],
            )
            while at < len(verdict.rejects) and verdict.rejects[at].index < end:
                self._write_reject(source, batch, verdict, at)
                at += 1
            start = end
        while self._cuts and start and self._cuts[-1] <= positions[start - 1]:
            self._cuts.pop()
            self._close()

    def finish(self) -> None:
        self._close()
        for file in self._open.values():  # rejects after the last record that passed
            file.close()
        self._open.clear()

    @property
    def _name(self) -> str:
        return f"{self._host}-{self._number:05d}"

    def _file(self, kind: str, suffix: str) -> IO[bytes]:
        if kind not in self._open:
            key = f"{kind}/{self._name}.{suffix}"
            self._open[kind] = (self._output / key).open("wb")
            if kind == "rejects":
                self.rejects_files.append(key)
        return self._open[kind]

    def _write_kept(self, texts: Any, features: Sequence[tuple[str, ...]]) -> None:
        if not features:
            return
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows(features)
        self._file("features", "csv").write(lines.getvalue().encode("utf-8"))
        self._file("records", self._suffix).write("".join(texts).encode("utf-8"))
        self._records += len(features)

    def _write_reject(self, source: str, batch: Batch, verdict: Verdict, at: int) -> None:
        reject = verdict.rejects[at]
        line = reject_line(
            source,
            batch.lines[reject.index],
            batch.first + reject.index,
            reject.rule,
            reject.reason,
            batch.original(reject.index)[:-1],
        )
        self._file("rejects", "jsonl").write(line)
        self._rejects += 1

    def _close(self) -> None:
        """End the shard that is being written; one without records goes on, so that no shard is empty."""
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


def reject_line(source: str, line: int, record: int, rule: str, reason: str, text: str) -> bytes:
    """One line of `rejects/`."""
    said = {
        "source": source,
        "line": line,
        "record": record,
        "rule": rule,
        "reason": _readable(reason),
        "text": _readable(text),
    }
    return _ENCODE(said).encode("utf-8") + b"\n"


def _readable(text: str) -> str:
    """The text with bytes that are not of its encoding spelled out (\\udcff): JSON has no place for them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
