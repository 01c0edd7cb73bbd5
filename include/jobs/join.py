"""The aligned join: the n-th record of a shard beside the n-th prediction for it.

Batch Transform keeps the order within an object, so shards join on their own, in memory for one block.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import tee
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

from include.jobs import blocks
from include.jobs.answers import Taken, open_answers
from include.jobs.blocks import Blocks
from include.jobs.detect import detected
from include.jobs.errors import EchoError, JoinError
from include.jobs.hook import Hook
from include.jobs.join_spec import JoinSpec, ShardCount, ShardFiles
from include.jobs.prediction_statistics import Statistics
from include.jobs.records import Records
from include.jobs.sink import Sink
from include.jobs.sinks import SINKS
from include.jobs.unchecked import check_records, named_in

__all__ = ["JoinSpec", "ShardCount", "ShardFiles", "count_records", "join_group"]


def join_group(
    shards: Iterable[ShardFiles],
    output: Path,
    spec: JoinSpec,
    threads: int = 2,
    statistics: Statistics | None = None,
) -> list[ShardCount]:
    """Join the shards, in their order, into the one file `output`; returns the rows of each.

    Streams: memory is that of a few blocks, whatever the shards' size. `output` appears whole or not at all.
    Of `shards` the next one is asked for when the one before it is read.
    `threads` parse ahead of the one that writes. The answers are counted in `statistics`, where it is given.

    Raises:
        AssociationError: a shard has not as many predictions as records.
        EchoError: a prediction echoes another record than its own.
        PredictionError: a prediction is blank, null, NaN or not what the specification says.
        JoinError: a record does not have the columns, or a number, that it was said to have.
        FunctionError: the user's own function failed, or gave what it must not give.
    """
    looked_at, shards = tee(shards)
    spec = detected(spec, looked_at)
    del looked_at  # it would keep them all
    written = unfinished(output)
    hook = Hook(spec, spec.function) if spec.function else None
    sink = SINKS[spec.format](written, spec)
    prepare = partial(_prepare, spec, sink, hook, statistics)
    counts: list[ShardCount] = []
    problems: list[str] = []
    try:
        try:
            for prepared, counted in in_order(
                _work(shards, spec, prepare, sink.block_bytes, counts, problems), threads
            ):
                sink.write(prepared)
                if statistics is not None:
                    statistics.add(counted)
            if problems:
                raise JoinError(f"{problems[0]}. Nothing of this group was joined.")
        finally:
            sink.close()
        written.replace(output)
    finally:
        written.unlink(missing_ok=True)
    return counts


def unfinished(output: Path) -> Path:
    """Where an output is written until it is whole; only ever appended to."""
    return output.with_name(output.name + ".partial")


def in_order(work: Iterable[Callable[[], Any]], threads: int) -> Iterator[Any]:
    """What each piece of work gives, in order, a few of them being worked on ahead.

    Reading, parsing and writing then overlap: what takes the time in each of them holds no lock of Python's.
    """
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[Any]] = deque()
        for piece in work:
            ahead.append(pool.submit(piece))
            if len(ahead) > threads + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def count_records(path: Path, delimiter: str) -> int:
    """How many records a CSV (by its suffix; a header counts too) or JSON Lines file holds; `delimiter` is CSV's."""
    return blocks.count_records(path, delimiter if path.suffix == ".csv" else None)


def _work(
    shards: Iterable[ShardFiles],
    spec: JoinSpec,
    prepare: Callable[[Records, Taken], Any],
    block_bytes: int,
    counts: list[ShardCount],
    problems: list[str],
) -> Iterator[Callable[[], Any]]:
    """One piece of work for each block; `counts` gets each shard once all of it is given out, `problems` what is wrong
    with all of them together."""
    known = {column.name for column in spec.columns}
    # Many writers leave out a member that is null, so one shard may well be without it; all of them are not.
    may_lack = not spec.checked and spec.records_format == "jsonlines"
    wanted: set[str] = set()
    found: set[str] = set()
    for shard in shards:
        unknown = [name for name in shard.columns if name not in known]
        if unknown:
            raise JoinError(
                f"shard {shard.name} has columns that the pipeline does not: {', '.join(unknown)}"
            )
        with shard.records.open("rb") as left, shard.predictions.open("rb") as right:
            answers = open_answers(shard, spec, right)
            rows = 0
            wanted.update(shard.columns if may_lack else ())
            for block in Blocks(left, spec.records_delimiter, min(block_bytes, blocks.BLOCK_BYTES)):
                taken = answers.take(block.count)
                if taken.count < block.count:
                    raise answers.mismatch()
                found |= named_in(block.data, wanted - found)
                records = Records(spec, shard.name, rows + 1, tuple(shard.columns), block)
                yield partial(prepare, records, taken)
                rows += block.count
            if answers.take(1).count:
                raise answers.mismatch()
        counts.append(ShardCount(shard.name, rows))
    absent = sorted(wanted - found)
    if absent and any(count.rows for count in counts):
        shards_read = " to ".join(dict.fromkeys((counts[0].shard, counts[-1].shard)))
        problems.append(
            f"shard {shards_read}: no record has {', '.join(absent)}; correct input.columns, or add a preprocess "
            f"section, in which columns may be optional"
        )


def _prepare(
    spec: JoinSpec,
    sink: Sink,
    hook: Hook | None,
    statistics: Statistics | None,
    records: Records,
    taken: Taken,
) -> tuple[Any, Any]:
    """What the sink is to write of a block, and the block's statistics where they are wanted."""
    if not spec.checked:
        check_records(records)
    if any(field.echoes for field in spec.fields):
        _check_echoes(spec, records, taken)
    prepared = sink.prepare(records, taken) if hook is None else sink.prepare_cells(hook(records, taken))
    return prepared, None if statistics is None else statistics.of(records, taken)


def _check_echoes(spec: JoinSpec, records: Records, taken: Taken) -> None:
    """Compare what the model echoes of each record with the record itself."""
    cells = records.cells()
    for field, answered in zip(spec.fields, taken.texts()):
        if field.echoes:
            sent = cells[field.column.name]
            for index, (ours, theirs) in enumerate(zip(sent, answered)):
                if (ours or "") != theirs:
                    raise EchoError(
                        records.shard, records.first + index, field.column.name, ours or "", theirs
                    )
