"""HTTP client of the model containers on one instance, with the headers of SageMaker's agent."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_aws.runner.data.s3_objects import S3Address
from local_aws.runner.data.unpacking import GZIP_ERRORS, gunzip
from local_aws.runner.transform.spool import CHUNK_BYTES, RequestBody, Spool

LOOPBACK = "127.0.0.1"
# As Go's client sends with every request; an answer that comes compressed is decompressed before anyone sees it.
AGENT_HEADERS = {"User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip"}


class NoResponseError(Exception):
    """The container did not answer: it refused, broke or did not finish the connection."""


class ResponseTimeoutError(NoResponseError):
    """The container did not answer in time."""


@dataclass(slots=True)
class ContainerResponse:
    status: int
    content_type: str | None
    spool: Spool


class ContainerConnection:
    """A kept-alive connection to one container; for one thread."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._folder = folder
        self._http: http.client.HTTPConnection | None = None

    def post(self, body: RequestBody, headers: dict[str, str], timeout_seconds: float) -> ContainerResponse:
        """POST /invocations; raises NoResponseError, or ResponseTimeoutError after `timeout_seconds`."""
        kept_alive = self._http is not None
        try:
            return self._post(body, headers, timeout_seconds)
        except TimeoutError as error:
            self.close()
            raise ResponseTimeoutError(f"no response within {timeout_seconds:g} seconds") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not kept_alive:
                raise NoResponseError(str(error) or type(error).__name__) from error
        except BaseException:
            self.close()  # the body could not be read: half a request was sent
            raise
        # The server may have closed the idle connection just before: Go's client, too, then opens a new one.
        return self.post(body, headers, timeout_seconds)

    def _post(self, body: RequestBody, headers: dict[str, str], seconds: float) -> ContainerResponse:
        deadline = time.monotonic() + seconds
        connection = self._http or http.client.HTTPConnection(LOOPBACK, self._port, timeout=seconds)
        self._http = connection
        if connection.sock is None:
            connection.timeout = seconds
            connection.connect()  # which also sets TCP_NODELAY
        connection.sock.settimeout(seconds)
        connection.putrequest("POST", "/invocations", skip_accept_encoding=True)
        framing = (
            {"Transfer-Encoding": "chunked"} if body.length is None else {"Content-Length": str(body.length)}
        )
        for name, value in {**AGENT_HEADERS, **headers, **framing}.items():
            connection.putheader(name, value)
        connection.endheaders()
        # A server may refuse (413) before it has read everything: its answer is still worth reading.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            _send_body(connection, body)
        connection.sock.settimeout(max(0.001, deadline - time.monotonic()))
        response = connection.getresponse()
        answer = ContainerResponse(response.status, response.getheader("Content-Type"), Spool(self._folder))
        try:
            for piece in _decode_chunks(response, _read_chunks(response, connection.sock, deadline)):
                answer.spool.write(piece)
        except GZIP_ERRORS as error:
            message = f"the response has Content-Encoding gzip but is not gzip: {error}"
            raise NoResponseError(message) from error
        if response.will_close:
            self.close()
        return answer

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
        self._http = None


def _send_body(connection: http.client.HTTPConnection, body: RequestBody) -> None:
    for piece in body.iter_chunks():
        if body.length is None:
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        else:
            connection.send(piece)
    if body.length is None:
        connection.send(b"0\r\n\r\n")


def _read_chunks(
    response: http.client.HTTPResponse, sock: socket.socket | None, deadline: float
) -> Iterator[bytes]:
    while piece := response.read(CHUNK_BYTES):
        yield piece
        rest = deadline - time.monotonic()
        if rest <= 0:
            raise TimeoutError
        if sock is not None and sock.fileno() >= 0:
            sock.settimeout(rest)


def _decode_chunks(response: http.client.HTTPResponse, pieces: Iterable[bytes]) -> Iterable[bytes]:
    """Raises zlib.error or EOFError while it is read."""
    is_gzip = (response.getheader("Content-Encoding") or "").strip().lower() == "gzip"
    return gunzip(pieces) if is_gzip else pieces


def build_input_object_headers(address: S3Address) -> dict[str, str]:
    """Headers that name the input object of a request, as AWS sends them.

    The first header holds printable ASCII only: otherwise it is left out; the other has the name as Base64 of UTF-8.
    """
    name = f"{address.bucket}/{address.key}"
    headers = {"X-Amzn-Sagemaker-Input-Object-Base64": base64.b64encode(name.encode()).decode()}
    if name.isascii() and name.isprintable():
        headers["X-Amzn-Sagemaker-Input-Object"] = name
    return headers


def send_get(port: int, path: str, timeout_seconds: float) -> tuple[int, bytes] | None:
    """GET on a fresh connection: status and body, or None without an answer."""
    try:
        return _send_get(port, path, timeout_seconds)
    except (OSError, http.client.HTTPException, *GZIP_ERRORS):
        return None


def _send_get(port: int, path: str, timeout_seconds: float) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout_seconds)
    try:
        connection.request("GET", path, headers=AGENT_HEADERS)
        response = connection.getresponse()
        return response.status, b"".join(_decode_chunks(response, [response.read()]))
    finally:
        connection.close()


def fetch_execution_parameters(port: int, timeout_seconds: float) -> dict[str, Any] | None:
    """GET /execution-parameters; None if there is no response in time, in which case one may ask again.

    Empty if the container has no such path, closes the connection instead, or its response is not a JSON object.
    """
    try:
        status, body = _send_get(port, "/execution-parameters", timeout_seconds)
        values = json.loads(body) if status == 200 else {}
    except (TimeoutError, ConnectionRefusedError):
        return None
    except (OSError, http.client.HTTPException, *GZIP_ERRORS, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


class InferencePipelineClient:
    """Calls the containers of an inference pipeline one after the other; for one thread."""

    def __init__(self, ports: list[int], folder: Path, max_hop_bytes: int | None) -> None:
        self._connections = [ContainerConnection(port, folder) for port in ports]
        self._folder = folder
        self._hop_limit = max_hop_bytes

    def invoke(
        self,
        body: RequestBody,
        content_type: str | None,
        accept: str | None,
        timeout_seconds: float,
        object_headers: Mapping[str, str],
    ) -> ContainerResponse:
        """The last container's response, or the first that is not 2xx.

        `object_headers` name the input object and go to every container. The job's ContentType goes to the
        first container, its Accept to the last; between them, each response's Content-Type is passed on unchanged.
        Raises NoResponseError or ResponseTimeoutError.
        """
        response: ContainerResponse | None = None
        for number, connection in enumerate(self._connections):
            headers = dict(object_headers)
            if content_type is not None:
                headers["Content-Type"] = content_type
            if number == len(self._connections) - 1 and accept is not None:
                headers["Accept"] = accept
            if response is not None and self._hop_limit is not None and response.spool.size > self._hop_limit:
                response.spool.close()
                too_large = Spool(self._folder)
                too_large.write(b"Request Entity Too Large")
                return ContainerResponse(413, "text/plain", too_large)
            previous = response
            try:
                response = connection.post(body, headers, timeout_seconds)
            finally:
                if previous is not None:
                    previous.spool.close()
            if not 200 <= response.status < 300:
                return response
            body = RequestBody(response.spool.size, response.spool.iter_chunks)
            content_type = response.content_type
        if response is None:
            raise NoResponseError("the model has no containers")
        return response

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
