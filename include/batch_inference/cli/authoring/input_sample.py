"""Reads a sample of input objects and guesses the `input` section of a pipeline file, as `preprocess` will read them.

Records and cells are parsed by the code of the preprocess job, so that what is guessed is also accepted.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from batch_inference.common.errors import BatchInferenceError
from batch_inference.common.formatting import format_bytes, format_count
from batch_inference.common.object_names import is_control_name
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.jobs.common.binary_formats import GZIP, PARQUET, ZSTD
from batch_inference.jobs.common.cell_types import MAX_PRECISION, parse_cell
from batch_inference.jobs.common.json_reading import JsonNumber, decode_object, decode_record, to_cell
from batch_inference.jobs.config.preprocess_config import Column, InputConfig
from batch_inference.jobs.preprocess.objects import InputObject
from batch_inference.jobs.preprocess.readers.csv_records import CsvRecordReader
from batch_inference.jobs.preprocess.readers.parquet_records import ParquetRecordReader

#: What is read: of each object its beginning, and no more objects than these.
SAMPLE_BYTES, SAMPLE_OBJECTS = 16_000_000, 8
READ_BYTES = 1 << 18
DELIMITERS = (",", ";", "\t", "|")
_WIDE_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
_ID_NAME = re.compile(r"(?:.*[_ .-])?(?:id|key|uuid|guid|number|no|nr)|[a-z]+I[dD]|id.*", re.IGNORECASE)
_NAME = re.compile(r"[^\W\d][\w .%#/()-]{0,119}")
_LEADING_ZERO = re.compile(r"[+-]?0\d+(?:\.\d*)?|\+\d+")
_OTHER_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?: .*)?")
#: Pairs of words of which a column of a boolean has both, or the first pair's either.
_TRUTH_PAIRS = (("true", "false"), ("yes", "no"), ("t", "f"), ("y", "n"))
Cell = str | None


class SampleError(BatchInferenceError):
    """The sample cannot be input as it is; the message says what was found and what to do."""


@dataclass(frozen=True)
class SampledColumn:
    """A column as guessed: `note` says why, where that is not plain."""

    name: str
    type: str
    empty_count: int
    is_optional: bool = False
    is_unique: bool = False
    has_line_breaks: bool = False
    note: str = ""


@dataclass
class InputSample:
    """What the objects are, as far as they were read; `notes` are the guesses that a person should look at."""

    format: str
    header: bool = False
    delimiter: str = ","
    escape: str | None = None
    encoding: str = "utf-8"
    compression: str = "none"
    columns: list[SampledColumn] = field(default_factory=list)
    record_count: int = 0
    object_count: int = 0
    byte_count: int = 0
    is_whole: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def id_column(self) -> str | None:
        """The first column that is named like an id and has another value in each record of the sample."""
        candidates = (column.name for column in self.columns if column.is_unique)
        return next(filter(_ID_NAME.fullmatch, candidates), None)

    @property
    def extent(self) -> str:
        """How much was read, for people."""
        part = "all of" if self.is_whole else "the beginning of"
        return (
            f"{format_count(self.record_count, 'record')}, {part} {format_count(self.object_count, 'file')} "
            f"({format_bytes(self.byte_count)})"
        )


@dataclass(frozen=True)
class _Head:
    """The beginning of an object: stored bytes decompressed; `is_whole` if that is all of it."""

    path: Path
    data: bytes
    compression: str
    is_whole: bool


def list_sample_files(source: Path) -> list[Path]:
    """The files of a file or folder that are sampled, without control files and empty ones.

    Raises SampleError where there is none.
    """
    paths = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    files = [
        path
        for path in paths
        if path.stat().st_size
        and (path == source or not any(map(is_control_name, path.relative_to(source).parts)))
    ]
    if not files:
        raise SampleError(
            f"{source} has no data: {'it is empty' if source.is_file() else 'no file with content'}"
        )
    step = max(1, -(-len(files) // SAMPLE_OBJECTS))
    return files[::step]


def download_sample(client: Any, uri: str, folder: Path) -> None:
    """The beginnings of the first objects below a prefix, as files; Parquet, whose schema is at its end, whole."""
    bucket, prefix = split_s3_uri(uri)
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, PaginationConfig={"MaxItems": 1000}
    )
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ()) if entry["Size"]]
    names = {key: key.removeprefix(prefix).lstrip("/") or Path(key).name for key in keys}
    names = {key: name for key, name in names.items() if not any(map(is_control_name, name.split("/")))}
    for key in list(names)[:SAMPLE_OBJECTS]:
        target = folder / names[key]
        target.parent.mkdir(parents=True, exist_ok=True)
        first = client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{SAMPLE_BYTES - 1}")["Body"].read()
        if first.startswith(PARQUET):
            client.download_file(bucket, key, str(target))
        else:
            target.write_bytes(first)


def sample_input(files: Sequence[Path], *, header: bool | None = None) -> InputSample:
    """Guess format and columns from the files; `header` is what a person knows of CSV.

    Raises SampleError for files that `preprocess` could not read as they are.
    """
    heads = [_read_head(path) for path in files]
    kinds = {_detect_format(head) for head in heads}
    if len(kinds) > 1:
        raise SampleError(
            f"found files of the formats {' and '.join(sorted(kinds))}; allowed is one format below a prefix"
        )
    kind = kinds.pop()
    compressions = {head.compression for head in heads}
    sample = InputSample(
        kind,
        compression=compressions.pop() if len(compressions) == 1 else "auto",
        object_count=len(heads),
        byte_count=sum(head.path.stat().st_size if kind == "parquet" else len(head.data) for head in heads),
        is_whole=all(head.is_whole for head in heads),
    )
    if sample.compression == "zstd":
        sample.notes.append("compression zstd: the image of preprocess needs pyarrow (preprocess.wheels)")
    if kind == "parquet":
        tables = [_read_parquet(head.path) for head in heads]
    else:
        texts = _decode(heads, sample)
        tables = _read_json_lines(texts) if kind == "jsonlines" else _read_csv(texts, sample, header)
    names = list(dict.fromkeys(name for table in tables for name in table))
    in_all = {name for name in names if all(name in table for table in tables if table)}
    for name in sorted(names, key=lambda name: name not in in_all):
        cells = [cell for table in tables for cell in table.get(name, ())]
        sample.columns.append(_guess_column(name, cells, is_optional=name not in in_all))
    sample.record_count = sum(len(next(iter(table.values()))) for table in tables if table)
    if not sample.columns:
        raise SampleError("found no record; a sample needs at least one")
    return sample


def _read_head(path: Path) -> _Head:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(PARQUET):
        return _Head(path, magic, "none", is_whole=True)
    compression = "gzip" if magic.startswith(GZIP) else "zstd" if magic.startswith(ZSTD) else "none"
    data, is_cut = bytearray(), False
    try:
        with _open_stored(path, compression) as stored:
            while len(data) <= SAMPLE_BYTES and (block := stored.read(READ_BYTES)):
                data += block
    except (OSError, EOFError, zlib.error) as error:
        is_cut = True  # a sample of S3 ends anywhere
        if not data:
            raise SampleError(f"{path}: the {compression} data cannot be read: {error}") from None
    is_whole = len(data) <= SAMPLE_BYTES and not is_cut and path.stat().st_size != SAMPLE_BYTES
    return _Head(path, bytes(data[:SAMPLE_BYTES]), compression, is_whole)


def _open_stored(path: Path, compression: str) -> Any:
    if compression == "gzip":
        return gzip.open(path, "rb")
    if compression == "zstd":
        import pyarrow

        return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd"))
    return path.open("rb")


def _detect_format(head: _Head) -> str:
    if head.data.startswith(PARQUET):
        return "parquet"
    first = _decode_head(head, _detect_encoding([head])).lstrip("\ufeff \t\r\n").partition("\n")[0].strip()
    if first.startswith("["):
        try:
            is_array = isinstance(
                json.loads(_decode_head(head, _detect_encoding([head])).lstrip("\ufeff")), list
            )
        except ValueError:
            is_array = False
        if is_array:
            raise SampleError(f"{head.path} is one JSON array; allowed is JSON Lines, an object on each line")
    try:
        return "jsonlines" if isinstance(decode_record(first), dict) else "csv"
    except ValueError:
        return "csv"


def _detect_encoding(heads: Sequence[_Head]) -> str:
    data = b"".join(head.data[:1_000_000] for head in heads)
    for mark, encoding in _WIDE_MARKS.items():
        if data.startswith(mark):
            return encoding
    for head in heads:
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            decoder.decode(head.data, final=head.is_whole)
        except UnicodeDecodeError:
            every = b"".join(head.data for head in heads)
            return "latin-1" if not any(0x80 <= byte < 0xA0 for byte in set(every)) else "cp1252"
    return "utf-8"


def _decode_head(head: _Head, encoding: str) -> str:
    decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding == "utf-8" else encoding)()
    return decoder.decode(head.data, final=head.is_whole)


def _decode(heads: Sequence[_Head], sample: InputSample) -> list[str]:
    """The text of each head, cut after its last whole line."""
    sample.encoding = _detect_encoding(heads)
    if any(b"\0" in head.data[:4096] for head in heads) and sample.encoding == "utf-8":
        raise SampleError(
            f"{heads[0].path} holds NUL bytes: it is binary, or utf-16 without a byte order mark"
        )
    if sample.encoding in ("latin-1", "cp1252"):
        sample.notes.append(
            f"encoding {sample.encoding}: the text is not utf-8; look at letters with accents"
        )
    texts = []
    for head in heads:
        try:
            text = _decode_head(head, sample.encoding)
        except UnicodeDecodeError as error:
            raise SampleError(f"{head.path} is not text of one encoding: {error}") from None
        texts.append(text if head.is_whole else text[: text.rfind("\n") + 1])
    return texts


def _read_parquet(path: Path) -> dict[str, list[Cell]]:
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise SampleError(f"{path} is not a Parquet file: {error}") from None
    names = file.schema_arrow.names
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or "" in names:
        raise SampleError(
            f"{path} has the column {(twice or [''])[0]!r} {'twice' if twice else ''}; names must differ"
        )
    config = InputConfig(tuple(Column(name, "string") for name in names), format="parquet")
    table: dict[str, list[Cell]] = {name: [] for name in names}
    for parsed in ParquetRecordReader(
        InputObject(path, str(path), path.stat().st_size), config
    ).iter_parsed():
        for name, cells in zip(names, zip(*parsed.rows, strict=True), strict=True):
            table[name].extend(cells)
        if len(table[names[0]]) >= 100_000:
            break
    return table


def _read_json_lines(texts: Sequence[str]) -> list[dict[str, list[Cell]]]:
    tables = []
    for text in texts:
        records = []
        for number, line in enumerate(io.StringIO(text), start=1):
            if not line.strip():
                continue
            try:
                records.append(decode_object(line.strip(" \t\r\n")))
            except ValueError as error:
                raise SampleError(f"line {number} {error}") from None
        names = list(dict.fromkeys(name for record in records for name in record))
        tables.append({name: [_to_sample_cell(record.get(name)) for record in records] for name in names})
    return tables


class _JsonText(str):
    """A JSON string: text, whatever it looks like."""


def _to_sample_cell(value: Any) -> Cell:
    return (
        _JsonText(value) if isinstance(value, str) and not isinstance(value, JsonNumber) else to_cell(value)
    )


def _read_csv(texts: Sequence[str], sample: InputSample, header: bool | None) -> list[dict[str, list[Cell]]]:
    sample.delimiter, sample.escape, tables = _find_dialect(texts)
    tables = [rows for rows in tables if rows]
    if not tables:
        raise SampleError("found no record; a sample needs at least one")
    sample.header = _has_header(tables) if header is None else header
    count = _find_width(tables)
    names = [f"column_{number}" for number in range(1, count + 1)]
    results: list[dict[str, list[Cell]]] = []
    for rows in tables:
        if sample.header:
            names = _check_header(rows[0], _find_width([rows]))
            rows = rows[1:]
        fitting = [row for row in rows if len(row) == len(names)]
        if len(fitting) < len(rows):
            sample.notes.append(
                f"{format_count(len(rows) - len(fitting), 'record')} of {len(rows):,} with another number of cells "
                f"than {len(names)}: rejected by preprocess"
            )
        results.append({name: [row[at] for row in fitting] for at, name in enumerate(names)})
    if not sample.header:
        sample.notes.append(f"no header found, so columns are column_1 to column_{count}: give them names")
    elif header is None:
        sample.notes.append("header: the first line has names")
    return results


def _find_dialect(texts: Sequence[str]) -> tuple[str, str | None, list[list[list[str]]]]:
    """Delimiter, escape and rows: those with which most records have the same number of cells, and that is more than
    one; where every record has one cell, a delimiter that no record has.
    """
    best: tuple[tuple[float, int], str, str | None, list[list[list[str]]]] | None = None
    for escape in (None, "\\"):
        for delimiter in DELIMITERS:
            tables, broken = [], 0
            for text in texts:
                rows, bad = _read_rows(text, delimiter, escape)
                tables.append(rows)
                broken += bad
            counts = Counter(len(row) for rows in tables for row in rows)
            if not counts:
                continue
            usual, number = counts.most_common(1)[0]
            share = round((number - broken) / counts.total(), 2)
            # One cell tells nothing of the delimiter, unless all records have one.
            score = (share if usual > 1 else share - 0.5, usual)
            if best is None or score > best[0]:
                best = score, delimiter, escape, tables
        if best is not None and best[0][0] >= 1:
            break
    if best is None:
        raise SampleError("found no record; a sample needs at least one")
    return best[1:]


def _read_rows(text: str, delimiter: str, escape: str | None) -> tuple[list[list[str]], int]:
    """The rows that can be parsed, and how many cannot."""
    reader = CsvRecordReader(io.StringIO(text, newline=""), delimiter, escape)
    rows: list[list[str]] = []
    broken = 0
    while (parsed := reader.read_records()) is not None:
        broken += len(parsed.malformed)
        rows.extend(row for at, row in enumerate(parsed.rows) if at not in parsed.malformed)
    return rows, broken


def _find_width(tables: Sequence[list[list[str]]]) -> int:
    """How many cells most records have."""
    return Counter(len(row) for rows in tables for row in rows).most_common(1)[0][0]


def _has_header(tables: Sequence[list[list[str]]]) -> bool:
    """Whether the first lines are names: none is empty or a value of a type, and a column's cells are of a type, or
    all look like names and are nowhere else.
    """
    is_typed = False
    for first, *rest in tables:
        if len(first) != _find_width([[first, *rest]]):
            return False
        if any(_guess_type([cell]) != "string" for cell in first if cell.strip()):
            return False
        names = [cell.strip() for cell in first]
        columns = [[row[at] for row in rest if len(row) == len(first)] for at in range(len(first))]
        if any(_guess_type(column) != "string" for column in columns):
            is_typed = True
        elif (
            not all(map(_NAME.fullmatch, names))
            or len(set(names)) < len(names)
            or any(name in map(str.strip, column) for name, column in zip(names, columns, strict=True))
        ):
            return is_typed
    return True


def _check_header(first: Sequence[str], count: int) -> list[str]:
    names = [name.strip() for name in first]
    for at, name in enumerate(names):
        if not name:
            raise SampleError(
                f"the header has no name for column {at + 1} of {len(names)}; preprocess finds columns by their names: "
                f"name it in the file (pandas writes its index so: to_csv(index=False) leaves it out), or remove the "
                f"header and take --no-header"
            )
        if name in names[:at]:
            raise SampleError(
                f"the header has the name {name!r} twice, for the columns {names.index(name) + 1} and {at + 1}; "
                "preprocess finds columns by their names: rename one in the file, or remove the header and take "
                "--no-header"
            )
    if len(names) != count:
        raise SampleError(
            f"the header has {len(names)} names, and most records have {count} cells; correct the file"
        )
    return names


def _guess_column(name: str, cells: Sequence[Cell], *, is_optional: bool) -> SampledColumn:
    values = [cell for cell in cells if cell is not None and cell.strip(" \t")]
    kind = _guess_type(values)
    return SampledColumn(
        name,
        kind,
        empty_count=len(cells) - len(values),
        is_optional=is_optional,
        is_unique=0 < len(values) == len(cells) == len(set(values)) and kind in ("string", "integer"),
        has_line_breaks=any("\n" in value or "\r" in value for value in values),
        note=_explain(kind, values),
    )


def _guess_type(cells: Sequence[Cell]) -> str:
    """The narrowest type of which all cells are; string where that would lose something."""
    values = {cell.strip(" \t") for cell in cells if cell is not None and cell.strip(" \t")}
    if not values:
        return "string"
    is_text = any(isinstance(cell, _JsonText) for cell in cells)
    if not is_text:
        words = {value.lower() for value in values}
        if words <= {"true", "false"} or any(words == set(pair) for pair in _TRUTH_PAIRS):
            return "boolean"
        if not any(map(_LEADING_ZERO.fullmatch, values)):
            number = _guess_number(values)
            if number is not None:
                return number
    kinds = ("date", "timestamp", "timestamptz")
    return next((kind for kind in kinds if _are_all(values, kind)), "string")


def _guess_number(values: set[str]) -> str | None:
    if _are_all(values, "integer"):
        return "integer"
    if not _are_all(values, "float"):
        # Digits of a whole number too long for a double are numbers to a decimal.
        return _guess_decimal(values)
    if all(Decimal(repr(float(value))) == Decimal(value) for value in values):
        return "float"
    return _guess_decimal(values) or "string"


def _guess_decimal(values: set[str]) -> str | None:
    if not all(re.fullmatch(r"-?(\d+(\.\d+)?|\.\d+)", value, re.ASCII) for value in values):
        return None
    scale = max(len(value.partition(".")[2]) for value in values)
    kind = f"decimal({MAX_PRECISION},{scale})"
    return kind if scale <= MAX_PRECISION and _are_all(values, kind) else None


def _are_all(values: set[str], kind: str) -> bool:
    return all(not parse_cell(value, kind)[1] for value in values)


def _explain(kind: str, values: Sequence[str]) -> str:
    """What a person should know of a guess."""
    if not values:
        return "empty in the sample"
    if kind.startswith("decimal"):
        return "more digits than a float has"
    if kind != "string" or isinstance(values[0], _JsonText):
        return ""
    if all(map(_OTHER_DATE.fullmatch, values)):
        return "dates in another order than 2026-01-31, so text"
    if any(map(_LEADING_ZERO.fullmatch, values)) and not any(
        parse_cell(value, "float")[1] for value in values
    ):
        return "leading zeros or plus signs, so text"
    others = Counter(value for value in values if parse_cell(value, "float")[1])
    if others.total() < len(values):
        word, count = others.most_common(1)[0] if others else (values[0], len(values))
        return f"numbers, and texts such as {word[:30]!r} ({count:,} times), so text"
    return ""


def iter_guesses(sample: InputSample) -> Iterator[str]:
    """Every guess that a person should look at, a line each."""
    yield from sample.notes
    for column in sample.columns:
        if column.note:
            yield f"{column.name}: {column.type}: {column.note}"
        if column.is_optional:
            yield f"{column.name}: not in every file, so optional"
    if sample.id_column is not None:
        yield f"{sample.id_column}: the id, since it is named so and differs in each record; not sent to the model"
