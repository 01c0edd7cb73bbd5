"""Reads the records in the first bytes of an object as the preprocessing job reads them, and applies its rules.

The job's own readers and rules are used, so that `plan` and the job agree on what a record is.
"""

from __future__ import annotations

import codecs
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from batch_inference.common.formatting import format_count
from batch_inference.jobs.common.binary_formats import GZIP, PARQUET, ZSTD
from batch_inference.jobs.common.csv_reading import create_csv_reader
from batch_inference.jobs.common.errors import InputError
from batch_inference.jobs.common.json_reading import decode_record, format_excerpt
from batch_inference.jobs.config.preprocess_config import InputConfig, PreprocessConfig
from batch_inference.jobs.preprocess.objects import (
    InputObject,
    ObjectPart,
    decompress_start,
    translate_read_errors,
)
from batch_inference.jobs.preprocess.readers.batch import Batch
from batch_inference.jobs.preprocess.readers.csv_batches import RecordContinuesError
from batch_inference.jobs.preprocess.readers.parquet_records import ParquetRecordReader
from batch_inference.jobs.preprocess.record_validator import RecordValidator
from batch_inference.jobs.preprocess.source import ColumnNames, PartReader, check_members

#: Rules that every pipeline has: records that fail them are not as `input` says. The pipeline's own rules come after.
IMPLICIT_RULES = frozenset({"arity", "encoding", "json", "quoting", "type"})
#: Delimiters that are tried where the pipeline's gives one cell.
COMMON_DELIMITERS = ",;\t|"
#: One bad record is a problem only where `input` is seen to be wrong: it may be all that an input has.
MIN_RECORDS = 2
#: About the most text of one object that is looked at, decompressed.
MAX_TEXT_BYTES = 4 << 20
_MAGIC_BYTES = {"gzip": GZIP, "zstd": ZSTD}


@dataclass(frozen=True, slots=True)
class ObjectStart:
    """The first bytes of an object; of Parquet its last ones, which hold the names of its columns.

    `size` is that of the object, in bytes: with as many in `data`, that is all of it.
    """

    uri: str
    data: bytes
    size: int

    @property
    def is_whole(self) -> bool:
        """Whether the object is read completely."""
        return len(self.data) == self.size

    @property
    def has_whole_footer(self) -> bool:
        """Whether the end of a Parquet file is all of its footer. What ends otherwise has none, and is no such file."""
        return not self.data.endswith(PARQUET) or get_footer_bytes(self.data) <= len(self.data)


@dataclass(frozen=True, slots=True)
class RecordSample:
    """Sampled records of one object: how many, how many would be rejected by rule, and the first reject.

    `hint` says what the object looks like, where it is not what `input` says.
    """

    uri: str
    records: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    first_reject: str = ""
    hint: str = ""


def get_footer_bytes(end: bytes) -> int:
    """Bytes of the footer of a Parquet file that ends with `end`: it closes with its length, and four letters."""
    return int.from_bytes(end[-8:-4], "little") + 8


def sample_records(start: ObjectStart, config: PreprocessConfig) -> RecordSample:
    """Read and check the records.

    Raises:
        InputError: the object is not as configured, and the job would fail.
        ConfigError: this Python lacks what reading it needs.
    """
    source = config.input
    with tempfile.TemporaryDirectory(prefix="sample-") as folder:
        path = Path(folder) / "object"
        if source.format == "parquet":
            _write_end(path, start)
            item = InputObject(path, start.uri, start.size)
            if not start.is_whole:
                if start.has_whole_footer:
                    with translate_read_errors(item, source):
                        ParquetRecordReader(item, source)  # checks the names of the columns
                return RecordSample(start.uri)
            return _check_records(PartReader(ObjectPart(item, 0, start.size), source), start, config)
        text, source = _read_text(start, source)
        path.write_bytes(text)
        item = InputObject(path, start.uri, len(text))
        # A part may end within a record; the whole object may not.
        part = ObjectPart(item, 0, len(text), end=None if start.is_whole else len(text))
        line = _read_first_line(text, source)
        _check_no_header(start.uri, line, source)
        hint = _find_hint(line, source)
        try:
            reader = PartReader(part, source)
            sample = _check_records(reader, start, replace(config, input=source))
        except InputError as error:
            raise InputError(f"{error}{hint and f'. {hint}'}") from error
    if reader.unseen_names == set(source.column_names):
        # One member may be rare, and then another one is there.
        check_members(start.uri, source, reader.unseen_names, reader.seen_members)
    return replace(sample, hint=hint)


