"""Parses blocks of predictions, one line each, into the text of each field."""

from __future__ import annotations

import json
import re
from typing import Any, Sequence

import numpy as np

from batch_inference.jobs.common.arrow import read_numbers
from batch_inference.jobs.common.binary_formats import BYTE_ORDER_MARK
from batch_inference.jobs.common.blocks import Block
from batch_inference.jobs.common.cell_types import is_typed
from batch_inference.jobs.common.csv_reading import UnreadableRecordError, parse_rows
from batch_inference.jobs.common.json_reading import decode_prediction
from batch_inference.jobs.common.numeric import parse_column
from batch_inference.jobs.config.join_spec import JoinSpec, PredictionField
from batch_inference.jobs.join.prediction_path import PredictionFieldError, extract_text, format_prediction

# How servers write a missing number in CSV.
_NULL_TEXTS = ("", "nan", "null")
_DIGITS = b"0123456789+-.eE\n"
# A member name that is not a path.
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = rb"(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)"


class JsonLinesParser:
    """Parses predictions of one JSON value for each line."""

    delimiter = None

    def __init__(self, spec: JoinSpec) -> None:
        self._fields = spec.prediction_fields
        self._template: re.Pattern[bytes] | None = None

    def read_texts(self, block: Block) -> list[list[str]]:
        """Read the text of each field, numbers as written. Raises UnreadableRecordError."""
        plain = self.read_float_bytes(block)
        if plain is not None:
            texts = [b"\n".join(column).decode("ascii").split("\n") for column in plain]
            return validate_columns(self._fields, texts)
        values = []
        for index in range(block.record_count):
            line = block.get_record(index)
            try:
                values.append(decode_prediction(line.decode("utf-8")))
            except ValueError as error:
                problem = f"the prediction {format_prediction(line)} is not JSON: {error}"
                raise UnreadableRecordError(index, problem) from error
        return extract_fields(self._fields, values)

    def read_float_bytes(self, block: Block) -> list[list[bytes]] | None:
        """Read the numbers of each field as written, unchecked; None unless each prediction is an object of numbers."""
        if self._template is None:
            self._template = self._guess_template(block)
        if self._template is None:
            return None
        found = self._template.findall(block.data)
        if len(found) != block.record_count:
            return None
        return [found] if len(self._fields) == 1 else [list(column) for column in zip(*found)]

    def read_arrow_columns(self, block: Block, arrow: Any) -> list[Any] | None:
        """Read the fields with Arrow; None unless they are finite numbers in each prediction."""
        fields = [field for field in self._fields if not field.is_echo]
        types = {"integer": arrow.int64(), "float": arrow.float64()}
        if not block.record_count or any(
            field.column.type not in types or not _PLAIN_NAME.fullmatch(field.path) for field in fields
        ):
            return None
        if len(fields) == 1:
            lines = _unwrap_numbers(block, fields[0].path)
            columns = lines and _read_number_lines(
                arrow, lines, block.record_count, types[fields[0].column.type]
            )
            if columns:
                return columns
        import pyarrow.json  # most predictions do not need it

        try:
            table = pyarrow.json.read_json(
                arrow.BufferReader(block.data),
                read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(block.data) + 1),
                parse_options=pyarrow.json.ParseOptions(
                    explicit_schema=arrow.schema(
                        [(field.path, types[field.column.type]) for field in fields]
                    ),
                    unexpected_field_behavior="ignore",
                ),
            )
        except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
            return None
        return _select_finite_columns(table, block.record_count, [field.path for field in fields])

    def _guess_template(self, block: Block) -> re.Pattern[bytes] | None:
        """Compile a pattern for flat objects of numbers, with the members in the order of the first prediction."""
        if not block.record_count or any(field.column.type != "float" for field in self._fields):
            return None
        try:
            first = decode_prediction(block.get_record(0).decode("utf-8"))
        except ValueError:
            return None
        wanted = [field.path for field in self._fields]
        if not isinstance(first, dict) or [name for name in first if name in wanted] != wanted:
            return None
        members = [
            rb"[ \t]*%b[ \t]*:[ \t]*%b[ \t]*"
            % (
                re.escape(json.dumps(name).encode()),
                _NUMBER if name in wanted else rb"(?:%b)" % _NUMBER[1:-1],
            )
            for name in first
        ]
        return re.compile(rb"^[ \t]*\{%b\}[ \t]*\r?$" % b",".join(members), re.MULTILINE)


class CsvParser:
    """Parses predictions of one CSV record each; cells may have line breaks within quotes."""

    delimiter = ","

    def __init__(self, spec: JoinSpec) -> None:
        self._fields = spec.prediction_fields
        self._positions = [int(field.path) for field in spec.prediction_fields]
        # The type of the field if it is the only one, and may be the only column; else empty.
        is_single = len(self._fields) == 1 and self._positions[0] in (0, -1)
        self._single_type = self._fields[0].column.type if is_single else ""

    def read_arrow_columns(self, block: Block, arrow: Any) -> list[Any] | None:
        """Read the field with Arrow; None unless each prediction is one finite number."""
        types = {"integer": arrow.int64(), "float": arrow.float64()}
        if self._single_type not in types or not block.record_count or b'"' in block.data:
            return None
        if block.data.startswith(BYTE_ORDER_MARK):
            return None
        # Arrow reads 0x10 as an integer; nan and inf, which it reads as floats, are found below.
        if self._single_type == "integer" and not self.has_only_number_characters(block):
            return None
        return _read_number_lines(arrow, block.data, block.record_count, types[self._single_type])

    def read_texts(self, block: Block) -> list[list[str]]:
        plain = self.read_float_bytes(block)
        if plain is not None:
            return validate_columns(self._fields, [[line.decode("ascii") for line in plain[0]]])
        try:
            rows = parse_rows(block, self.delimiter)
        except UnreadableRecordError as error:
            line = format_prediction(block.get_record(error.index))
            raise UnreadableRecordError(error.index, f"the prediction {line} {error}") from error
        width = max(max(self._positions) + 1, -min(self._positions))
        for index, row in enumerate(rows):
            if len(row) < width:
                line = format_prediction(block.get_record(index))
                problem = f"the prediction {line} has {len(row)} columns, not {width}"
                raise UnreadableRecordError(index, problem)
        return validate_columns(self._fields, [[row[place] for row in rows] for place in self._positions])

    def has_only_number_characters(self, block: Block) -> bool:
        """Whether the lines have only characters of numbers: no spaces, quotes or carriage returns."""
        return _has_only_number_characters(block.data)

    def read_float_bytes(self, block: Block) -> list[list[bytes]] | None:
        """Get the lines, unchecked; None unless each prediction is one number."""
        if self._single_type != "float" or not self.has_only_number_characters(block):
            return None
        return [block.data.split(b"\n")[:-1]]


