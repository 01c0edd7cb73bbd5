"""Merges a shard that was transformed in pieces, without the records that the model refused."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Iterator, Sequence

from batch_inference.jobs.common.blocks import Block, BlockReader
from batch_inference.jobs.common.errors import JoinError
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.detect import resolve_prediction_format
from batch_inference.jobs.join.prediction_reader import open_predictions
from batch_inference.jobs.preprocess.rejects import Reject, RejectSummary, encode_reject


@dataclass(frozen=True)
class TransformedPiece:
    """Consecutive records of a shard that were transformed together.

    Attributes:
        name: used in messages.
        predictions_path: their predictions; None if the model refused them.
        reject_reason: why they were refused.
        extra_prediction_count: predictions after theirs for other records of the same request.
    """

    name: str
    record_count: int
    predictions_path: Path | None
    reject_reason: str = ""
    extra_prediction_count: int = 0


@dataclass(frozen=True)
class MergedFiles:
    """The files that `merge_shard` writes: records and predictions line for line, and rejects as JSON Lines."""

    records_path: Path
    predictions_path: Path
    rejects_path: Path


def merge_shard(
    records_path: Path,
    pieces: Sequence[TransformedPiece],
    spec: JoinSpec,
    output: MergedFiles,
    *,
    source_uri: str,
    rule_name: str,
    summary: RejectSummary,
) -> int:
    """Merge the pieces, which make up the shard, in order; returns the number of rejected records.

    `source_uri` is the `source` of the rejects, which are added to `summary` too. Memory is that of one piece.

    Raises:
        PredictionCountError: a piece does not have one prediction for each record.
        JoinError: the pieces do not make up the shard.
    """
    rejected = line = number = 0
    scratch = output.records_path.with_name("part.records")
    with ExitStack() as stack:
        file = stack.enter_context(records_path.open("rb"))
        records_file, predictions_file, rejects_file = (
            stack.enter_context(path.open("wb"))
            for path in (output.records_path, output.predictions_path, output.rejects_path)
        )
        blocks = BlockReader(file, spec.records_delimiter)
        for part in pieces:
            block = blocks.read_records(part.record_count)
            if block.record_count < part.record_count:
                raise JoinError(
                    f"{part.name} should hold {part.record_count:,} records, and {block.record_count:,} are left "
                    f"of {source_uri}"
                )
            if part.predictions_path is None:
                reject = Reject(rule_name, part.reject_reason, is_response=True)
                for at, index, text in _iter_records(block):
                    where = source_uri, line + at, number + index
                    rejects_file.write(encode_reject(*where, reject, text))
                    summary.add(*where, reject, text)
                rejected += part.record_count
            else:
                records_file.write(block.data)
                scratch.write_bytes(block.data + b"\n" * part.extra_prediction_count)
                files = ShardFiles(part.name, scratch, part.predictions_path, ())
                _append_predictions(files, part, spec, predictions_file)
            line += block.data.count(b"\n")
            number += part.record_count
        if blocks.read_records(1).record_count:
            raise JoinError(f"{source_uri} holds more than the {number:,} records of its pieces")
    return rejected


def _iter_records(block: Block) -> Iterator[tuple[int, int, str]]:
    """The first line of each record and its number, within the block from 1, and its text."""
    line = 1
    for index in range(block.record_count):
        text = block.get_record(index).decode("utf-8")
        yield line, index + 1, text
        line += text.count("\n") + 1


def _append_predictions(
    files: ShardFiles, piece: TransformedPiece, spec: JoinSpec, predictions_file: IO[bytes]
) -> None:
    """Append the predictions of a piece, if they are as many as its records; the file ends with a line feed.

    Its extra predictions are counted and left out.
    """
    count, extra_count = piece.record_count, piece.extra_prediction_count
    with files.predictions_path.open("rb") as file:
        prediction_reader = open_predictions(files, resolve_prediction_format(spec, [files]), file)
        own, others = prediction_reader.next_batch(count), prediction_reader.next_batch(extra_count)
        if (
            own.prediction_count < count
            or others.prediction_count < extra_count
            or prediction_reader.next_batch(1).prediction_count
        ):
            raise prediction_reader.build_count_error()
        if extra_count:
            predictions_file.write(own.to_bytes())
            return
        file.seek(0)
        shutil.copyfileobj(file, predictions_file)
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                predictions_file.write(b"\n")
