"""JSON 1.1 over HTTP: bodies in, answers out."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from include.local_aws.api.errors import SerializationError

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

MAX_BODY = 8 * 1024 * 1024
REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    501: "Not Implemented",
}


def read_body(environ: Environ) -> bytes:
    """The request's body; raises SerializationError for a length that cannot be, or a body that breaks off."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        raise SerializationError("Transfer-Encoding is not taken here; send the body with a Content-Length")
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = -1
    if not 0 <= length <= MAX_BODY:
        raise SerializationError(
            f"Content-Length is {environ.get('CONTENT_LENGTH')!r}, allowed are 0 to {MAX_BODY} bytes"
        )
    body: bytes = environ["wsgi.input"].read(length)
    if len(body) < length:
        raise SerializationError(f"The body breaks off after {len(body)} of {length} bytes")
    return body


def load_json(body: bytes) -> Any:
    """The body as JSON, nothing as an empty structure; raises SerializationError for what is none."""
    if not body:
        return {}
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"The body is not JSON: {error}") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def respond(start_response: StartResponse, status: int, answer: dict[str, Any] | None) -> list[bytes]:
    """The answer, or an error's body, as botocore reads it."""
    body = b"" if answer is None else json.dumps(answer).encode()
    headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("Content-Length", str(len(body))),
        ("x-amzn-RequestId", str(uuid.uuid4())),
    ]
    if answer is not None and "__type" in answer:
        headers.append(("x-amzn-ErrorType", answer["__type"]))
    start_response(f"{status} {REASONS.get(status, 'Error')}", headers)
    return [body]
