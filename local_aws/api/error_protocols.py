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
#: Of S3 Control, which is signed as S3 is.
S3_CONTROL_PATH = "/v20180820/"


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
    request_id = str(uuid.uuid4())
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        texts = ("__type", error.code, "message", error.message)
        body = b"\xa2" + b"".join(map(_cbor_text, texts))
        headers = [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]
    else:
        xml = _format_xml(environ, error, request_id)
        if xml is None:
            return respond_json(start_response, error.status, error.to_body())
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n{xml}'.encode()
        headers = [("Content-Type", "application/xml")]
    if environ["REQUEST_METHOD"] == "HEAD":
        body = b""
    headers += [("Content-Length", str(len(body))), ("x-amzn-RequestId", request_id)]
    start_response(f"{error.status} {responses.get(error.status, 'Error')}", headers)
    return [body]


def _format_xml(environ: Environ, error: AwsError, request_id: str) -> str | None:
    """The error in the XML of the request's protocol; None where that is JSON."""
    signed_service = parse_signing_name(environ)
    details = f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
    request_id_element = f"<RequestId>{request_id}</RequestId>"
    if "HTTP_X_AMZ_TARGET" in environ:
        return None
    if has_form_body(environ) and signed_service == "ec2":
        return f"<Response><Errors><Error>{details}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    is_control = environ["PATH_INFO"].startswith(S3_CONTROL_PATH)
    if has_form_body(environ) or signed_service in REST_XML_SIGNING_NAMES or is_control:
        kind = "Sender" if error.status < 500 else "Receiver"
        return (
            f"<ErrorResponse><Error><Type>{kind}</Type>{details}</Error>{request_id_element}</ErrorResponse>"
        )
    if signed_service in S3_SIGNING_NAMES or (signed_service is None and not _has_other_scheme(environ)):
        return f"<Error>{details}{request_id_element}</Error>"
    return None


def _has_other_scheme(environ: Environ) -> bool:
    """Whether the request is authorized in a way that S3 does not have; "AWS" is Signature Version 2."""
    authorization: str = environ.get("HTTP_AUTHORIZATION", "")
    return bool(authorization) and not authorization.startswith("AWS ")


def _cbor_text(text: str) -> bytes:
    data = text.encode()
    head = bytes([0x60 + len(data)]) if len(data) < 24 else b"\x79" + len(data).to_bytes(2, "big")
    return head + data
