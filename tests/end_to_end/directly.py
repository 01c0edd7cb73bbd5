"""The sample's two models, computed in the test itself: no server, no SageMaker, no shard in between."""

from __future__ import annotations

import importlib.util
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy
import pandas

from local_aws.images.linear_learner.model import load_model


def input_lines(folder: Path) -> list[str]:
    """The lines of all input objects; the sample has no quoted line breaks."""
    return [
        line for path in sorted(folder.rglob("*")) if path.is_file() for line in path.read_text().splitlines()
    ]


def direct_predictions(artefacts: Path, rows: pandas.DataFrame) -> numpy.ndarray[Any, Any]:
    """Predicted rings for rows of the eight feature columns."""
    with tempfile.TemporaryDirectory() as folder:
        features = featurize(artefacts / "featurizer.tar.gz", Path(folder) / "featurizer", rows)
        weights, bias = load_linear_model(artefacts / "linear-learner.tar.gz", Path(folder) / "linear")
    return features @ weights + bias


def unpack_archive(archive: Path, folder: Path) -> Path:
    """The archive's content in a folder."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def featurize(archive: Path, folder: Path, rows: pandas.DataFrame) -> numpy.ndarray[Any, Any]:
    """What the featurizer's own functions make of the rows, as float32, which is what a Linear Learner reads."""
    unpack_archive(archive, folder)
    spec = importlib.util.spec_from_file_location("inference_under_test", folder / "code" / "inference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    body = rows.to_csv(index=False, header=False)
    return numpy.asarray(
        module.predict_fn(module.input_fn(body, "text/csv"), module.model_fn(str(folder))), dtype="float32"
    )


def load_linear_model(archive: Path, folder: Path) -> tuple[numpy.ndarray[Any, Any], float]:
    """Weights and bias of a Linear Learner artefact, read from the algorithm's own layout."""
    unpack_archive(archive, folder)
    model = load_model(folder)
    return model.weights[:, 0], float(model.bias[0])
