"""Joins the n-th record of a shard with its n-th prediction.

Batch Transform keeps the order within an object, so each shard is joined on its own, one block in memory at a time.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import tee
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator

from batch_inference.jobs.common import blocks
from batch_inference.jobs.common.blocks import BlockReader
from batch_inference.jobs.common.errors import EchoError, JoinError
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.detect import resolve_prediction_format
from batch_inference.jobs.join.join_function import JoinFunctionRunner
from batch_inference.jobs.join.prediction_reader import PredictionBatch, open_predictions
from batch_inference.jobs.join.record_check import check_records, find_possible_members
from batch_inference.jobs.join.records import RecordBlock
from batch_inference.jobs.join.sinks import SINKS, Sink
from batch_inference.jobs.join.statistics import PredictionStatistics

#: Number of rows by name of the shard.
RowsByShard = Dict[str, int]


def join_shards(
    shards: Iterable[ShardFiles],
    output: Path,
    spec: JoinSpec,
    parser_threads: int = 2,
    statistics: PredictionStatistics | None = None,
) -> RowsByShard:
    """Join the shards, in their order, into the file `output`; returns the number of rows of each.

    Streams: memory is a few blocks, whatever the size of the shards. `output` is written completely or not at all.
    The iterator `shards` is advanced when the shard before is read.
    `parser_threads` threads parse ahead of the one that writes. Predictions are counted in `statistics`, if given.

    Raises:
        PredictionCountError: a shard does not have one prediction for each record.
        EchoError: a prediction echoes another record than its own.
        PredictionError: a prediction is blank, null, NaN or not of the specified type.
        JoinError: a record does not have the specified columns or types.
        FunctionError: the user's function failed, or returned invalid rows.
    """
    peeked, shards = tee(shards)
    spec = resolve_prediction_format(spec, peeked)
    del peeked  # tee would keep all of them
    partial_path = get_partial_path(output)
    function = JoinFunctionRunner(spec, spec.function) if spec.function else None
    sink = SINKS[spec.output_format](partial_path, spec)
    prepare = partial(_prepare_block, spec, sink, function, statistics)
    counts: RowsByShard = {}
    problems: list[str] = []
    try:
        try:
            for prepared, counted in run_in_order(
                _iter_block_tasks(shards, spec, prepare, sink.block_bytes, counts, problems), parser_threads
            ):
                sink.write(prepared)
                if statistics is not None:
                    statistics.merge(counted)
            if problems:
                raise JoinError(f"{problems[0]}. This part was not joined.")
        finally:
            sink.close()
        partial_path.replace(output)
    finally:
        partial_path.unlink(missing_ok=True)
    return counts


def get_partial_path(output: Path) -> Path:
    """Get the path where an output is written until it is complete; the file is only appended to."""
    return output.with_name(output.name + ".partial")


def run_in_order(tasks: Iterable[Callable[[], Any]], threads: int) -> Iterator[Any]:
    """Run the tasks on threads, a few of them ahead, and yield their results in order.

    Reading, parsing and writing overlap, since most of their time is spent without the GIL.
    """
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[Any]] = deque()
        for piece in tasks:
            ahead.append(pool.submit(piece))
            if len(ahead) > threads + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _iter_block_tasks(
    shards: Iterable[ShardFiles],
    spec: JoinSpec,
    prepare: Callable[[RecordBlock, PredictionBatch], Any],
    block_bytes: int,
    counts: RowsByShard,
    problems: list[str],
) -> Iterator[Callable[[], Any]]:
    """Yield one task for each block. Adds to `counts` when a shard is read, and to `problems` what is wrong with all of
    them together."""
    known = {column.name for column in spec.columns}
    # Many writers omit null members, so one shard may lack a member; all shards together must have it.
    may_lack_members = not spec.is_preprocessed and spec.records_format == "jsonlines"
    wanted: set[str] = set()
    found: set[str] = set()
    for shard in shards:
        if unknown := [name for name in shard.columns if name not in known]:
            listed = ", ".join(unknown)
            raise JoinError(f"shard {shard.name} has columns that the pipeline does not have: {listed}")
        with shard.records_path.open("rb") as records_file, shard.predictions_path.open(
            "rb"
        ) as predictions_file:
            prediction_reader = open_predictions(shard, spec, predictions_file)
            rows = 0
            wanted.update(shard.columns if may_lack_members else ())
            for block in BlockReader(
                records_file, spec.records_delimiter, min(block_bytes, blocks.BLOCK_BYTES)
            ):
                predictions = prediction_reader.next_batch(block.record_count)
                if predictions.prediction_count < block.record_count:
                    raise prediction_reader.build_count_error()
                found |= find_possible_members(block.data, wanted - found)
                records = RecordBlock(spec, shard.name, rows + 1, tuple(shard.columns), block)
                yield partial(prepare, records, predictions)
                rows += block.record_count
            if prediction_reader.next_batch(1).prediction_count:
                raise prediction_reader.build_count_error()
        counts[shard.name] = rows
    absent = sorted(wanted - found)
    if absent and any(counts.values()):
        names = list(counts)
        shards_read = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        problems.append(
            f"shard {shards_read}: no record has {', '.join(absent)}; correct input.columns, or add a preprocess "
            f"section, in which columns may be optional"
        )


def _prepare_block(
    spec: JoinSpec,
    sink: Sink,
    function: JoinFunctionRunner | None,
    statistics: PredictionStatistics | None,
    records: RecordBlock,
    predictions: PredictionBatch,
) -> tuple[Any, Any]:
    """Prepare what the sink writes for a block, and the statistics of the block if requested."""
    if not spec.is_preprocessed:
        check_records(records)
    if any(field.is_echo for field in spec.prediction_fields):
        _check_echoes(spec, records, predictions)
    cells = None if function is None else function(records, predictions)
    prepared = sink.prepare(records, predictions) if cells is None else sink.prepare_cells(cells)
    return prepared, None if statistics is None else statistics.compute_block_statistics(records, predictions)


def _check_echoes(spec: JoinSpec, records: RecordBlock, predictions: PredictionBatch) -> None:
    """Compare the columns that the model echoes with the records."""
    cells = records.read_cells()
    for field, echoed in zip(spec.prediction_fields, predictions.read_texts()):
        if field.is_echo:
            sent = cells[field.column.name]
            for index, (ours, theirs) in enumerate(zip(sent, echoed)):
                if (ours or "") != theirs:
                    record = records.first_record + index
                    raise EchoError(records.shard, record, field.column.name, ours or "", theirs)
