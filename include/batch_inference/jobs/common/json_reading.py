"""Decodes JSON strictly, with numbers as written.

The json module accepts more than JSON (NaN, half a surrogate pair), silently takes the last of duplicate members, and
fails on deep nesting at a depth that differs between Python versions.
"""

from __future__ import annotations

import json
import re
from typing import Any, Optional

# The text of a value, None for null.
Cell = Optional[str]
# Maximum nesting of arrays and objects; each level takes a few recursive calls.
MAX_LEVELS = 100
# Characters of a text in a message.
MAX_SHOWN = 120
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_TOO_DEEP = f"it nests arrays and objects more than {MAX_LEVELS} levels deep"


class JsonNumber(str):
    """A JSON number as it was written."""


class NonFiniteJsonNumber(str):
    """NaN, Infinity or -Infinity: often written, but neither JSON nor a valid prediction."""


class UnsupportedJsonError(ValueError):
    """The json module accepts the text, but it is not supported here; the message says why."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise UnsupportedJsonError(f"an object has member {name!r} twice")
            seen.add(name)
    return members


def _reject_constant(constant: str) -> Any:
    raise UnsupportedJsonError(f"it holds {constant}, which JSON does not have")


_RECORD_DECODER = json.JSONDecoder(
    parse_float=JsonNumber, parse_int=JsonNumber, parse_constant=_reject_constant, object_pairs_hook=_members
)
# In predictions NaN is kept as NonFiniteJsonNumber: it is an error only in fields that are read.
_PREDICTION_DECODER = json.JSONDecoder(
    parse_float=JsonNumber,
    parse_int=JsonNumber,
    parse_constant=NonFiniteJsonNumber,
    object_pairs_hook=_members,
)


def decode_record(text: str) -> Any:
    """Decode one JSON record, numbers as written. Raises ValueError for anything but strict JSON."""
    record = _decode(_RECORD_DECODER, text)
    if _HALF_PAIR.search(text) and not is_encodable(json.dumps(record, ensure_ascii=False)):
        raise UnsupportedJsonError("it escapes half a surrogate pair, which is not text")
    return record


def decode_object(text: str) -> dict[str, Any]:
    """Decode one JSON record that is an object, as `decode_record` does.

    Raises ValueError for anything else; its text goes on from a subject: `is not JSON: …`.
    """
    try:
        record = decode_record(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at character {error.pos + 1}") from None
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise ValueError("is JSON, but not an object")  # noqa: TRY004 - callers report both alike
    return record


def decode_prediction(text: str) -> Any:
    """Decode one JSON prediction, numbers as written, NaN and infinity as `NonFiniteJsonNumber`. Raises ValueError."""
    return _decode(_PREDICTION_DECODER, text)


def decode_document(text: str, at: int) -> tuple[Any, int]:
    """Decode the JSON document that begins at `at`, as `decode_prediction` does; also returns its end.

    Raises:
        UnsupportedJsonError: it is not supported, whatever follows.
        json.JSONDecodeError: it is not JSON, or incomplete.
    """
    try:
        document, end = _PREDICTION_DECODER.raw_decode(text, at)
    except RecursionError as error:
        raise UnsupportedJsonError(_TOO_DEEP) from error
    _check_levels(document)
    return document, end


def _decode(decoder: json.JSONDecoder, text: str) -> Any:
    try:
        value = decoder.decode(text)
    except RecursionError as error:
        raise UnsupportedJsonError(_TOO_DEEP) from error
    if text.count("[") + text.count("{") > MAX_LEVELS:
        _check_levels(value)
    return value


def _check_levels(value: Any) -> None:
    """Raise UnsupportedJsonError for values nested too deep for recursive functions."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_LEVELS):
        if not level:
            return
        level = [
            one
            for outer in level
            for one in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(one, (dict, list))
        ]
    if level:
        raise UnsupportedJsonError(_TOO_DEEP)


def is_encodable(text: str) -> bool:
    """Whether the text can be encoded: it has no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def dumps(value: Any) -> str:
    """Encode a decoded value as JSON, numbers as written."""
    if type(value) is str:  # fast path: JsonNumber is a str too
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, JsonNumber):
        return str(value)
    if isinstance(value, dict):
        members = (f"{json.dumps(key, ensure_ascii=False)}: {dumps(one)}" for key, one in value.items())
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dumps, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def to_cell(value: Any) -> Cell:
    """Convert a decoded value to a cell: text and numbers as written, all else as JSON."""
    return value if value is None else str(value) if isinstance(value, str) else dumps(value)


def format_excerpt(text: str) -> str:
    """Format a text for a message, cut if it is long."""
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…")
