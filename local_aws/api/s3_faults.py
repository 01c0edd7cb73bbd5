"""Identifies the S3 operation of a request and responds with S3 errors, for injected faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

ERROR_CODES = {
    400: "ExpiredToken",
    403: "AccessDenied",
    500: "InternalError",
    502: "BadGateway",
    503: "SlowDown",
    504: "GatewayTimeout",
}
ERROR_MESSAGES = {
    400: "The provided token has expired.",
    403: "Access Denied",
    500: "We encountered an internal error. Please try again.",
    503: "Please reduce your request rate.",
}
OBJECT_OPERATIONS = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}


def parse_s3_operation(environ: dict[str, Any]) -> str:
    """The operation of a path-style S3 request, for those that jobs use; else its HTTP method."""
    method: str = environ["REQUEST_METHOD"]
    bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    if "uploads" in query and method == "POST":
        return "CreateMultipartUpload"
    if "uploadId" in query:
        parts = {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}
        return parts.get(method, method)
    if bucket and not key and method == "GET":
        return "ListObjectsV2" if query.get("list-type") == ["2"] else "ListObjects"
    if key and method == "PUT" and "HTTP_X_AMZ_COPY_SOURCE" in environ:
        return "CopyObject"
    return OBJECT_OPERATIONS.get(method, method) if key else method


def respond_s3_error(status: int, start_response: Callable[..., Any]) -> list[bytes]:
    """S3's XML error of this status."""
    message = ERROR_MESSAGES.get(status, "The request failed.")
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{ERROR_CODES[status]}</Code>'
        f"<Message>{message}</Message></Error>"
    ).encode()
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    start_response(f"{status} {ERROR_CODES[status]}", headers)
    return [body]
