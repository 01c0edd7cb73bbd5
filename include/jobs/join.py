"""The aligned join: the n-th record of a shard beside the n-th prediction for it.

Batch Transform keeps the order within an object, so shards join on their own, in memory for one block.
"""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from include.jobs import blocks
from include.jobs.answers import open_answers
from include.jobs.blocks import Blocks
from include.jobs.detect import detected
from include.jobs.errors import EchoError, JoinError
from include.jobs.join_spec import JoinSpec, ShardCount, ShardFiles
from include.jobs.records import Records
from include.jobs.sink import Sink
from include.jobs.sinks import SINKS

__all__ = ["JoinSpec", "ShardCount", "ShardFiles", "count_records", "join_group"]


def join_group(shards: Sequence[ShardFiles], output: Path, spec: JoinSpec) -> list[ShardCount]:
    """Join the shards, in their order, into the one file `output`; returns the rows of each.

    Streams: memory is that of a block, whatever the shards' size. `output` appears whole or not at all.

    Raises:
        AssociationError: a shard has not as many predictions as records.
        EchoError: a prediction echoes another record than its own.
        PredictionError: a prediction is blank, null, NaN or not what the specification says.
        JoinError: a record does not have the columns that it was said to have.
    """
    spec = detected(spec, shards)
    partial = output.with_name(output.name + ".partial")
    sink = SINKS[spec.format](partial, spec)
    try:
        try:
            counts = [ShardCount(shard.name, _join_shard(shard, spec, sink)) for shard in shards]
        finally:
            sink.close()
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return counts


def count_records(path: Path, delimiter: str = ",") -> int:
    """How many records a CSV (by its suffix; a header counts too) or JSON Lines file holds."""
    return blocks.count_records(path, delimiter if path.suffix == ".csv" else None)


def _join_shard(shard: ShardFiles, spec: JoinSpec, sink: Sink) -> int:
    unknown = [name for name in shard.columns if name not in {column.name for column in spec.columns}]
    if unknown:
        raise JoinError(f"shard {shard.name} has columns that the pipeline does not: {', '.join(unknown)}")
    with shard.records.open("rb") as left, shard.predictions.open("rb") as right:
        answers = open_answers(shard, spec, right)
        rows = 0
        for block in Blocks(left, spec.records_delimiter):
            taken = answers.take(block.count)
            if taken.count < block.count:
                raise answers.mismatch()
            records = Records(spec, shard.name, rows + 1, tuple(shard.columns), block)
            texts = taken.read(rows + 1)
            _check_echo(spec, records, texts)
            sink.add(records, texts[: len(spec.columns_of_answers)])
            rows += block.count
        if answers.take(1).count:
            raise answers.mismatch()
    return rows


def _check_echo(spec: JoinSpec, records: Records, texts: Sequence[Sequence[str]]) -> None:
    """Compare what the model echoes of each record with the record itself."""
    echoes = [(field, column) for field, column in zip(spec.fields, texts) if field.echoes]
    if not echoes:
        return
    cells = records.cells()
    for field, answered in echoes:
        sent = cells[field.column.name]
        for index, (ours, theirs) in enumerate(zip(sent, answered)):
            if (ours or "") != theirs:
                raise EchoError(records.shard, records.first + index, field.column.name, ours or "", theirs)
