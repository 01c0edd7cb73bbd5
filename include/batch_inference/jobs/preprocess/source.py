"""Reads the records of an object, or of a part of it, in batches, each with the columns of the object."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Iterable, Iterator, Optional, Sequence, Tuple, TypeVar

from batch_inference.jobs.common.errors import InputError
from batch_inference.jobs.config.preprocess_config import InputConfig
from batch_inference.jobs.preprocess.objects import (
    InputObject,
    ObjectPart,
    Text,
    estimate_decompressed_bytes,
    translate_read_errors,
)
from batch_inference.jobs.preprocess.readers.batch import (
    Batch,
    build_batch,
    concatenate_batches,
    iter_parsed,
)
from batch_inference.jobs.preprocess.readers.csv_batches import BLOCK_BYTES, CsvBatchReader
from batch_inference.jobs.preprocess.readers.json_records import JsonRecordReader
from batch_inference.jobs.preprocess.readers.parquet_records import ParquetRecordReader

COMBINED_RECORDS = 4_096
# The names of the columns of an object, in its order; None until a record shows how many optional ones it has.
ColumnNames = Optional[Tuple[str, ...]]


class PartReader:
    """Reads the records of a part of an object in batches.

    Attributes:
        line_count: lines read so far, of CSV and JSON Lines.
        unseen_names, seen_members: of JSON Lines, columns that no record has had, and members while there are any.
    """

    def __init__(self, part: ObjectPart, input_config: InputConfig) -> None:
        self._part = part
        self._config = input_config
        self.line_count = 0
        self.unseen_names: set[str] = set()
        self.seen_members: set[str] = set()

    def __iter__(self) -> Iterator[tuple[ColumnNames, Batch]]:
        """Yield batches, numbered within the object.

        Raises:
            InputError: the object is not as configured.
            RecordContinuesError: the part ends within a record of CSV.
        """
        read = {"csv": self._read_csv, "jsonlines": self._read_json_lines, "parquet": self._read_parquet}
        part = self._part
        if not part.object.stored_bytes:
            return
        with translate_read_errors(part.object, self._config):
            for names, batch in read[self._config.format]():
                batch.ordinals = batch.ordinals + part.ordinal_before
                batch.line_numbers = batch.line_numbers + part.lines_before
                yield names, batch

    def _read_csv(self) -> Iterator[tuple[ColumnNames, Batch]]:
        config = self._config
        is_fixed = not config.header and config.required_count == len(config.columns)
        names: ColumnNames = config.column_names if is_fixed else None
        with Text(self._part, config) as text:
            reader = CsvBatchReader(text, config.delimiter, config.escape, is_part=self._part.end is not None)
            if config.header and not self._part.begin:
                header = reader.read_header()
                if header is None:
                    return
                names = _parse_header(header, config, self._part.object.uri)
            is_known = names is not None
            for batch in reader:
                if not is_known:
                    # Also if this part, or its first batch, does not tell.
                    is_first = not self._part.begin
                    names = (_find_fitting_names(batch, config) if is_first else None) or self._find_names()
                    is_known = True
                self.line_count = reader.line_count
                yield names, batch
            self.line_count = reader.line_count

    def _find_names(self) -> ColumnNames:
        """Find the columns of the whole object: its header, or its first record that fits, has them."""
        config, part = self._config, self._part
        with Text(ObjectPart(part.object, part.rank, part.text_bytes), config) as text:
            reader = CsvBatchReader(text, config.delimiter, config.escape)
            if config.header:
                header = reader.read_header()
                return None if header is None else _parse_header(header, config, part.object.uri)
            return next(filter(None, (_find_fitting_names(batch, config) for batch in reader)), None)

    def _read_json_lines(self) -> Iterator[tuple[ColumnNames, Batch]]:
        names = self._config.column_names
        with Text(self._part, self._config) as text:
            records = JsonRecordReader(text.open_lines(), names)
            for parsed in iter_parsed(records.read_records):
                self.line_count = records.line_count
                yield names, build_batch(parsed)
        self.unseen_names, self.seen_members = records.unseen_names, records.seen_members
        if self._part.is_whole:
            check_members(self._part.object.uri, self._config, self.unseen_names, self.seen_members)

    def _read_parquet(self) -> Iterator[tuple[ColumnNames, Batch]]:
        records = ParquetRecordReader(self._part.object, self._config)
        for parsed in records.iter_parsed():
            yield records.column_names, build_batch(parsed)


_Extra = TypeVar("_Extra")


def combine_batches(
    batches: Iterable[tuple[ColumnNames, Batch, _Extra]],
) -> Iterator[tuple[ColumnNames, Batch, list[_Extra]]]:
    """Combine batches that follow each other and have the same columns, until they have COMBINED_RECORDS.

    Small objects then take about as long for each record as large ones. Each batch comes with something of its own.
    """
    waiting: list[Batch] = []
    extras: list[_Extra] = []
    waiting_names: ColumnNames = None
    for names, batch, extra in batches:
        if waiting and (names != waiting_names or _is_full([*waiting, batch])):
            yield waiting_names, concatenate_batches(waiting), extras
            waiting, extras = [], []
        waiting_names = names
        waiting.append(batch)
        extras.append(extra)
    if waiting:
        yield waiting_names, concatenate_batches(waiting), extras


def _is_full(batches: Sequence[Batch]) -> bool:
    records, size = sum(map(len, batches)), sum(len(batch.buffer) for batch in batches)
    return records > COMBINED_RECORDS or size > BLOCK_BYTES


def estimate_text_bytes(input_object: InputObject, input_config: InputConfig) -> int:
    """Estimate how many bytes the records of an object take as text."""
    if not input_object.stored_bytes:
        return 0
    with translate_read_errors(input_object, input_config):
        if input_config.format == "parquet":
            return ParquetRecordReader(input_object, input_config).estimate_text_bytes()
        return estimate_decompressed_bytes(input_object, input_config)


def check_members(
    uri: str, input_config: InputConfig, unseen_names: set[str], seen_members: set[str]
) -> None:
    """Raise InputError if no record of a JSON Lines object has a column that is not optional."""
    missing = input_config.find_missing(set(input_config.column_names) - unseen_names)
    if missing and seen_members:
        raise InputError(
            f"{uri}: no record has {', '.join(missing)}; they have {', '.join(sorted(seen_members))}. "
            "Correct input.columns, or mark columns that an object may leave out as optional"
        )


def _find_fitting_names(batch: Batch, input_config: InputConfig) -> ColumnNames:
    """Find the columns that the first record with a possible number of cells has."""
    counts = batch.field_counts
    fitting = counts[(counts >= max(1, input_config.required_count)) & (counts <= len(input_config.columns))]
    return input_config.column_names[: int(fitting[0])] if len(fitting) else None


def _parse_header(header: Sequence[str], input_config: InputConfig, uri: str) -> tuple[str, ...]:
    """Read the columns from a header line; they may come in any order.

    Raises InputError for unknown, repeated or missing columns.
    """
    names = tuple(cell.strip() for cell in header)
    for problem, which in (
        ("unknown column", [name for name in names if name not in input_config.column_names]),
        ("repeated column", sorted({name for name in names if names.count(name) > 1})),
        ("no column", input_config.find_missing(names)),
    ):
        if which:
            # All names are those of columns; of other problems they may be the values of a first record.
            own = f"it has {', '.join(names)}, and " if problem == "no column" else ""
            raise InputError(
                f"{uri}: the header has {problem} {', '.join(map(repr, which))}; "
                f"{own}the pipeline names {', '.join(input_config.column_names)}."
                f"{_suggest_column(which[0], input_config.find_missing(names))} "
                "Correct the header or input.columns; if the first line is data, set input.header to false"
            )
    return names


def _suggest_column(name: str, missing: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the missing column that is closest to a name of the header, or an empty text."""
    folded = {each.lower(): each for each in missing if each != name}
    found = get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return f" Did you mean {folded[found[0]]!r}?" if found else ""
