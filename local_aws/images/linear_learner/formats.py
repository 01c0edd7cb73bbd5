"""Linear Learner's request and response formats."""

from __future__ import annotations

import csv
import io
import json
from decimal import ROUND_DOWN, Decimal
from http import HTTPStatus
from typing import Any

import numpy as np
from numpy.typing import NDArray

from local_aws.images.linear_learner.model import LinearModel
from local_aws.images.serving import Request, Response

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
INPUT_TYPES = (JSON, CSV, JSON_LINES)
OUTPUT_TYPES = (JSON, JSON_LINES)
# JSON Lines, unlike JSON, has no more decimals of a score than these: the rest is cut, not rounded.
SCORE_STEP = Decimal("1e-15")


class BadRecordError(ValueError):
    """A record that the algorithm cannot score: HTTP 400."""


class LinearLearner:
    """The model behind /invocations."""

    def __init__(self, model: LinearModel) -> None:
        self._model = model

    def get_execution_parameters(self) -> bytes:
        return b'{"MaxConcurrentTransforms": 4, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}'

    def invoke(self, request: Request) -> Response:
        types = request.negotiate(INPUT_TYPES, OUTPUT_TYPES)
        if isinstance(types, Response):
            return types
        content_type, accept = types
        try:
            answers = self._model.predict(read_rows(request.body, content_type, self._model.feature_count))
        except BadRecordError as error:
            return Response(str(error).encode(), "text/plain", HTTPStatus.BAD_REQUEST)
        if accept == JSON_LINES:
            return Response("".join(f"{_json_line(answer)}\n" for answer in answers).encode(), JSON_LINES)
        return Response(json.dumps({"predictions": answers}).encode(), JSON)


def read_rows(body: bytes, content_type: str, feature_count: int) -> NDArray[np.float32]:
    """(records, features); raises BadRecordError naming the first record that does not fit."""
    try:
        text = body.decode()
        rows = _READERS[content_type](text)
    except (ValueError, KeyError, TypeError) as error:
        raise BadRecordError(f"unable to read the request as {content_type}: {error}") from error
    for number, row in enumerate(rows, start=1):
        if len(row) != feature_count:
            raise BadRecordError(f"record {number} has {len(row)} features, the model has {feature_count}")
    try:
        return np.array(rows, dtype=np.float32).reshape(len(rows), feature_count)
    except (ValueError, TypeError) as error:
        raise BadRecordError(f"not a number: {error}") from error


def _read_csv(text: str) -> list[list[Any]]:
    return [row for row in csv.reader(io.StringIO(text)) if row]


def _read_json(text: str) -> list[list[Any]]:
    return [_features(instance) for instance in json.loads(text)["instances"]]


def _read_json_lines(text: str) -> list[list[Any]]:
    return [_features(json.loads(line)) for line in text.splitlines() if line.strip()]


_READERS = {CSV: _read_csv, JSON: _read_json, JSON_LINES: _read_json_lines}


def _features(record: dict[str, Any]) -> list[Any]:
    """{"features": [...]} or {"data": {"features": {"values": [...]}}}."""
    values = record["features"] if "features" in record else record["data"]["features"]["values"]
    if not isinstance(values, list):
        raise TypeError(f"features is a list of numbers, found {type(values).__name__}")
    return values


def _json_line(answer: dict[str, Any]) -> str:
    """As AWS writes it: members sorted, no spaces, scores cut."""
    score = answer["score"]
    cut = [_truncate(value) for value in score] if isinstance(score, list) else _truncate(score)
    return json.dumps({**answer, "score": cut}, separators=(",", ":"), sort_keys=True)


def _truncate(score: float) -> float:
    # A float of 10 or more has at most 15 decimals anyway.
    return score if abs(score) >= 10 else float(Decimal(repr(score)).quantize(SCORE_STEP, ROUND_DOWN))
