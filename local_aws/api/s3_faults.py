"""Identifies the S3 operation of a request and builds S3's errors, for injected faults."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from local_aws.api.errors import AwsError

# Code and message by HTTP status.
ERRORS = {
    400: ("ExpiredToken", "The provided token has expired."),
    403: ("AccessDenied", "Access Denied"),
    500: ("InternalError", "We encountered an internal error. Please try again."),
    502: ("BadGateway", "The request failed."),
    503: ("SlowDown", "Please reduce your request rate."),
    504: ("GatewayTimeout", "The request failed."),
}
UPLOAD_OPERATIONS = {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}
OBJECT_OPERATIONS = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
OTHER_OPERATIONS = ("CopyObject", "ListObjects", "ListObjectsV2", "CreateMultipartUpload")
#: The operations that `parse_s3_operation` tells apart.
S3_OPERATIONS = frozenset({*OBJECT_OPERATIONS.values(), *UPLOAD_OPERATIONS.values(), *OTHER_OPERATIONS})


def parse_s3_operation(environ: dict[str, Any]) -> str:
    """The operation of a path-style S3 request, for those that jobs use; else its HTTP method."""
    method: str = environ["REQUEST_METHOD"]
    bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    if "uploads" in query and method == "POST":
        return "CreateMultipartUpload"
    if "uploadId" in query:
        return UPLOAD_OPERATIONS.get(method, method)
    if bucket and not key and method == "GET":
        return "ListObjectsV2" if query.get("list-type") == ["2"] else "ListObjects"
    if key and method == "PUT" and "HTTP_X_AMZ_COPY_SOURCE" in environ:
        return "CopyObject"
    return OBJECT_OPERATIONS.get(method, method) if key else method


def build_s3_error(status: int) -> AwsError:
    """S3's error of this HTTP status."""
    code, message = ERRORS[status]
    return AwsError(message, status, code)
