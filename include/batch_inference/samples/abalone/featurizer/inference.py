"""Serves the sample's featurizer in AWS's scikit-learn container: CSV in, scaled numbers as CSV out.

Self-contained: this file is in the model's artefact, as code/inference.py.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

NUMERIC = (
    "length",
    "diameter",
    "height",
    "whole_weight",
    "shucked_weight",
    "viscera_weight",
    "shell_weight",
)
COLUMNS = ("sex", *NUMERIC)
ARTEFACT = "featurizer.joblib"


def model_fn(model_dir: str) -> Any:
    return joblib.load(Path(model_dir) / ARTEFACT)


def input_fn(body: str | bytes, content_type: str) -> pd.DataFrame:
    """Parse CSV lines, with or without the label (rings) as ninth column; an empty cell is a missing value.

    Raises ValueError for another content type, and for a line with another number of columns than the first.
    """
    if content_type.split(";")[0].strip().lower() != "text/csv":
        raise ValueError(f"content type is {content_type!r}, this model takes text/csv")
    text = body.decode("utf-8") if isinstance(body, bytes) else body
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    rows = list(csv.reader(lines))
    width = len(rows[0]) if rows else len(COLUMNS)
    if width not in (len(COLUMNS), len(COLUMNS) + 1):
        raise ValueError(
            f"the first line has {width} columns, allowed are {len(COLUMNS)} or {len(COLUMNS) + 1}"
        )
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise ValueError(f"line {number} has {len(row)} columns, the first has {width}")
    cells = list(zip(*rows)) if rows else [()] * width
    data = {"sex": pd.Series([cell.strip() or None for cell in cells[0]], dtype=object)}
    for name, column in zip(NUMERIC, cells[1:]):
        data[name] = pd.Series([float(cell) if cell.strip() else np.nan for cell in column], dtype="float64")
    return pd.DataFrame(data, columns=list(COLUMNS))


def predict_fn(data: pd.DataFrame, model: Any) -> np.ndarray:
    if data.empty:
        return np.empty((0, 0))
    return np.asarray(model.transform(data), dtype="float64")


def output_fn(prediction: np.ndarray, accept: str) -> tuple[str, str]:
    """The features as CSV lines, in nine significant digits (all that a float32 holds)."""
    if accept.split(";")[0].strip().lower() not in ("text/csv", "*/*", ""):
        raise ValueError(f"accept is {accept!r}, this model returns text/csv")
    line = ",".join(["%.9g"] * prediction.shape[1]) + "\n"
    return "".join([line % tuple(row) for row in prediction.tolist()]), "text/csv"