def _has_only_number_characters(lines: bytes) -> bool:
    return not lines.translate(None, _DIGITS)


def _unwrap_numbers(block: Block, name: str) -> bytes:
    """Get the lines of numbers in objects of that one member, if all are written as the first one is; else nothing.

    Arrow parses such lines as CSV in a third of the time that it takes for the objects.
    """
    member = rb"(\{[ \t]*\"%b\"[ \t]*:[ \t]*)%b([ \t]*\}[ \t]*\r?\n)" % (name.encode(), _NUMBER)
    first = re.match(member, block.data)
    if first is None or not block.data.endswith(first[3]):
        return b""
    between = first[3] + first[1]
    body = block.data[len(first[1]) : -len(first[3])]
    lines = body.replace(between, b"\n")
    is_each_replaced = len(body) - len(lines) == (block.record_count - 1) * (len(between) - 1)
    is_numeric = is_each_replaced and _has_only_number_characters(lines) and _are_json_numbers(lines)
    return lines if is_numeric else b""


def _are_json_numbers(lines: bytes) -> bool:
    """Whether lines of number characters have no `.5`, `5.`, `05` or `+5`.

    Arrow reads them in CSV; what else is not a number in JSON is not one to Arrow either.
    """
    text = np.frombuffer(b"\n%b\n" % lines, dtype=np.uint8)
    digits = text - ord("0") < 10  # of unsigned bytes
    if ((text == ord("."))[1:-1] & ~(digits[:-2] & digits[2:])).any():
        return False
    if b"+" in lines and (lines.startswith(b"+") or b"\n+" in lines):
        return False
    zeros_before_digits = (text == ord("0"))[1:-1] & digits[2:]
    starts = text == ord("\n")
    if b"-" in lines:
        starts[1:] |= starts[:-1] & (text == ord("-"))[1:]
    return not (starts[:-2] & zeros_before_digits).any()


def _read_number_lines(arrow: Any, lines: bytes, count: int, kind: Any) -> list[Any] | None:
    """Read lines of one number each as an Arrow column; None unless they are `count` finite numbers."""
    try:
        table = arrow.csv.read_csv(
            arrow.BufferReader(lines),
            read_options=arrow.csv.ReadOptions(
                column_names=["0"], use_threads=False, block_size=len(lines) + 1
            ),
            convert_options=arrow.csv.ConvertOptions(column_types={"0": kind}),
        )
    except arrow.ArrowInvalid:
        return None
    return _select_finite_columns(table, count, ["0"])


def _select_finite_columns(table: Any, count: int, names: Sequence[str]) -> list[Any] | None:
    """Select the columns of the table if they have a finite number for each prediction; else None."""
    if table.num_rows != count:
        return None
    columns = [table.column(name) for name in names]
    for column in columns:
        if column.null_count or not np.isfinite(read_numbers(column)).all():
            return None
    return columns


def extract_fields(fields: Sequence[PredictionField], predictions: Sequence[Any]) -> list[list[str]]:
    """Extract the text of each field from decoded predictions. Raises UnreadableRecordError."""
    wanted = [(field.path, field.column.type, field.nullable) for field in fields]
    prediction: Any = None
    rows = []
    try:
        for prediction in predictions:
            rows.append([extract_text(prediction, *one) for one in wanted])
    except PredictionFieldError as error:
        problem = f"{error} in the prediction {format_prediction(prediction)}"
        raise UnreadableRecordError(len(rows), problem) from None
    return validate_columns(fields, [list(column) for column in zip(*rows)] if rows else [[] for _ in fields])


def validate_columns(fields: Sequence[PredictionField], columns: list[list[str]]) -> list[list[str]]:
    """Check the columns of all types but string and json; nulls are allowed in nullable ones.

    Raises UnreadableRecordError.
    """
    for at, (field, texts) in enumerate(zip(fields, columns)):
        if not is_typed(field.column.type):
            continue
        if field.nullable:
            texts = columns[at] = ["" if text.strip().lower() in _NULL_TEXTS else text for text in texts]
        values, wrong = parse_column(texts, field.column.type)
        if wrong:
            index, allowed = min(wrong.items())
            allowed = allowed.replace(", or empty", "").replace(" or empty", "")
            raise UnreadableRecordError(
                index, f"prediction {field.path!r} is {texts[index]!r}, allowed is {allowed}"
            )
        empty = np.flatnonzero(np.isnan(values))
        if len(empty) and not field.nullable:
            raise UnreadableRecordError(int(empty[0]), f"prediction {field.path!r} is empty")
    return columns
