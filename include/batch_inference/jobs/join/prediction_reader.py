"""Reads the predictions of a shard, of any format, in batches of as many as a block has records."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import IO, Any, Sequence, Union

import numpy as np

from batch_inference.jobs.common.arrow import read_numbers
from batch_inference.jobs.common.binary_formats import check_predictions_are_text
from batch_inference.jobs.common.blocks import BLOCK_BYTES, Block, BlockReader, count_records, join_blocks
from batch_inference.jobs.common.cell_types import is_number_type, is_typed
from batch_inference.jobs.common.csv_reading import UnreadableRecordError
from batch_inference.jobs.common.errors import JoinError, PredictionCountError, PredictionError
from batch_inference.jobs.common.json_reading import dumps
from batch_inference.jobs.common.numeric import parse_column
from batch_inference.jobs.common.profiles import label_values
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.json_stream import PREDICTIONS_KEY, NotJsonError, iter_predictions
from batch_inference.jobs.join.prediction_parsers import CsvParser, JsonLinesParser, extract_fields
from batch_inference.jobs.join.prediction_path import format_prediction

# Bytes read at a time: a part of the predictions of a block of records, so that little is left over.
READ_BYTES = 256 << 10
LineParser = Union[JsonLinesParser, CsvParser]
_WHITE_SPACE = np.frombuffer(b"\n\r\t ", dtype=np.uint8)
_LF, _SPACE = 10, 32


class PredictionBatch:
    """Consecutive predictions; may be parsed on any thread. `first_record` is the number of their first record."""

    def __init__(self, shard: str, spec: JoinSpec, first: int, count: int) -> None:
        self.shard = shard
        self.spec = spec
        self.first_record = first
        self.prediction_count = count
        self._texts: list[list[str]] | None = None  # cached: they are parsed once

    def read_texts(self) -> list[list[str]]:
        """Read the text of each field, numbers as written. Raises PredictionError."""
        if self._texts is None:
            try:
                self._texts = self._parse_texts()
            except UnreadableRecordError as error:
                raise PredictionError(self.shard, self.first_record + error.index, str(error)) from error
        return self._texts

    def _parse_texts(self) -> list[list[str]]:
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """Encode these predictions as a file of their original format."""
        raise NotImplementedError

    def read_float_bytes(self) -> list[list[bytes]] | None:
        """Read the floats of each field as written, not yet checked to be finite; None if there are other values."""
        return None

    def get_number_block(self, arrow: Any) -> Block | None:  # noqa: ARG002 - used by subclasses
        """Get the original lines if each is one finite number, and it is the only field; else None."""
        return None

    def read_arrow_columns(self, arrow: Any) -> list[Any] | None:  # noqa: ARG002 - used by subclasses
        """Read the fields as Arrow columns, or None if `read_texts` is needed."""
        return None

    def read_values(self) -> list[Any]:
        """Read the values of each field except echoes: float64 with NaN for null, or texts. Uses cached results.

        Booleans are `true` and `false`, whatever their words; dates and timestamps are their days.
        """
        return [
            _convert_texts(texts, field.column.type)
            for field, texts in zip(self.spec.prediction_fields, self.read_texts())
            if not field.is_echo
        ]


def _convert_texts(texts: list[str], column_type: str) -> Any:
    if not is_typed(column_type):
        return texts
    numbers = parse_column(texts, column_type).numbers
    return numbers if is_number_type(column_type) else label_values(numbers, column_type)


class LinePredictionBatch(PredictionBatch):
    def __init__(self, shard: str, spec: JoinSpec, first: int, block: Block, parser: LineParser) -> None:
        super().__init__(shard, spec, first, block.record_count)
        self._block = block
        self._parser = parser
        self._float_bytes: list[list[bytes]] | None = None
        self._arrow_columns: list[Any] | None = None

    def _parse_texts(self) -> list[list[str]]:
        return self._parser.read_texts(self._block)

    def to_bytes(self) -> bytes:
        return self._block.data

    def read_float_bytes(self) -> list[list[bytes]] | None:
        if self._float_bytes is None:
            self._float_bytes = self._parser.read_float_bytes(self._block)
        return self._float_bytes

    def get_number_block(self, arrow: Any) -> Block | None:
        reader, block = self._parser, self._block
        simple = isinstance(reader, CsvParser) and reader.has_only_number_characters(block)
        return block if simple and self.read_arrow_columns(arrow) is not None else None

    def read_arrow_columns(self, arrow: Any) -> list[Any] | None:
        if self._arrow_columns is None:
            self._arrow_columns = self._parser.read_arrow_columns(self._block, arrow)
        return self._arrow_columns

    def read_values(self) -> list[Any]:
        if self._arrow_columns is not None:
            return [read_numbers(column) for column in self._arrow_columns]
        if self._texts is None and self._float_bytes is not None:
            return [np.array(list(map(float, column))) for column in self._float_bytes]
        return super().read_values()


class JsonPredictionBatch(PredictionBatch):
    def __init__(self, shard: str, spec: JoinSpec, first: int, values: Sequence[Any]) -> None:
        super().__init__(shard, spec, first, len(values))
        self._values = values

    def _parse_texts(self) -> list[list[str]]:
        return extract_fields(self.spec.prediction_fields, self._values)

    def to_bytes(self) -> bytes:
        values = ", ".join(map(dumps, self._values))
        return f'{{"{PREDICTIONS_KEY}": [{values}]}}\n'.encode()


class PredictionReader:
    """Base class of readers of predictions, with the errors for too few or too many."""

    def __init__(self, shard: ShardFiles, spec: JoinSpec) -> None:
        self.shard = shard
        self.spec = spec
        self.read_count = 0  # predictions read

    def count_records(self) -> int:
        """Count the records of the shard."""
        return count_records(self.shard.records_path, self.spec.records_delimiter)

    def next_batch(self, count: int) -> PredictionBatch:
        """Read the next `count` predictions, or as many as are left."""
        raise NotImplementedError

    def build_count_error(self) -> PredictionCountError:
        """Build the error for a shard whose counts differ."""
        raise NotImplementedError

    def build_mismatch_error(self, prediction_count: int, first_extra: str) -> PredictionCountError:
        """Build the error with the first difference; `first_extra` is the first prediction without a record."""
        records = self.count_records()
        if prediction_count > records:
            difference = f"prediction {records + 1:,} ({first_extra}) has no record"
        else:
            left = format_record_at(self.shard.records_path, self.spec.records_delimiter, prediction_count)
            difference = f"record {prediction_count + 1:,} ({left}) has no prediction"
        return PredictionCountError(self.shard.name, records, prediction_count, difference)


class LinePredictionReader(PredictionReader):
    """Reads predictions of one line each, without the blank lines that some servers write between batches.

    A blank line in place of a prediction is an error: when the first blank line is read, counting lines decides.
    """

    def __init__(self, shard: ShardFiles, spec: JoinSpec, file: IO[bytes], parser: LineParser) -> None:
        super().__init__(shard, spec)
        self._parser = parser
        self._source = BlockReader(file, parser.delimiter, min(READ_BYTES, BLOCK_BYTES))
        self._skipping = False

    def next_batch(self, count: int) -> PredictionBatch:
        block = self._next_block(count)
        taken = LinePredictionBatch(self.shard.name, self.spec, self.read_count + 1, block, self._parser)
        self.read_count += block.record_count
        return taken

    def _next_block(self, count: int) -> Block:
        block = self._source.read_records(count)
        blank = _find_blank_lines(block)
        if not blank:
            return block
        if not self._skipping:
            self._check_blank_lines()
            self._skipping = True
        kept = _drop_records(block, blank)
        if block.record_count < count:
            return kept
        return join_blocks([kept, self._next_block(count - kept.record_count)])

    def build_count_error(self) -> PredictionCountError:
        lines, blanks, first_blank = self._count_lines()
        records = self.count_records()
        if first_blank:
            difference = f"line {first_blank:,} of the predictions is blank"
            return PredictionCountError(self.shard.name, records, lines - blanks, difference)
        first_extra = format_record_at(self.shard.predictions_path, self._parser.delimiter, records)
        return self.build_mismatch_error(lines, first_extra)

    def _check_blank_lines(self) -> None:
        lines, blanks, first_blank = self._count_lines()
        records = self.count_records()
        if lines == records:
            raise PredictionError(self.shard.name, first_blank, "its prediction is blank")
        if lines - blanks != records:
            raise self.build_count_error()

    def _count_lines(self) -> tuple[int, int, int]:
        """Count lines and blank lines; also returns the number of the first blank line, or 0."""
        lines = blanks = first = 0
        with self.shard.predictions_path.open("rb") as file:
            for block in BlockReader(file, self._parser.delimiter):
                found = _find_blank_lines(block)
                if found and not first:
                    first = lines + found[0] + 1
                blanks += len(found)
                lines += block.record_count
        return lines, blanks, first


class DocumentPredictionReader(PredictionReader):
    """Reads predictions in JSON documents, one document for each request."""

    def __init__(self, shard: ShardFiles, spec: JoinSpec, file: IO[bytes]) -> None:
        super().__init__(shard, spec)
        self._predictions = iter_predictions(file)

    def next_batch(self, count: int) -> PredictionBatch:
        try:
            values = list(islice(self._predictions, count))
        except NotJsonError as error:
            problem = f"the predictions are not JSON documents: {error}"
            raise JoinError(f"shard {self.shard.name}: {problem}") from error
        taken = JsonPredictionBatch(self.shard.name, self.spec, self.read_count + 1, values)
        self.read_count += len(values)
        return taken

    def build_count_error(self) -> PredictionCountError:
        records = self.count_records()
        with self.shard.predictions_path.open("rb") as file:
            extra, found = "nothing", 0
            for prediction in iter_predictions(file):
                if found == records:
                    extra = format_prediction(prediction)
                found += 1
        return self.build_mismatch_error(found, extra)


def open_predictions(shard: ShardFiles, spec: JoinSpec, file: IO[bytes]) -> PredictionReader:
    """Open a reader of the predictions in `file`. Raises JoinError if it is not text."""
    check_predictions_are_text(shard.name, shard.predictions_path)
    if spec.predictions.format == "json":
        return DocumentPredictionReader(shard, spec, file)
    parser = JsonLinesParser(spec) if spec.predictions.format == "jsonlines" else CsvParser(spec)
    return LinePredictionReader(shard, spec, file, parser)


def format_record_at(path: Path, delimiter: str | None, record_index: int) -> str:
    """Format the record at `record_index` of a file for a message."""
    with path.open("rb") as file:
        for block in BlockReader(file, delimiter):
            if record_index < block.record_count:
                return format_prediction(block.get_record(record_index))
            record_index -= block.record_count
    return "nothing"


def _find_blank_lines(block: Block) -> list[int]:
    """Find the indexes of blank lines."""
    data = np.frombuffer(block.data, dtype=np.uint8)
    # A blank line begins with a byte that is no greater than a space.
    if not len(data) or not (data[0] <= _SPACE or ((data[:-1] == _LF) & (data[1:] <= _SPACE)).any()):
        return []
    first = data[np.concatenate(([0], block.ends[:-1]))]
    candidates = np.flatnonzero(np.isin(first, _WHITE_SPACE)).tolist()
    return [index for index in candidates if not block.get_record(index).strip()]


def _drop_records(block: Block, places: Sequence[int]) -> Block:
    keep = np.ones(block.record_count, dtype=bool)
    keep[list(places)] = False
    lengths = np.diff(block.ends, prepend=0)[keep]
    data = b"".join([block.get_record(index) + b"\n" for index in np.flatnonzero(keep).tolist()])
    return Block(data, np.cumsum(lengths))
