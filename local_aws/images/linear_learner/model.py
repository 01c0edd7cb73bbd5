"""The artefact of Linear Learner: weights, kind of predictor, threshold; and its scores."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from local_aws.images.linear_learner.mxnet_params import read_params
from local_aws.runner.data.unpacking import ArchiveTooLargeError, read_unpack_limit

ARCHIVE_NAME = "model_algo-1"
MEMBER_NAMES = ("mx-mod-0000.params", "additional-params.json", "mx-mod-symbol.json")
# What the last layer does to w·x + b, by the operator in mx-mod-symbol.json; all others leave it as it is.
SIGMOID, SOFTMAX = "LogisticRegressionOutput", "SoftmaxOutput"


@dataclass(frozen=True)
class LinearModel:
    """`weights` is (features, outputs), `bias` (outputs,), both float32."""

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    predictor_type: str
    threshold: float
    output_operator: str

    @property
    def feature_count(self) -> int:
        return int(self.weights.shape[0])

    def predict(self, rows: NDArray[np.float32]) -> list[dict[str, Any]]:
        """One answer a row of `rows` (records, features), members as the algorithm names and orders them."""
        raw = rows.astype(np.float32) @ self.weights + self.bias
        if self.predictor_type == "multiclass_classifier":
            scores = _softmax(raw) if self.output_operator == SOFTMAX else raw
            labels = scores.argmax(axis=1)
            return [
                {"score": row.tolist(), "predicted_label": int(label)}
                for label, row in zip(labels, scores, strict=True)
            ]
        column = raw[:, 0]
        if self.output_operator == SIGMOID:
            column = _sigmoid(column)
        if self.predictor_type == "regressor":
            return [{"score": float(score)} for score in column]
        return [{"score": float(score), "predicted_label": int(score >= self.threshold)} for score in column]


def load_model(folder: Path) -> LinearModel:
    """Reads the zip `model_algo-1`, or its members if they lie in the folder itself.

    Raises FileNotFoundError or ValueError saying what is missing, ArchiveTooLargeError when it is beyond the limit.
    """
    members = _members(folder)
    for name in MEMBER_NAMES:
        if name not in members:
            raise FileNotFoundError(
                f"{name} not found in {folder}, neither in {ARCHIVE_NAME} nor in the folder itself"
            )
    arrays = {
        name.partition(":")[2]: array for name, array in read_params(members["mx-mod-0000.params"]).items()
    }
    extra = json.loads(members["additional-params.json"])
    symbol = json.loads(members["mx-mod-symbol.json"])
    weights, bias = _weight_and_bias(arrays)
    return LinearModel(
        weights=weights,
        bias=bias,
        predictor_type=extra["predictor_type"],
        threshold=float(extra.get("threshold") or 0.5),
        output_operator=str(symbol["nodes"][symbol["heads"][0][0]]["op"]),
    )


def _members(folder: Path) -> dict[str, bytes]:
    archive = folder / ARCHIVE_NAME
    if archive.is_file():
        with zipfile.ZipFile(archive) as packed:
            found = [each for each in packed.infolist() if each.filename in MEMBER_NAMES]
            limit = read_unpack_limit()
            if sum(each.file_size for each in found) > limit:
                raise ArchiveTooLargeError(limit)
            return {each.filename: packed.read(each) for each in found}
    return {name: (folder / name).read_bytes() for name in MEMBER_NAMES if (folder / name).is_file()}


def _weight_and_bias(
    arrays: dict[str, NDArray[np.generic]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weights = [array for name, array in arrays.items() if name.endswith("_weight")]
    biases = [array for name, array in arrays.items() if name.endswith("_bias")]
    if len(weights) != 1 or len(biases) != 1:
        raise ValueError(f"one weight and one bias array expected, found {sorted(arrays)}")
    return np.atleast_2d(weights[0]).astype(np.float32), biases[0].reshape(-1).astype(np.float32)


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # As MXNet computes it; for very negative values exp overflows to infinity and the score is 0, as there.
    one = np.float32(1.0)
    with np.errstate(over="ignore"):
        return np.asarray(one / (one + np.exp(-values)), dtype=np.float32)


def _softmax(values: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