def summarize_samples(samples: Sequence[RecordSample]) -> tuple[str | None, str | None]:
    """The problem of the samples, and the sentence about them; None where there is none.

    Rejects by the pipeline's own rules are never a problem: `max_rejected` decides on those of the whole input.
    """
    records, rejects = sum(each.records for each in samples), Counter[str]()
    for each in samples:
        rejects.update(each.rejects)
    if not records:
        return None, None
    first = next((each for each in samples if each.first_reject), samples[0])
    if sum(rejects[rule] for rule in IMPLICIT_RULES) == records and (records >= MIN_RECORDS or first.hint):
        hint = first.hint or "Correct input.columns, input.format or input.delimiter"
        problem = f"all {format_count(records, 'sampled record')} would be rejected, the first because of"
        return f"{first.uri}: {problem} {first.first_reject}. {hint}", None
    counted = f"Of {format_count(records, 'sampled record')} in {format_count(len(samples), 'object')}"
    if not rejects:
        return None, f"{counted}, none would be rejected."
    rule, number = rejects.most_common(1)[0]
    return None, (
        f"{counted}, {rejects.total():,} would be rejected, {number:,} of them by {rule!r}; such as, in {first.uri}: "
        f"{first.first_reject}."
    )


def _check_records(reader: PartReader, start: ObjectStart, config: PreprocessConfig) -> RecordSample:
    """Apply the rules that look at one record; the user's function is not run."""
    rules = tuple(rule for rule in config.rules if rule.kind != "duplicates")
    columns = config.feature_columns if config.function is None else config.input.column_names[:1]
    validator = RecordValidator(replace(config, rules=rules, function=None, feature_columns=columns))
    records, rejects, first = 0, Counter[str](), ""
    for names, batch in _iter_whole_batches(reader):
        found = validator.validate(names, batch, {}, start.uri).rejects
        records += len(batch)
        rejects.update(reject.rule for reject in found.values())
        for index, reject in list(found.items())[:1]:
            record = f"record {int(batch.ordinals[index]):,}"
            first = first or f"{reject.rule!r} ({record}: {reject.format_reason()})"
    return RecordSample(start.uri, records, rejects, first)


def _iter_whole_batches(reader: PartReader) -> Iterator[tuple[ColumnNames, Batch]]:
    with suppress(RecordContinuesError):
        yield from reader


def _write_end(path: Path, start: ObjectStart) -> None:
    """A file of the object's size whose end is `start.data`; the rest takes no disk."""
    with path.open("wb") as file:
        file.truncate(start.size)
        file.seek(start.size - len(start.data))
        file.write(start.data)


def _read_text(start: ObjectStart, source: InputConfig) -> tuple[bytes, InputConfig]:
    """The whole lines at the beginning, decompressed, and the configuration that reads them."""
    data, is_whole = start.data, start.is_whole
    found = next((name for name, magic in _MAGIC_BYTES.items() if data.startswith(magic)), None)
    if found is not None and source.compression in (found, "auto"):
        data, is_whole, source = (
            decompress_start(data, found, MAX_TEXT_BYTES),
            False,
            replace(source, compression="none"),
        )
    if is_whole or source.compression not in ("none", "auto"):
        return data, source
    if source.encoding.startswith(("utf-16", "utf-32")):
        try:
            text = codecs.getincrementaldecoder(source.encoding)().decode(data)
        except UnicodeError as error:
            raise InputError(f"{start.uri} is not valid {source.encoding}: {error}") from error
        return text[: text.rfind("\n") + 1].encode(source.encoding), source
    return data[: (data.rfind(b"\n") + 1) or (data.rfind(b"\r", 0, -1) + 1)], source


def _read_first_line(text: bytes, source: InputConfig) -> str:
    lines = text.decode(source.encoding, errors="replace").lstrip("\ufeff")
    return re.split(r"[\r\n]", lines, maxsplit=1)[0]


def _check_no_header(uri: str, line: str, source: InputConfig) -> None:
    """Raise InputError for a line of column names that `source` does not announce."""
    cells = [cell.strip().lower() for cell in _split_cells(line, source.delimiter)]
    if (
        source.format == "csv"
        and not source.header
        and cells == [name.lower() for name in source.column_names]
    ):
        raise InputError(
            f"{uri}: the first line has the names of the columns, and input.header is false; set input.header to true"
        )


def _find_hint(line: str, source: InputConfig) -> str:
    """What the first line looks like, where it is not what `source` says; else nothing."""
    if source.encoding == "utf-8" and "\0" in line:
        return "The text has NUL characters, as utf-16 has: set input.encoding to utf-16, or upload utf-8"
    try:
        is_json = isinstance(decode_record(line), dict)
    except ValueError:
        is_json = False
    if source.format == "jsonlines":
        return (
            ""
            if is_json or line.lstrip().startswith("{")
            else f"The first line is {format_excerpt(line)}: set input.format to csv if that is CSV"
        )
    if is_json:
        return "The lines are JSON objects: set input.format to jsonlines"
    counts = {
        delimiter: len(_split_cells(line, delimiter)) for delimiter in (source.delimiter, *COMMON_DELIMITERS)
    }
    fitting = range(max(2, source.required_count), len(source.columns) + 1)
    other = next((delimiter for delimiter, count in counts.items() if count in fitting), source.delimiter)
    if counts[source.delimiter] in fitting or other == source.delimiter:
        return ""
    return (
        f"The first line has {format_count(counts[source.delimiter], 'cell')} with the delimiter "
        f"{source.delimiter!r}, and {counts[other]} with {other!r}: set input.delimiter to {other!r}"
    )


def _split_cells(line: str, delimiter: str) -> list[str]:
    return next(create_csv_reader([line], delimiter), [])
