"""A shard's answers, in whatever shape the model gave them, to be taken as many at a time as there are records."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import IO, Any, Sequence

import numpy as np

from include.jobs.blocks import BLOCK_BYTES, Block, Blocks, count_records
from include.jobs.documents import PREDICTIONS, NotJsonError, answers
from include.jobs.errors import AssociationError, JoinError, PredictionError
from include.jobs.foreign import check_is_text
from include.jobs.join_spec import JoinSpec, ShardFiles
from include.jobs.members import json_text, shown
from include.jobs.numeric import parse_column
from include.jobs.predictions import CsvLines, JsonLines, pick

# Read at a time: about what goes with a small block of records, so that little is cut off and kept.
READ_BYTES = 512 << 10
_WHITE = np.frombuffer(b"\n\r\t ", dtype=np.uint8)


class Taken:
    """Some answers, to be read on any thread; `first` numbers the record of the first of them, from 1."""

    def __init__(self, shard: str, spec: JoinSpec, first: int, count: int) -> None:
        self.shard = shard
        self.spec = spec
        self.first = first
        self.count = count

    def texts(self) -> list[list[str]]:
        """For each field its texts, numbers as they were written; raises PredictionError."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """These answers as a file of their own, in the format that they came in."""
        raise NotImplementedError

    def plain(self) -> list[list[bytes]] | None:
        """For each field its floats as written, where answers are that simple; not yet known to be finite."""
        return None

    def numbers(self, arrow: Any) -> Block | None:  # noqa: ARG002 - for those that can
        """The answers as they are, where each line is one finite number and nothing else is wanted; else None."""
        return None

    def arrays(self, arrow: Any) -> list[Any] | None:  # noqa: ARG002 - for those that can
        """The answers' columns as Arrow reads them, or None where `texts` must be read."""
        return None

    def values(self) -> list[Any]:
        """For each field, echoes aside, its answers: float64 with NaN for null, or texts; read only once, if that."""
        columns = [texts for field, texts in zip(self.spec.fields, self.texts()) if not field.echoes]
        return [
            parse_column(texts, column.type)[0] if column.type in ("integer", "float") else texts
            for column, texts in zip(self.spec.columns_of_answers, columns)
        ]


class TakenLines(Taken):
    def __init__(
        self, shard: str, spec: JoinSpec, first: int, block: Block, reader: JsonLines | CsvLines
    ) -> None:
        super().__init__(shard, spec, first, block.count)
        self._block = block
        self._reader = reader
        # What was read once is not read again, by whomever it is asked for.
        self._texts: list[list[str]] | None = None
        self._plain: list[list[bytes]] | None = None
        self._arrays: list[Any] | None = None

    def texts(self) -> list[list[str]]:
        if self._texts is None:
            self._texts = self._reader.read(self.shard, self.first, self._block)
        return self._texts

    def to_bytes(self) -> bytes:
        return self._block.data

    def plain(self) -> list[list[bytes]] | None:
        if self._plain is None:
            self._plain = self._reader.plain(self._block)
        return self._plain

    def numbers(self, arrow: Any) -> Block | None:
        reader, block = self._reader, self._block
        simple = isinstance(reader, CsvLines) and reader.bare(block) and self.arrays(arrow) is not None
        return block if simple else None

    def arrays(self, arrow: Any) -> list[Any] | None:
        if self._arrays is None:
            self._arrays = self._reader.arrays(self._block, arrow)
        return self._arrays

    def values(self) -> list[Any]:
        if self._arrays is not None:
            return [_numpy(column) for column in self._arrays]
        if self._texts is None and self._plain is not None:
            return [np.array(list(map(float, column))) for column in self._plain]
        return super().values()


class TakenValues(Taken):
    def __init__(self, shard: str, spec: JoinSpec, first: int, values: Sequence[Any]) -> None:
        super().__init__(shard, spec, first, len(values))
        self._values = values

    def texts(self) -> list[list[str]]:
        return pick(self.spec.fields, self.shard, self.first, self._values)

    def to_bytes(self) -> bytes:
        values = ", ".join(map(json_text, self._values))
        return f'{{"{PREDICTIONS}": [{values}]}}\n'.encode()


class Answers:
    """Base: where answers are taken from, and what is said when they are too few or too many."""

    def __init__(self, shard: ShardFiles, spec: JoinSpec) -> None:
        self.shard = shard
        self.spec = spec
        self.before = 0  # answers taken

    def take(self, count: int) -> Taken:
        """The next `count` answers, or as many as there are."""
        raise NotImplementedError

    def mismatch(self) -> AssociationError:
        """The error for a shard whose counts differ."""
        raise NotImplementedError

    def differing(self, found: int, extra: str) -> AssociationError:
        """The same in words; `extra` is the first answer without a record."""
        records = count_records(self.shard.records, self.spec.records_delimiter)
        if found > records:
            difference = f"prediction {records + 1:,} ({extra}) has no record"
        else:
            left = sample(self.shard.records, self.spec.records_delimiter, found)
            difference = f"record {found + 1:,} ({left}) has no prediction"
        return AssociationError(self.shard.name, records, found, difference)


