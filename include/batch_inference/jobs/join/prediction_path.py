"""Extracts a field of a JSON prediction: by name, by index, by path, or all of it.

`score`, `SageMakerOutput.score`, `probabilities[1]`, `0` (of an array) and `$` (the prediction itself). A member whose
name has dots or brackets is found by that name first.
"""

from __future__ import annotations

import re
from typing import Any

from batch_inference.jobs.common.cell_types import is_number_type
from batch_inference.jobs.common.json_reading import (
    MAX_SHOWN,
    JsonNumber,
    NonFiniteJsonNumber,
    dumps,
    format_excerpt,
    is_encodable,
)

WHOLE_PREDICTION = "$"
_STEP = re.compile(r"([^.\[\]]+)|\[(-?\d+)\]")


class PredictionFieldError(Exception):
    """The prediction does not have the field, or not as wanted; the message says why."""


def extract_text(prediction: Any, path: str, column_type: str, nullable: bool) -> str:
    """Extract the text of the field at `path`, empty for null. Raises PredictionFieldError."""
    value = _find_value(prediction, path)
    if nullable and (value is None or value == "NaN"):
        return ""
    if value is None:
        raise PredictionFieldError(f"{path!r} is null")
    if isinstance(value, NonFiniteJsonNumber):
        raise PredictionFieldError(f"{path!r} is {value}")
    if column_type == "json":
        if (constant := _find_constant(value)) is not None:
            raise PredictionFieldError(f"{path!r} holds {constant}, which is not JSON")
        return _check_encodable(dumps(value), path)
    if isinstance(value, (dict, list)):
        raise PredictionFieldError(
            f"{path!r} is {dumps(value)[:MAX_SHOWN]}, allowed is one value; its type may be set to json"
        )
    if isinstance(value, bool):
        if column_type not in ("string", "boolean"):
            allowed = "a number" if is_number_type(column_type) else f"a {column_type}"
            raise PredictionFieldError(
                f"{path!r} is {str(value).lower()}, allowed is {allowed}; its type may be set to string"
            )
        return str(value).lower()
    # A decimal may be a text, since many programs read numbers as doubles.
    if column_type in ("integer", "float") and not isinstance(value, JsonNumber):
        raise PredictionFieldError(f"{path!r} is not a number but {value!r}; its type may be set to string")
    return _check_encodable(str(value), path)


def _check_encodable(text: str, source: str) -> str:
    if not is_encodable(text):
        raise PredictionFieldError(f"{source!r} escapes half a surrogate pair, which is not text,")
    return text


def _find_constant(value: Any) -> NonFiniteJsonNumber | None:
    """Find the first NaN or infinity within a decoded value, or None."""
    if isinstance(value, NonFiniteJsonNumber):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for found in map(_find_constant, inner) if found is not None), None)


def format_prediction(prediction: Any) -> str:
    """Format a prediction, decoded or as bytes, for a message."""
    text = (
        prediction.decode("utf-8", "backslashreplace").rstrip("\r")
        if isinstance(prediction, bytes)
        else dumps(prediction)
    )
    return format_excerpt(text)


def _find_value(prediction: Any, path: str) -> Any:
    if path == WHOLE_PREDICTION:
        return prediction
    if isinstance(prediction, dict) and path in prediction:
        return prediction[path]
    if isinstance(prediction, list) and path.lstrip("-").isdigit():
        return _descend(prediction, int(path), path)
    value = prediction
    for name, index in _STEP.findall(path):
        value = _descend(value, int(index) if index else name, path)
    return value


def _descend(value: Any, step: str | int, source: str) -> Any:
    if isinstance(step, int):
        if not isinstance(value, list):
            raise PredictionFieldError(f"there is no array where {source!r} looks for one")
        if not -len(value) <= step < len(value):
            raise PredictionFieldError(f"{source!r} is beyond an array of {len(value)}")
        return value[step]
    if not isinstance(value, dict):
        raise PredictionFieldError(f"there is no object with {source!r}")
    if step not in value:
        raise PredictionFieldError(f"there is no {source!r}")
    return value[step]
