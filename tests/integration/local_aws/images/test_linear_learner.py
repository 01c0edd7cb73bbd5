"""The Linear Learner image: its artefact, its formats, its scores."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from local_aws.images.linear_learner.formats import LinearLearner
from local_aws.images.linear_learner.model import load_model
from local_aws.images.linear_learner.mxnet_params import read_params
from local_aws.images.serving import Request, Response
from local_aws.runner.data.unpacking import UNPACK_LIMIT_VARIABLE, ArchiveTooLargeError


def ndarray(values: np.ndarray) -> bytes:
    """One dense float32 array as MXNet saves it."""
    head = struct.pack("<IiI", 0xF993FAC9, 0, values.ndim) + struct.pack(f"<{values.ndim}q", *values.shape)
    return head + struct.pack("<iii", 1, 0, 0) + values.astype("<f4").tobytes()


def params(**arrays: np.ndarray) -> bytes:
    names = b"".join(struct.pack("<Q", len(name) + 4) + b"arg:" + name.encode() for name in arrays)
    body = b"".join(ndarray(array) for array in arrays.values())
    return struct.pack("<QQQ", 0x112, 0, len(arrays)) + body + struct.pack("<Q", len(arrays)) + names


def artefact(
    folder: Path, weights: list[list[float]], bias: list[float], output: str, **extra: object
) -> Path:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        symbol = {"nodes": [{"op": "null"}, {"op": output}], "heads": [[1, 0, 0]]}
        archive.writestr("mx-mod-symbol.json", json.dumps(symbol))
        archive.writestr("additional-params.json", json.dumps(extra))
        archive.writestr(
            "mx-mod-0000.params", params(fc0_weight=np.array(weights), fc0_bias=np.array([bias]))
        )
    (folder / "model_algo-1").write_bytes(packed.getvalue())
    return folder


@pytest.fixture
def regressor(tmp_path: Path) -> LinearLearner:
    """y = 2a - b + 0.5"""
    where = artefact(tmp_path, [[2.0], [-1.0]], [0.5], "LinearRegressionOutput", predictor_type="regressor")
    return LinearLearner(load_model(where))


def ask(model: LinearLearner, body: str, content_type: str | None, accept: str | None = None) -> Response:
    return model.invoke(Request(body.encode(), content_type, accept))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv", "1,2\n3,4\n"),
        ("text/csv; charset=utf-8", "1,2\r\n3,4"),
        ("application/jsonlines", '{"features": [1, 2]}\n{"data": {"features": {"values": [3, 4]}}}\n'),
        ("application/json", '{"instances": [{"features": [1, 2]}, {"features": [3, 4]}]}'),
    ],
)
def test_every_input_format_gives_the_same_scores(
    regressor: LinearLearner, content_type: str, body: str
) -> None:
    answer = ask(regressor, body, content_type, "application/json")
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert json.loads(answer.body) == {"predictions": [{"score": 0.5}, {"score": 2.5}]}


def test_json_lines_are_one_answer_a_line(regressor: LinearLearner) -> None:
    answer = ask(regressor, "1,2\n3,4\n", "text/csv", "application/jsonlines")
    assert answer.body == b'{"score":0.5}\n{"score":2.5}\n'
    assert answer.content_type == "application/jsonlines"


@dataclass
class Recorded:
    """In place of a model: scores that AWS printed, whatever this machine's arithmetic would make of the records."""

    scores: list[float]
    feature_count: int = 1

    def predict(self, _rows: np.ndarray) -> list[dict[str, Any]]:
        return [{"score": score, "predicted_label": int(score >= 0.5)} for score in self.scores]


# Scores as AWS printed them in JSON answers, the float64 of a float32; and what it printed in JSON Lines.
RECORDED = [
    (0.9899773597717285, b'{"predicted_label":1,"score":0.989977359771728}\n'),
    (0.5041388273239136, b'{"predicted_label":1,"score":0.504138827323913}\n'),
    (0.04764571785926819, b'{"predicted_label":0,"score":0.047645717859268}\n'),
    (0.23794148862361908, b'{"predicted_label":0,"score":0.237941488623619}\n'),
    (0.3331327736377716, b'{"predicted_label":0,"score":0.333132773637771}\n'),
    (0.3215182423591614, b'{"predicted_label":0,"score":0.321518242359161}\n'),
    (0.05063043162226677, b'{"predicted_label":0,"score":0.050630431622266}\n'),
]


def test_json_lines_are_printed_as_aws_prints_them() -> None:
    """To the letter: no spaces, members sorted, scores cut after 15 decimals, where rounding gives another digit."""
    model = LinearLearner(Recorded([score for score, _ in RECORDED]))
    assert ask(model, "1\n" * len(RECORDED), "text/csv", "application/jsonlines").body == b"".join(
        line for _, line in RECORDED
    )


def test_json_is_printed_as_aws_prints_it() -> None:
    """To the letter: with spaces, the score first, every digit."""
    model = LinearLearner(Recorded([0.9899773597717285, 0.5041388273239136]))
    assert ask(model, "1\n1\n", "text/csv", "application/json").body == (
        b'{"predictions": [{"score": 0.9899773597717285, "predicted_label": 1}, '
        b'{"score": 0.5041388273239136, "predicted_label": 1}]}'
    )


