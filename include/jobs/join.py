"""The aligned join: the n-th record of a shard beside the n-th prediction for it.

Batch Transform keeps the order within an object, so shards join on their own, in memory for one block.
"""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np

from include.jobs import blocks
from include.jobs.blocks import Block, Blocks
from include.jobs.errors import AssociationError, JoinError, PredictionError
from include.jobs.join_spec import JoinSpec, ShardCount, ShardFiles
from include.jobs.predictions import Predictions, shown
from include.jobs.sinks import SINKS, Sink

__all__ = ["JoinSpec", "ShardCount", "ShardFiles", "count_records", "join_group"]

_WHITE = np.frombuffer(b"\n\r\t ", dtype=np.uint8)


def join_group(shards: Sequence[ShardFiles], output: Path, spec: JoinSpec) -> list[ShardCount]:
    """Join the shards, in their order, into the one file `output`; returns the rows of each.

    Streams: memory is that of a block, whatever the shards' size. `output` appears whole or not at all.

    Raises:
        AssociationError: a shard has not as many predictions as records.
        PredictionError: a prediction is blank, null, NaN or not what the specification says.
        JoinError: a record does not have the columns that it was said to have.
    """
    partial = output.with_name(output.name + ".partial")
    predictions = Predictions(spec)
    sink = SINKS[spec.format](partial, spec)
    try:
        try:
            counts = [ShardCount(shard.name, _join_shard(shard, spec, predictions, sink)) for shard in shards]
        finally:
            sink.close()
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return counts


def count_records(path: Path, delimiter: str = ",") -> int:
    """How many records a CSV (by its suffix; a header counts too) or JSON Lines file holds."""
    return blocks.count_records(path, delimiter if path.suffix == ".csv" else None)


def _join_shard(shard: ShardFiles, spec: JoinSpec, predictions: Predictions, sink: Sink) -> int:
    unknown = [name for name in shard.columns if name not in {column.name for column in spec.columns}]
    if unknown:
        raise JoinError(f"shard {shard.name} has columns that the pipeline does not: {', '.join(unknown)}")
    with shard.records.open("rb") as left, shard.predictions.open("rb") as right:
        answers = _Answers(shard, spec, predictions, Blocks(right, predictions.delimiter))
        rows = 0
        for block in Blocks(left, spec.delimiter):
            found = answers.take(block.count)
            if found.count < block.count:
                raise answers.mismatch()
            texts = predictions.read(shard.name, rows + 1, found)
            sink.add(shard.name, rows + 1, shard.columns, block, texts)
            rows += block.count
        if answers.take(1).count:
            raise answers.mismatch()
    return rows


class _Answers:
    """A shard's answers without the blank lines that some servers put between batches.

    A blank line in the place of a prediction is another matter: it is told apart by counting, once one is met.
    """

    def __init__(self, shard: ShardFiles, spec: JoinSpec, predictions: Predictions, source: Blocks) -> None:
        self._shard = shard
        self._spec = spec
        self._delimiter = predictions.delimiter
        self._source = source
        self._skipping = False

    def take(self, count: int) -> Block:
        """The next `count` answers, or as many as there are."""
        block = self._source.take(count)
        blank = _blank(block)
        if not blank:
            return block
        if not self._skipping:
            self._judge_blanks()
            self._skipping = True
        kept = _without(block, blank)
        if kept.count == count or block.count < count:
            return kept
        more = self.take(count - kept.count)
        return Block(kept.data + more.data, np.concatenate((kept.ends, more.ends + len(kept.data))))

    def mismatch(self) -> AssociationError:
        records, answers, blanks, first_blank = self._count()
        if first_blank:
            difference = f"line {first_blank:,} of the predictions is blank"
        elif answers > records:
            extra = _sample(self._shard.predictions, self._delimiter, records)
            difference = f"prediction {records + 1:,} ({extra}) has no record"
        else:
            left = _sample(self._shard.records, self._spec.delimiter, answers)
            difference = f"record {answers + 1:,} ({left}) has no prediction"
        return AssociationError(self._shard.name, records, answers - blanks, difference)

    def _judge_blanks(self) -> None:
        records, answers, blanks, first_blank = self._count()
        if answers == records:
            raise PredictionError(self._shard.name, first_blank, "its prediction is blank")
        if answers - blanks != records:
            raise self.mismatch()

    def _count(self) -> tuple[int, int, int, int]:
        """Records; lines of answers; how many of these are blank; the number of the first blank one, or 0."""
        answers = blanks = first = 0
        with self._shard.predictions.open("rb") as file:
            for block in Blocks(file, self._delimiter):
                found = _blank(block)
                if found and not first:
                    first = answers + found[0] + 1
                blanks += len(found)
                answers += block.count
        return blocks.count_records(self._shard.records, self._spec.delimiter), answers, blanks, first


def _blank(block: Block) -> list[int]:
    """The places of lines with nothing but white space."""
    if not block.count:
        return []
    starts = np.concatenate(([0], block.ends[:-1]))
    first = np.frombuffer(block.data, dtype=np.uint8)[starts]
    candidates = np.flatnonzero(np.isin(first, _WHITE)).tolist()
    return [index for index in candidates if not block.record(index).strip()]


def _without(block: Block, places: Sequence[int]) -> Block:
    keep = np.ones(block.count, dtype=bool)
    keep[list(places)] = False
    lengths = np.diff(block.ends, prepend=0)[keep]
    data = b"".join([block.record(index) + b"\n" for index in np.flatnonzero(keep).tolist()])
    return Block(data, np.cumsum(lengths))


def _sample(path: Path, delimiter: str | None, index: int) -> str:
    """The record at `index` of a file, for a message."""
    with path.open("rb") as file:
        for block in Blocks(file, delimiter):
            if index < block.count:
                return shown(block.record(index))
            index -= block.count
    return "nothing"
