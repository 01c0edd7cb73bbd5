"""HTTP to the containers on one instance, as the service's agent speaks it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.local_aws.runner.gunzip import gunzip
from include.local_aws.runner.s3 import Address
from include.local_aws.runner.transform.spool import PIECE_BYTES, Body, Spool

USER_AGENT = "Go-http-client/1.1"
HOST = "127.0.0.1"
# As Go's client asks with every request; an answer that comes compressed is decompressed before anyone sees it.
ACCEPT_ENCODING = "gzip"


class NoAnswerError(Exception):
    """The container did not answer: it refused, broke or did not finish the connection."""


class TimedOutError(NoAnswerError):
    """The container did not answer in time."""


@dataclass(slots=True)
class Answer:
    status: int
    content_type: str | None
    spool: Spool


class Connection:
    """A kept-alive connection to one container; for one thread."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._folder = folder
        self._http: http.client.HTTPConnection | None = None

    def post(self, body: Body, headers: dict[str, str], seconds: float) -> Answer:
        """POST /invocations; raises NoAnswerError or TimedOutError after at most `seconds`."""
        kept_alive = self._http is not None
        try:
            return self._post(body, headers, seconds)
        except TimeoutError as error:
            self.close()
            raise TimedOutError(f"no answer within {seconds:g} seconds") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not kept_alive:
                raise NoAnswerError(str(error) or type(error).__name__) from error
        except BaseException:
            self.close()  # the body could not be read: half a request was sent
            raise
        # The server may have closed the idle connection just before: Go's client, too, then opens a new one.
        return self.post(body, headers, seconds)

    def _post(self, body: Body, headers: dict[str, str], seconds: float) -> Answer:
        deadline = time.monotonic() + seconds
        connection = self._http or http.client.HTTPConnection(HOST, self._port, timeout=seconds)
        self._http = connection
        if connection.sock is None:
            connection.timeout = seconds
            connection.connect()  # which also sets TCP_NODELAY
        connection.sock.settimeout(seconds)
        connection.putrequest("POST", "/invocations", skip_accept_encoding=True)
        framing = (
            ("Transfer-Encoding", "chunked") if body.length is None else ("Content-Length", str(body.length))
        )
        always = {"User-Agent": USER_AGENT, "Accept-Encoding": ACCEPT_ENCODING}
        for name, value in {**always, **headers, framing[0]: framing[1]}.items():
            connection.putheader(name, value)
        connection.endheaders()
        # A server may refuse (413) before it has read everything: its answer is still worth reading.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            _send(connection, body)
        connection.sock.settimeout(max(0.001, deadline - time.monotonic()))
        response = connection.getresponse()
        answer = Answer(response.status, response.getheader("Content-Type"), Spool(self._folder))
        try:
            for piece in _decoded(response, _pieces(response, connection.sock, deadline)):
                answer.spool.write(piece)
        except (zlib.error, EOFError) as error:
            raise NoAnswerError(f"the answer is not what its Content-Encoding gzip says: {error}") from error
        if response.will_close:
            self.close()
        return answer

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
        self._http = None


def _send(connection: http.client.HTTPConnection, body: Body) -> None:
    for piece in body.pieces():
        if body.length is None:
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        else:
            connection.send(piece)
    if body.length is None:
        connection.send(b"0\r\n\r\n")


def _pieces(
    response: http.client.HTTPResponse, sock: socket.socket | None, deadline: float
) -> Iterator[bytes]:
    while piece := response.read(PIECE_BYTES):
        yield piece
        rest = deadline - time.monotonic()
        if rest <= 0:
            raise TimeoutError
        if sock is not None and sock.fileno() >= 0:
            sock.settimeout(rest)


def _decoded(response: http.client.HTTPResponse, pieces: Iterable[bytes]) -> Iterable[bytes]:
    """Raises zlib.error or EOFError while it is read."""
    is_gzip = (response.getheader("Content-Encoding") or "").strip().lower() == "gzip"
    return gunzip(pieces) if is_gzip else pieces


def input_object_headers(address: Address) -> dict[str, str]:
    """Which object a request's records are of, as AWS says it to containers.

    The first header holds printable ASCII only: for another key it is left out, and the Base64 of its UTF-8 tells it.
    """
    name = f"{address.bucket}/{address.key}"
    headers = {"X-Amzn-Sagemaker-Input-Object-Base64": base64.b64encode(name.encode()).decode()}
    if name.isascii() and name.isprintable():
        headers["X-Amzn-Sagemaker-Input-Object"] = name
    return headers


def get(port: int, path: str, seconds: float) -> tuple[int, bytes] | None:
    """GET on a fresh connection: status and body, or None without an answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=seconds)
    try:
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": ACCEPT_ENCODING}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, b"".join(_decoded(response, [response.read()]))
    except (OSError, http.client.HTTPException, zlib.error, EOFError):
        return None
    finally:
        connection.close()


def execution_parameters(port: int, seconds: float) -> dict[str, Any]:
    """What the container says; nothing when it has no such path or answers no JSON object."""
    answer = get(port, "/execution-parameters", seconds)
    if answer is None or answer[0] != 200:
        return {}
    try:
        values = json.loads(answer[1])
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


class Chain:
    """The containers of a serial pipeline, asked one after the other; for one thread."""

    def __init__(self, ports: list[int], folder: Path, hop_limit: int | None) -> None:
        self._connections = [Connection(port, folder) for port in ports]
        self._folder = folder
        self._hop_limit = hop_limit

    def invoke(
        self,
        body: Body,
        content_type: str | None,
        accept: str | None,
        seconds: float,
        source: Mapping[str, str],
    ) -> Answer:
        """The last container's answer, or the first that is not 2xx.

        `source` are the headers that name the object, sent to every container. The job's ContentType goes to the
        first container, its Accept to the last; between them, each answer's Content-Type is passed on as it is.
        Raises NoAnswerError or TimedOutError.
        """
        answer: Answer | None = None
        for number, connection in enumerate(self._connections):
            headers = dict(source)
            if content_type is not None:
                headers["Content-Type"] = content_type
            if number == len(self._connections) - 1 and accept is not None:
                headers["Accept"] = accept
            if answer is not None and self._hop_limit is not None and answer.spool.size > self._hop_limit:
                answer.spool.close()
                too_large = Spool(self._folder)
                too_large.write(b"Request Entity Too Large")
                return Answer(413, "text/plain", too_large)
            previous = answer
            try:
                answer = connection.post(body, headers, seconds)
            finally:
                if previous is not None:
                    previous.spool.close()
            if not 200 <= answer.status < 300:
                return answer
            body, content_type = Body(answer.spool.size, answer.spool.pieces), answer.content_type
        if answer is None:
            raise NoAnswerError("the model has no containers")
        return answer

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
