"""Writes errors in the protocol of the request: JSON, three kinds of XML, CBOR."""

from __future__ import annotations

import re
import uuid
from http.client import responses
from urllib.parse import unquote
from xml.sax.saxutils import escape

from local_aws.api.errors import AwsError
from local_aws.api.json_protocol import Environ, StartResponse, respond_json

# In the Authorization header, or in X-Amz-Credential of a presigned URL; SigV4a's scope has no region.
CREDENTIAL_SCOPE = re.compile(r"Credential=[^/&,\s]+/\d{8}/(?:[^/&,\s]*/)?([a-z0-9-]+)/aws4_request")
S3_SIGNING_NAMES = frozenset({"s3", "s3express", "s3-object-lambda", "s3-outposts"})
REST_XML_SIGNING_NAMES = frozenset({"cloudfront", "route53"})
FORM_CONTENT_TYPE = "application/x-www-form-urlencoded"


def parse_signing_name(environ: Environ) -> str | None:
    """The service that the request is signed for; None for one that is not signed, or not by Signature Version 4."""
    match = CREDENTIAL_SCOPE.search(environ.get("HTTP_AUTHORIZATION", "")) or CREDENTIAL_SCOPE.search(
        unquote(environ.get("QUERY_STRING", ""))
    )
    return None if match is None else match[1]


def has_form_body(environ: Environ) -> bool:
    """Whether the body is a form, as the query protocol sends it."""
    return str(environ.get("CONTENT_TYPE", "")).startswith(FORM_CONTENT_TYPE)


def respond_error(environ: Environ, start_response: StartResponse, error: AwsError) -> list[bytes]:
    """Respond with `error` in the protocol of the request."""
    signed_service = parse_signing_name(environ)
    request_id = str(uuid.uuid4())
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        body = b"\xa2" + b"".join(
            _cbor_text(text) for text in ("__type", error.code, "message", error.message)
        )
        headers = [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]
        return _send(environ, start_response, error, body, headers, request_id)
    details = f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
    request_id_element = f"<RequestId>{request_id}</RequestId>"
    if "HTTP_X_AMZ_TARGET" in environ:
        xml = None
    elif has_form_body(environ) and signed_service == "ec2":
        xml = f"<Response><Errors><Error>{details}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    elif (
        has_form_body(environ)
        or signed_service in REST_XML_SIGNING_NAMES
        or environ["PATH_INFO"].startswith("/v20180820/")
    ):
        kind = "Sender" if error.status < 500 else "Receiver"
        xml = (
            f"<ErrorResponse><Error><Type>{kind}</Type>{details}</Error>{request_id_element}</ErrorResponse>"
        )
    elif signed_service in S3_SIGNING_NAMES or (signed_service is None and not _has_other_scheme(environ)):
        xml = f"<Error>{details}{request_id_element}</Error>"
    else:
        xml = None
    if xml is None:
        return respond_json(start_response, error.status, error.to_body())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{xml}'.encode()
    return _send(environ, start_response, error, body, [("Content-Type", "application/xml")], request_id)


def _has_other_scheme(environ: Environ) -> bool:
    """Whether the request is authorized in a way that S3 does not have; "AWS" is Signature Version 2."""
    authorization: str = environ.get("HTTP_AUTHORIZATION", "")
    return bool(authorization) and not authorization.startswith("AWS ")


def _send(
    environ: Environ,
    start_response: StartResponse,
    error: AwsError,
    body: bytes,
    headers: list[tuple[str, str]],
    request_id: str,
) -> list[bytes]:
    if environ["REQUEST_METHOD"] == "HEAD":
        body = b""
    start_response(
        f"{error.status} {responses.get(error.status, 'Error')}",
        [*headers, ("Content-Length", str(len(body))), ("x-amzn-RequestId", request_id)],
    )
    return [body]


def _cbor_text(text: str) -> bytes:
    data = text.encode()
    head = bytes([0x60 + len(data)]) if len(data) < 24 else b"\x79" + len(data).to_bytes(2, "big")
    return head + data