class LineAnswers(Answers):
    """Answers of one line each, without the blank lines that some servers put between batches.

    A blank line in the place of a prediction is another matter: it is told apart by counting, once one is met.
    """

    def __init__(
        self, shard: ShardFiles, spec: JoinSpec, file: IO[bytes], reader: JsonLines | CsvLines
    ) -> None:
        super().__init__(shard, spec)
        self._reader = reader
        self._source = Blocks(file, reader.delimiter, min(READ_BYTES, BLOCK_BYTES))
        self._skipping = False

    def take(self, count: int) -> Taken:
        block = self._take(count)
        taken = TakenLines(self.shard.name, self.spec, self.before + 1, block, self._reader)
        self.before += block.count
        return taken

    def _take(self, count: int) -> Block:
        block = self._source.take(count)
        blank = _blank(block)
        if not blank:
            return block
        if not self._skipping:
            self._judge_blanks()
            self._skipping = True
        kept = _without(block, blank)
        if block.count < count:
            return kept
        more = self._take(count - kept.count)
        return Block(kept.data + more.data, np.concatenate((kept.ends, more.ends + len(kept.data))))

    def mismatch(self) -> AssociationError:
        lines, blanks, first_blank = self._count()
        records = count_records(self.shard.records, self.spec.records_delimiter)
        if first_blank:
            difference = f"line {first_blank:,} of the predictions is blank"
            return AssociationError(self.shard.name, records, lines - blanks, difference)
        return self.differing(lines, sample(self.shard.predictions, self._reader.delimiter, records))

    def _judge_blanks(self) -> None:
        lines, blanks, first_blank = self._count()
        records = count_records(self.shard.records, self.spec.records_delimiter)
        if lines == records:
            raise PredictionError(self.shard.name, first_blank, "its prediction is blank")
        if lines - blanks != records:
            raise self.mismatch()

    def _count(self) -> tuple[int, int, int]:
        """Lines; how many of them are blank; the number of the first blank one, or 0."""
        lines = blanks = first = 0
        with self.shard.predictions.open("rb") as file:
            for block in Blocks(file, self._reader.delimiter):
                found = _blank(block)
                if found and not first:
                    first = lines + found[0] + 1
                blanks += len(found)
                lines += block.count
        return lines, blanks, first


class DocumentAnswers(Answers):
    """Answers in JSON documents, one document a request."""

    def __init__(self, shard: ShardFiles, spec: JoinSpec, file: IO[bytes]) -> None:
        super().__init__(shard, spec)
        self._answers = answers(file)

    def take(self, count: int) -> Taken:
        try:
            values = list(islice(self._answers, count))
        except NotJsonError as error:
            raise JoinError(
                f"shard {self.shard.name}: the predictions are not JSON documents: {error}"
            ) from error
        taken = TakenValues(self.shard.name, self.spec, self.before + 1, values)
        self.before += len(values)
        return taken

    def mismatch(self) -> AssociationError:
        records = count_records(self.shard.records, self.spec.records_delimiter)
        with self.shard.predictions.open("rb") as file:
            extra, found = "nothing", 0
            for answer in answers(file):
                if found == records:
                    extra = shown(answer)
                found += 1
        return self.differing(found, extra)


def open_answers(shard: ShardFiles, spec: JoinSpec, file: IO[bytes]) -> Answers:
    """The answers in `file`, which is the shard's predictions; raises JoinError where it is not text."""
    check_is_text(shard.name, shard.predictions)
    if spec.prediction_format == "json":
        return DocumentAnswers(shard, spec, file)
    return LineAnswers(
        shard, spec, file, (JsonLines if spec.prediction_format == "jsonlines" else CsvLines)(spec)
    )


def sample(path: Path, delimiter: str | None, index: int) -> str:
    """The record at `index` of a file, for a message."""
    with path.open("rb") as file:
        for block in Blocks(file, delimiter):
            if index < block.count:
                return shown(block.record(index))
            index -= block.count
    return "nothing"


def _numpy(column: Any) -> np.ndarray:
    """An Arrow column of int64 or float64 without nulls. Not its to_numpy(), which imports pandas."""
    parts = []
    for chunk in column.chunks:
        kind = np.int64 if str(chunk.type) == "int64" else np.float64
        values = np.frombuffer(chunk.buffers()[1], dtype=kind)[chunk.offset : chunk.offset + len(chunk)]
        parts.append(values.astype(np.float64, copy=False))
    return np.concatenate(parts) if parts else np.empty(0)


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
