"""A shard that was transformed in pieces, put together again without the records that the model refused."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Sequence

from include.jobs.answers import open_answers
from include.jobs.blocks import Block, Blocks
from include.jobs.detect import detected
from include.jobs.errors import JoinError
from include.jobs.join_spec import JoinSpec, ShardFiles
from include.jobs.shards import reject_line


@dataclass(frozen=True)
class Part:
    """Some records of a shard, one behind the other.

    Attributes:
        name: for messages.
        records: how many.
        predictions: the answers to them; None when they were refused.
        reason: why they were refused.
        company: how many answers behind theirs are to other records, which were sent along.
    """

    name: str
    records: int
    predictions: Path | None
    reason: str = ""
    company: int = 0


@dataclass(frozen=True)
class MendedFiles:
    """What `mend` writes: records and answers line for line, and the rejects as JSON Lines."""

    records: Path
    predictions: Path
    rejects: Path


def mend(
    records: Path, parts: Sequence[Part], spec: JoinSpec, to: MendedFiles, *, source: str, rule: str
) -> int:
    """Put the parts together, which are all of the shard, in order; returns how many records were refused.

    `source` is what the rejects call the file of the shard's records. Memory is that of one part.

    Raises:
        AssociationError: a part has not as many answers as records.
        JoinError: the parts are not all of the shard.
    """
    refused = line = number = 0
    scratch = to.records.with_name("part.records")
    with ExitStack() as stack:
        file = stack.enter_context(records.open("rb"))
        kept, answers, rejects = (
            stack.enter_context(path.open("wb")) for path in (to.records, to.predictions, to.rejects)
        )
        blocks = Blocks(file, spec.records_delimiter)
        for part in parts:
            block = blocks.take(part.records)
            if block.count < part.records:
                raise JoinError(
                    f"{part.name} should hold {part.records:,} records, and {block.count:,} are left of {source}"
                )
            if part.predictions is None:
                _reject(block, rejects, source, line, number, rule, part.reason)
                refused += part.records
            else:
                kept.write(block.data)
                scratch.write_bytes(block.data + b"\n" * part.company)
                files = ShardFiles(part.name, scratch, part.predictions, ())
                _append(files, part.records, part.company, spec, answers)
            line += block.data.count(b"\n")
            number += part.records
        if blocks.take(1).count:
            raise JoinError(f"{source} holds more than the {number:,} records of its pieces")
    return refused


def _reject(
    block: Block, rejects: IO[bytes], source: str, line: int, number: int, rule: str, reason: str
) -> None:
    for index in range(block.count):
        text = block.record(index).decode("utf-8")
        rejects.write(reject_line(source, line + 1, number + 1 + index, rule, reason, text))
        line += text.count("\n") + 1


def _append(files: ShardFiles, count: int, company: int, spec: JoinSpec, answers: IO[bytes]) -> None:
    """Add a part's answers, once they are as many as its records; the next part's begin on a line of their own.

    Those to its company are counted and left out.
    """
    with files.predictions.open("rb") as file:
        found = open_answers(files, detected(spec, [files]), file)
        own, others = found.take(count), found.take(company)
        if own.count < count or others.count < company or found.take(1).count:
            raise found.mismatch()
        if company:
            answers.write(own.to_bytes())
            return
        file.seek(0)
        shutil.copyfileobj(file, answers)
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                answers.write(b"\n")
