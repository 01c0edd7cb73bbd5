"""JSON as all readers here take it: numbers as they were written, and nothing that is not JSON or is not told apart.

The json module reads more than JSON has (NaN, half a surrogate pair), takes the last of two members of one name in
silence, and gives up deep nesting at a depth that differs between its versions.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Levels of arrays and objects in one another. What reads and writes them goes down a few calls a level.
MOST_LEVELS = 100
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_TOO_DEEP = f"it nests arrays and objects more than {MOST_LEVELS} levels deep"


class Number(str):
    """A JSON number as it was written."""


class Constant(str):
    """NaN, Infinity or -Infinity: written by many, no JSON, and no prediction."""


class NotAllowedError(ValueError):
    """What is well-formed to the json module, and is not read all the same; the text says why."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise NotAllowedError(f"an object has member {name!r} twice")
            seen.add(name)
    return members


def _refuse(constant: str) -> Any:
    raise NotAllowedError(f"it holds {constant}, which JSON does not have")


_RECORDS = json.JSONDecoder(
    parse_float=Number, parse_int=Number, parse_constant=_refuse, object_pairs_hook=_members
)
# Of answers a NaN is told apart from other texts, and is no matter where nobody asks for it.
_ANSWERS = json.JSONDecoder(
    parse_float=Number, parse_int=Number, parse_constant=Constant, object_pairs_hook=_members
)


def decode_record(text: str) -> Any:
    """One line of records, its numbers as they were written; raises ValueError for all that is not strictly JSON."""
    record = _decode(_RECORDS, text)
    if _HALF_PAIR.search(text):
        check_text(json.dumps(record, ensure_ascii=False))
    return record


def decode_answer(text: str) -> Any:
    """One JSON answer, its numbers as they were written, NaN and infinity as `Constant`; raises ValueError."""
    return _decode(_ANSWERS, text)


def decode_document(text: str, at: int) -> tuple[Any, int]:
    """The JSON document that begins at `at`, as `decode_answer` reads it, and where it ends.

    Raises:
        NotAllowedError: it is not read, whatever follows.
        json.JSONDecodeError: it is not JSON, or not all of it is there.
    """
    try:
        document, end = _ANSWERS.raw_decode(text, at)
    except RecursionError as error:
        raise NotAllowedError(_TOO_DEEP) from error
    _check_levels(document)
    return document, end


def _decode(decoder: json.JSONDecoder, text: str) -> Any:
    try:
        value = decoder.decode(text)
    except RecursionError as error:
        raise NotAllowedError(_TOO_DEEP) from error
    if text.count("[") + text.count("{") > MOST_LEVELS:
        _check_levels(value)
    return value


def _check_levels(value: Any) -> None:
    """Raise NotAllowedError for what nests too deep to be worked on by functions that call themselves."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MOST_LEVELS):
        if not level:
            return
        level = [
            one
            for outer in level
            for one in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(one, (dict, list))
        ]
    if level:
        raise NotAllowedError(_TOO_DEEP)


def check_text(text: str) -> None:
    """Raise NotAllowedError for text that no encoding has."""
    if not is_text(text):
        raise NotAllowedError("it escapes half a surrogate pair, which is not text")


def is_text(text: str) -> bool:
    """Whether the text has no half of a surrogate pair in it, which no encoding has."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def dumps(value: Any) -> str:
    """Nested JSON as text, its numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        members = (f"{json.dumps(key, ensure_ascii=False)}: {dumps(one)}" for key, one in value.items())
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dumps, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
