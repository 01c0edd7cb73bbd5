"""The scikit-learn image: a user's functions, and the image's for those that are missing."""

from __future__ import annotations

import io
import json
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from local_aws.images.script_server.model import ScriptModel
from local_aws.images.serving import Request, Response


class Doubler:
    def predict(self, data: Any) -> Any:
        return data * 2


def script(**functions: Any) -> ScriptModel:
    module = ModuleType("inference")
    module.__file__ = "inference.py"
    vars(module).update({"model_fn": lambda folder: Doubler(), **functions})
    return ScriptModel(module, "/opt/ml/model")


def ask(
    model: ScriptModel, body: bytes, content_type: str | None = None, accept: str | None = None
) -> Response:
    return model.invoke(Request(body, content_type, accept))


def test_the_defaults_read_predict_and_write_csv_json_and_npy() -> None:
    model = script()
    assert ask(model, b"1,2\n3,4\n", "text/csv", "text/csv").body == b"2.0,4.0\n6.0,8.0\n"
    assert json.loads(ask(model, b"[[1, 2]]", "application/json", "application/json").body) == [[2.0, 4.0]]
    npy = io.BytesIO()
    np.save(npy, np.array([1, 2]))
    answer = ask(model, npy.getvalue(), "application/x-npy", "application/x-npy")
    assert np.load(io.BytesIO(answer.body)).tolist() == [2, 4]


def test_without_headers_it_is_json_in_and_the_default_accept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = script()
    assert ask(model, b"[1]").content_type == "application/json"
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv")
    answer = ask(model, b"[1, 2]")
    assert (answer.body, answer.content_type) == (b"2.0\n4.0\n", "text/csv; charset=utf-8")


def test_a_charset_makes_the_body_bytes_as_in_awss_image() -> None:
    seen: list[tuple[type, str]] = []

    def input_fn(data: Any, content_type: str) -> Any:
        seen.append((type(data), content_type))
        return data

    model = script(
        input_fn=input_fn, predict_fn=lambda data, model: data, output_fn=lambda data, accept: data
    )
    ask(model, b"1", "text/csv")
    ask(model, b"1", "text/csv; charset=utf-8")
    assert seen == [(str, "text/csv"), (bytes, "text/csv; charset=utf-8")]


def test_formats_without_a_codec_are_415_and_406() -> None:
    model = script()
    refused = ask(model, b"x", "text/weird")
    assert (refused.status, json.loads(refused.body)["error"]) == (415, "UnsupportedFormatError")
    assert ask(model, b"1,2", "text/csv", "text/weird").status == 406


def test_output_fn_may_return_a_body_a_pair_or_a_flask_response() -> None:
    class Flask:
        headers = {"Content-Type": "x/y"}  # noqa: RUF012 (as Flask has it)
        status_code = 201

        def get_data(self) -> bytes:
            return b"flask"

    for result, expected in {
        "text": (b"text", "text/csv; charset=utf-8", 200),
        b"bytes": (b"bytes", "text/csv; charset=utf-8", 200),
        ("pair", "a/b"): (b"pair", "a/b", 200),
    }.items():
        answer = ask(script(output_fn=lambda data, accept, it=result: it), b"1", "text/csv", "text/csv")
        assert (answer.body, answer.content_type, answer.status) == expected
    answer = ask(script(output_fn=lambda data, accept: Flask()), b"1", "text/csv", "text/csv")
    assert (answer.body, answer.content_type, answer.status) == (b"flask", "x/y", 201)


def test_transform_fn_takes_the_place_of_the_three_others() -> None:
    model = script(
        transform_fn=lambda model, body, content_type, accept: (f"{content_type}>{accept}", accept)
    )
    assert ask(model, b"", "text/csv", "a/b").body == b"text/csv>a/b"
    with pytest.raises(TypeError, match="Cannot use transform_fn"):
        script(transform_fn=lambda *_: None, predict_fn=lambda *_: None)


def test_a_script_without_model_fn_is_refused() -> None:
    with pytest.raises(TypeError, match="Please provide a model_fn implementation"):
        ScriptModel(ModuleType("inference"), "/opt/ml/model")


def test_an_error_in_the_script_is_the_callers_to_see() -> None:
    def predict_fn(data: Any, model: Any) -> Any:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        ask(script(predict_fn=predict_fn), b"1", "text/csv")
