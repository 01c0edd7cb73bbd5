"""A booster behind /invocations, as sagemaker-xgboost-container serves it in algorithm mode."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

from local_aws.images.serving import Request, Response

CSV, LIBSVM, JSON, JSON_LINES = "text/csv", "text/libsvm", "application/json", "application/jsonlines"
INPUT_TYPES, OUTPUT_TYPES = (CSV, LIBSVM), (CSV, JSON, JSON_LINES)


def load_booster(folder: Path) -> BoosterModel:
    """Reads the one model file of the artefact: pickled, as older images left it, or saved by the library.

    Raises ModuleNotFoundError when xgboost is not installed and FileNotFoundError when there is no model file.
    """
    try:
        library: Any = importlib.import_module("xgboost")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the embedded AWS serves this image with xgboost, which its Python does not have: {sys.executable} -m pip "
            f"install xgboost ({error})"
        ) from error
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    if not files:
        raise FileNotFoundError(f"no model file in {folder}")
    try:
        booster = pickle.loads(files[0].read_bytes())  # noqa: S301 (the artefact is code already, as on AWS)
    except (pickle.UnpicklingError, EOFError, ValueError, ImportError, AttributeError, IndexError, KeyError):
        booster = library.Booster()
        booster.load_model(str(files[0]))
    return BoosterModel(library, booster)


class BoosterModel:
    """Predictions of a Booster; `library` is the xgboost module."""

    def __init__(self, library: Any, booster: Any) -> None:
        self._library = library
        self._booster = booster

    def get_execution_parameters(self) -> bytes:
        # As AWS's image: one request a core (sagemaker.md, section 4).
        body = {
            "MaxConcurrentTransforms": os.cpu_count() or 1,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": 6,
        }
        return json.dumps(body).encode()

    def invoke(self, request: Request) -> Response:
        types = request.negotiate(INPUT_TYPES, OUTPUT_TYPES)
        if isinstance(types, Response):
            return types
        content_type, accept = types
        try:
            matrix = self._library.DMatrix(
                _parse_rows(request.body.decode(), content_type, self._booster.num_features())
            )
        except ValueError as error:
            text = f"Unable to read the request: {error}"
            return Response(text.encode(), "text/plain", HTTPStatus.BAD_REQUEST)
        scores = self._booster.predict(matrix, validate_features=False).tolist()
        if accept == CSV:
            lines = "".join(f"{_format_score(score)}\n" for score in scores)
            return Response(lines.encode(), f"{CSV}; charset=utf-8")
        answers = [{"score": score} for score in scores]
        if accept == JSON_LINES:
            return Response("".join(json.dumps(answer) + "\n" for answer in answers).encode(), JSON_LINES)
        return Response(json.dumps({"predictions": answers}).encode(), JSON)


def _format_score(score: Any) -> str:
    return ",".join(map(str, score)) if isinstance(score, list) else str(score)


def _parse_rows(text: str, content_type: str, features: int) -> Any:
    """(records, features); cells left empty are missing values. Raises ValueError."""
    import numpy as np

    lines = [line for line in text.splitlines() if line.strip()]
    table = np.full((len(lines), features), np.nan, dtype=np.float32)
    for number, line in enumerate(lines):
        if content_type == LIBSVM:
            for pair in line.split()[1 if ":" not in line.split()[0] else 0 :]:
                index, _, value = pair.partition(":")
                table[number, int(index)] = float(value)
            continue
        cells = line.split(",")
        if len(cells) != features:
            raise ValueError(f"record {number + 1} has {len(cells)} features, the model has {features}")
        table[number] = [float(cell) if cell.strip() else np.nan for cell in cells]
    return table
