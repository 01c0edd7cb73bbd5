"""Finding the wanted part of one JSON answer: by name, by place, by path, or the whole of it.

`score`, `SageMakerOutput.score`, `probabilities[1]`, `0` (of an array) and `$` (the answer itself). A member whose
own name has dots or brackets is found by that name first.
"""

from __future__ import annotations

import json
import re
from typing import Any

from include.jobs.json_reading import Constant, Number, dumps, is_text

WHOLE = "$"
_STEP = re.compile(r"([^.\[\]]+)|\[(-?\d+)\]")
_SHOWN = 120


class MissingError(Exception):
    """The answer does not have the part; the text says how."""


def part(answer: Any, source: str, kind: str, nullable: bool) -> str:
    """The text of the answer's part `source` for a column of this kind, empty for a null; raises MissingError."""
    value = _find(answer, source)
    if nullable and (value is None or value == "NaN"):
        return ""
    if value is None:
        raise MissingError(f"{source!r} is null")
    if isinstance(value, Constant):
        raise MissingError(f"{source!r} is {value}")
    if kind == "json":
        if (constant := _constant_in(value)) is not None:
            raise MissingError(f"{source!r} holds {constant}, which is no JSON")
        return _text(json_text(value), source)
    if isinstance(value, (dict, list)):
        raise MissingError(
            f"{source!r} is {dumps(value)[:_SHOWN]}, allowed is one value; its type may be set to json"
        )
    if isinstance(value, bool):
        if kind != "string":
            raise MissingError(
                f"{source!r} is {str(value).lower()}, allowed is a number; its type may be set to string"
            )
        return str(value).lower()
    if kind != "string" and not isinstance(value, Number):
        raise MissingError(f"{source!r} is not a number but {value!r}; its type may be set to string")
    return _text(str(value), source)


def _text(text: str, source: str) -> str:
    if not is_text(text):
        raise MissingError(f"{source!r} escapes half a surrogate pair, which is not text,")
    return text


def _constant_in(value: Any) -> Constant | None:
    """The first NaN or infinity within a decoded value, if there is one; nulls are JSON."""
    if isinstance(value, Constant):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for found in map(_constant_in, inner) if found is not None), None)


def json_text(value: Any) -> str:
    """A decoded value as JSON again, its numbers as they were written."""
    return json.dumps(value, ensure_ascii=False) if type(value) is str else dumps(value)


def shown(answer: Any) -> str:
    """An answer, or the bytes of one, for a message."""
    text = (
        answer.decode("utf-8", "backslashreplace").rstrip("\r")
        if isinstance(answer, bytes)
        else dumps(answer)
    )
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _find(answer: Any, source: str) -> Any:
    if source == WHOLE:
        return answer
    if isinstance(answer, dict) and source in answer:
        return answer[source]
    if isinstance(answer, list) and source.lstrip("-").isdigit():
        return _step(answer, int(source), source)
    value = answer
    for name, index in _STEP.findall(source):
        value = _step(value, int(index) if index else name, source)
    return value


def _step(value: Any, step: str | int, source: str) -> Any:
    if isinstance(step, int):
        if not isinstance(value, list):
            raise MissingError(f"there is no array where {source!r} looks for one")
        if not -len(value) <= step < len(value):
            raise MissingError(f"{source!r} is beyond an array of {len(value)}")
        return value[step]
    if not isinstance(value, dict):
        raise MissingError(f"there is no object with {source!r}")
    if step not in value:
        raise MissingError(f"there is no {source!r}")
    return value[step]