@pytest.mark.parametrize(
    ("score", "printed"),
    [
        (-0.3331327736377716, "-0.333132773637771"),
        (1e-20, "0.0"),
        (1e300, "1e+300"),
        (12345.6789, "12345.6789"),
    ],
)
def test_scores_of_any_size_are_cut(score: float, printed: str) -> None:
    answer = ask(LinearLearner(Recorded([score])), "1\n", "text/csv", "application/jsonlines")
    assert answer.body.decode().endswith(f'"score":{printed}}}\n')


def test_the_scores_of_a_multiclass_classifier_are_cut_too(tmp_path: Path) -> None:
    where = artefact(
        tmp_path, [[1.0, 0.3, -1.0]], [0.0, 0.5, 0.0], "SoftmaxOutput", predictor_type="multiclass_classifier"
    )
    model = LinearLearner(load_model(where))
    (whole,) = json.loads(ask(model, "2\n", "text/csv", "application/json").body)["predictions"]
    cut = json.loads(ask(model, "2\n", "text/csv", "application/jsonlines").body)
    assert any(score != shorter for score, shorter in zip(whole["score"], cut["score"], strict=True))
    assert all(
        0 <= score - shorter < 1e-15 for score, shorter in zip(whole["score"], cut["score"], strict=True)
    )


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status", "words"),
    [
        ("1,2", "text/csv", "text/csv", 406, "Accept type 'text/csv' not supported"),
        ("1,2", "text/plain", None, 415, "Content-type 'text/plain' not supported"),
        ("1,2\n1,2,3", "text/csv", None, 400, "record 2 has 3 features, the model has 2"),
        ("1,x", "text/csv", None, 400, "not a number"),
        ('{"instances": [{"x": 1}]}', "application/json", None, 400, "unable to read the request"),
        ("{", "application/jsonlines", None, 400, "unable to read the request"),
    ],
)
def test_what_it_cannot_read_or_write_it_refuses(
    regressor: LinearLearner, body: str, content_type: str, accept: str | None, status: int, words: str
) -> None:
    answer = ask(regressor, body, content_type, accept)
    assert answer.status == status
    assert words in answer.body.decode()


def test_a_binary_classifier_answers_label_and_score_with_its_own_threshold(tmp_path: Path) -> None:
    where = artefact(
        tmp_path,
        [[1.0]],
        [0.0],
        "LogisticRegressionOutput",
        predictor_type="binary_classifier",
        threshold=0.7,
    )
    lines = ask(
        LinearLearner(load_model(where)), "0\n0.8\n1\n-1000\n", "text/csv", "application/jsonlines"
    ).body
    rows = [json.loads(line) for line in lines.splitlines()]
    assert [row["predicted_label"] for row in rows] == [0, 0, 1, 0]
    assert [row["score"] for row in rows] == pytest.approx(
        [0.5, 1 / (1 + np.exp(-0.8)), 1 / (1 + np.exp(-1.0)), 0.0], abs=1e-6
    )


def test_a_multiclass_classifier_answers_the_likeliest_class_and_all_scores(tmp_path: Path) -> None:
    where = artefact(
        tmp_path, [[1.0, 0.0, -1.0]], [0.0, 0.5, 0.0], "SoftmaxOutput", predictor_type="multiclass_classifier"
    )
    lines = ask(LinearLearner(load_model(where)), "2\n0\n-2\n", "text/csv", "application/jsonlines").body
    rows = [json.loads(line) for line in lines.splitlines()]
    assert [row["predicted_label"] for row in rows] == [0, 1, 2]
    powers = np.exp([2.0, 0.5, -2.0])
    assert rows[0]["score"] == pytest.approx(list(powers / powers.sum()), abs=1e-6)


def test_a_hinge_loss_classifier_scores_without_a_sigmoid(tmp_path: Path) -> None:
    where = artefact(tmp_path, [[1.0]], [0.0], "MakeLoss", predictor_type="binary_classifier", threshold=0.0)
    answer = ask(LinearLearner(load_model(where)), "-3\n3\n", "text/csv", "application/jsonlines")
    assert [json.loads(line) for line in answer.body.splitlines()] == [
        {"predicted_label": 0, "score": -3.0},
        {"predicted_label": 1, "score": 3.0},
    ]


def test_the_members_may_lie_in_the_folder_itself(tmp_path: Path) -> None:
    packed = (
        artefact(tmp_path, [[2.0]], [0.0], "LinearRegressionOutput", predictor_type="regressor")
        / "model_algo-1"
    )
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path)
    packed.unlink()
    assert load_model(tmp_path).predict(np.array([[3.0]], dtype=np.float32)) == [{"score": 6.0}]


def test_a_folder_without_an_artefact_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"mx-mod-0000\.params"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"x" * 24, "not an MXNet NDArray list"),
        (params(a_weight=np.zeros((2, 1)))[:-20], "ends at byte"),
        (b"\x12\x01" + b"\0" * 4, "ends at byte"),
    ],
)
def test_a_file_that_is_no_params_file_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_params(data)


def test_parameters_beyond_the_limit_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive in the model's archive is small; other members are not read at all."""
    where = artefact(tmp_path, [[2.0], [-1.0]], [0.5], "LinearRegressionOutput", predictor_type="regressor")
    with zipfile.ZipFile(where / "model_algo-1", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("other", bytes(1024 * 1024))
    monkeypatch.setenv(UNPACK_LIMIT_VARIABLE, "4096")
    assert load_model(where).feature_count == 2
    monkeypatch.setenv(UNPACK_LIMIT_VARIABLE, "100")
    with pytest.raises(ArchiveTooLargeError, match="unpacked_archive_mb"):
        load_model(where)
