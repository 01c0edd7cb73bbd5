"""HTTP server of the built-in images: /ping, /invocations, /execution-parameters, with concurrent requests."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

DEFAULT_PORT = 8080
MODEL_DIR = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model"


@dataclass(frozen=True, slots=True)
class Request:
    body: bytes
    content_type: str | None
    accept: str | None

    def negotiate(self, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[str, str] | Response:
        """The media types of the body and of the answer, by default the first ones; or the refusal of another type."""
        content_type = _parse_media_type(self.content_type) or inputs[0]
        accept = _parse_media_type(self.accept) or outputs[0]
        if content_type not in inputs:
            text = f"Content-type {content_type!r} not supported; supported are {', '.join(inputs)}"
            return Response(text.encode(), "text/plain", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        if accept not in outputs:
            text = f"Accept type {accept!r} not supported; supported are {', '.join(outputs)}"
            return Response(text.encode(), "text/plain", HTTPStatus.NOT_ACCEPTABLE)
        return content_type, accept


def _parse_media_type(header: str | None) -> str:
    return (header or "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Response:
    body: bytes
    content_type: str = "application/json"
    status: int = HTTPStatus.OK


class Model(Protocol):
    """What an image does. `invoke` is called from several threads at once."""

    def invoke(self, request: Request) -> Response: ...

    def get_execution_parameters(self) -> bytes | None:
        """JSON, or None when the image has no /execution-parameters."""


class ModelServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    model: Model | None = None


class ModelRequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Small answers in two segments would wait 40 ms for the other side's acknowledgement.
    disable_nagle_algorithm = True
    server: ModelServer

    def do_GET(self) -> None:
        model, response = self.server.model, Response(b"", status=HTTPStatus.NOT_FOUND)
        if self.path == "/ping":
            response = Response(b"", status=HTTPStatus.OK if model else HTTPStatus.SERVICE_UNAVAILABLE)
        elif self.path == "/execution-parameters" and model is not None:
            parameters = model.get_execution_parameters()
            response = response if parameters is None else Response(parameters)
        self._answer(response)

    def do_POST(self) -> None:
        body = self._body()
        if self.path != "/invocations" or self.server.model is None:
            self._answer(Response(b"", status=HTTPStatus.NOT_FOUND))
            return
        accept = self.headers.get("Accept")
        wanted = None if accept in (None, "", "*/*") else accept
        request = Request(body, self.headers.get("Content-Type"), wanted)
        try:
            response = self.server.model.invoke(request)
        except Exception as error:  # noqa: BLE001 (whatever a user's script raises is this request's answer)
            traceback.print_exc()
            text = f"{type(error).__name__}: {error}"
            response = Response(text.encode(), "text/plain", HTTPStatus.INTERNAL_SERVER_ERROR)
        self._answer(response)

    def _body(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            continue
        return b"".join(parts)

    def _answer(self, response: Response) -> None:
        # A server that still loads is asked many times; those lines help nobody.
        if self.path != "/ping" or response.status == HTTPStatus.OK:
            # The access line, as gunicorn writes it.
            stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
            agent = self.headers.get("User-Agent", "-")
            sys.stdout.write(
                f'{self.client_address[0]} - - [{stamp}] "{self.requestline}" {int(response.status)} '
                f'{len(response.body)} "-" "{agent}"\n'
            )
            sys.stdout.flush()
        head = (
            f"HTTP/1.1 {int(response.status)} {HTTPStatus(response.status).phrase}\r\n"
            f"Content-Type: {response.content_type}\r\nContent-Length: {len(response.body)}\r\n\r\n"
        ).encode("latin-1")
        self.wfile.write(head + response.body)

    def log_message(self, *_: object) -> None:
        """The access line is written by `_answer`."""


def serve(load_model: Callable[[], Model]) -> None:
    """Listens on SAGEMAKER_BIND_TO_PORT at once, answers /ping with 200 after `load_model`, exits if it fails.

    SAGEMAKER_MODEL_SERVER_WORKERS processes share the port (default 1: several instances share this machine's cores).
    """
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", DEFAULT_PORT))
    server = ModelServer(("127.0.0.1", port), ModelRequestHandler)
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for _ in range(int(os.environ.get("SAGEMAKER_MODEL_SERVER_WORKERS", "1")) - 1):
        if os.fork() == 0:
            break

    def load_in_background() -> None:
        try:
            server.model = load_model()
        except Exception:  # noqa: BLE001 (any failure to load ends the container, with its traceback in the log)
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    threading.Thread(target=load_in_background, daemon=True).start()
    server.serve_forever()
