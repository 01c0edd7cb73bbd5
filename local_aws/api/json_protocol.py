"""Reads request bodies and writes responses of the JSON 1.1 protocol."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable
from http.client import responses
from typing import Any

from local_aws.api.errors import MissingTokenError, SerializationError

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

MAX_BODY_BYTES = 8 * 1024 * 1024


def read_body(environ: Environ) -> bytes:
    """The request's body; raises SerializationError for an invalid length or an incomplete body."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        raise SerializationError("Transfer-Encoding is not supported; send the body with a Content-Length")
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = -1
    if not 0 <= length <= MAX_BODY_BYTES:
        raise SerializationError(
            f"Content-Length is {environ.get('CONTENT_LENGTH')!r}, allowed are 0 to {MAX_BODY_BYTES} bytes"
        )
    body: bytes = environ["wsgi.input"].read(length)
    if len(body) < length:
        raise SerializationError(f"The body ends after {len(body)} of {length} bytes")
    return body


def read_region(environ: Environ, signing_name: str, *, require_signature: bool) -> str:
    """The region in the signature of a request; raises MissingTokenError for an unsigned one, if one is required."""
    scope = rf"Credential=[^/]+/\d{{8}}/([a-z0-9-]+)/{signing_name}/aws4_request"
    match = re.search(scope, environ.get("HTTP_AUTHORIZATION", ""))
    if match is None and require_signature:
        raise MissingTokenError("Missing Authentication Token")
    return "us-east-1" if match is None else match[1]


def parse_json(body: bytes) -> Any:
    """The body as JSON data, {} for an empty body; raises SerializationError if it is not JSON."""
    if not body:
        return {}
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"The body is not JSON: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def respond_json(start_response: StartResponse, status: int, payload: dict[str, Any] | None) -> list[bytes]:
    """Respond with JSON, as botocore reads it; an error's payload has a `__type`."""
    body = b"" if payload is None else json.dumps(payload).encode()
    headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("Content-Length", str(len(body))),
        ("x-amzn-RequestId", str(uuid.uuid4())),
    ]
    if payload is not None and "__type" in payload:
        headers.append(("x-amzn-ErrorType", payload["__type"]))
    start_response(f"{status} {responses.get(status, 'Error')}", headers)
    return [body]
