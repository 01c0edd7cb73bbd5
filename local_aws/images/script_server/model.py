"""A user's script as a model, as sagemaker-scikit-learn-container has it (`serving.py`, `_transformer.py`)."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from http import HTTPStatus
from types import ModuleType
from typing import Any

from local_aws.images.script_server.containers_library import install_framework_modules
from local_aws.images.script_server.encoding import (
    JSON,
    TEXT_TYPES,
    UnsupportedFormatError,
    add_charset,
    decode,
    encode,
)
from local_aws.images.script_server.script_source import fetch_source_folder
from local_aws.images.serving import MODEL_DIR, Request, Response


def load_script() -> ScriptModel:
    """Imports SAGEMAKER_PROGRAM from SAGEMAKER_SUBMIT_DIRECTORY and calls its model_fn."""
    install_framework_modules()
    folder = fetch_source_folder(os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY") or f"{MODEL_DIR}/code")
    program = os.environ.get("SAGEMAKER_PROGRAM", "inference.py")
    sys.path.insert(0, folder)
    module = importlib.import_module(program.removesuffix(".py").replace("/", "."))
    return ScriptModel(module, str(MODEL_DIR))


def default_input_fn(data: Any, content_type: str) -> Any:
    array = decode(data, content_type)
    return array.astype("float32") if content_type in TEXT_TYPES else array


def default_predict_fn(data: Any, model: Any) -> Any:
    return model.predict(data)


class ScriptModel:
    """The script's functions, the image's defaults for those it does not have.

    Raises TypeError when the script has transform_fn together with one of the functions it replaces, or no model_fn.
    """

    def __init__(self, module: ModuleType, model_dir: str) -> None:
        functions = {name: getattr(module, name, None) for name in ("input_fn", "predict_fn", "output_fn")}
        self._transform_fn: Callable[..., Any] | None = getattr(module, "transform_fn", None)
        if self._transform_fn is not None and any(functions.values()):
            raise TypeError(
                "Cannot use transform_fn implementation with input_fn, predict_fn, and/or output_fn"
            )
        if not hasattr(module, "model_fn"):
            raise TypeError(f"Please provide a model_fn implementation: {module.__name__} has none")
        self._input_fn = functions["input_fn"] or default_input_fn
        self._predict_fn = functions["predict_fn"] or default_predict_fn
        self._output_fn = functions["output_fn"] or encode
        self._execution_parameters_fn = getattr(module, "execution_parameters_fn", None)
        self._model = module.model_fn(model_dir)

    def get_execution_parameters(self) -> bytes | None:
        if self._execution_parameters_fn is None:
            return None
        answer = self._execution_parameters_fn()
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def invoke(self, request: Request) -> Response:
        content_type = request.content_type or JSON
        accept = request.accept or os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", JSON)
        # As there: only the two bare types arrive as text; "text/csv; charset=utf-8" arrives as bytes.
        content = request.body.decode(errors="replace") if content_type in TEXT_TYPES else request.body
        if self._transform_fn is not None:
            return _to_response(self._transform_fn(self._model, content, content_type, accept), accept)
        try:
            data = self._input_fn(content, content_type)
        except Exception as error:
            if _is_unsupported_format(error):
                return _error_response(error, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
            raise
        prediction = self._predict_fn(data, self._model)
        try:
            return _to_response(self._output_fn(prediction, accept), accept)
        except Exception as error:
            if _is_unsupported_format(error):
                return _error_response(error, HTTPStatus.NOT_ACCEPTABLE)
            raise


def _is_unsupported_format(error: Exception) -> bool:
    """Ours, or the class of that name from sagemaker_containers or sagemaker_inference that a script may raise."""
    return isinstance(error, UnsupportedFormatError) or type(error).__name__ == "UnsupportedFormatError"


def _to_response(result: Any, accept: str) -> Response:
    """A script may return the body, (body, content type), or an object like Flask's Response."""
    if hasattr(result, "get_data"):
        return Response(result.get_data(), result.headers.get("Content-Type", accept), result.status_code)
    body, content_type = result if isinstance(result, tuple) else (result, accept)
    return Response(body if isinstance(body, bytes) else str(body).encode(), add_charset(content_type))


def _error_response(error: Exception, status: HTTPStatus) -> Response:
    body = {
        "error": "UnsupportedFormatError",
        "error-message": f"Content type {error} is not supported by this framework.",
        "stack-trace": traceback.format_exc(),
    }
    return Response(json.dumps(body).encode(), JSON, status)
