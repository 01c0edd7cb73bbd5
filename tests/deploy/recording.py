"""The embedded AWS, writing down each request; and what IAM action each request needs."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree

from local_aws.api.router import Router
from tests.deploy.evaluation import Call

ACCOUNT, REGION = "123456789012", "us-east-1"
CREDENTIAL = re.compile(r"Credential=([^/]+)/\d{8}/[^/]+/([a-z0-9-]+)/aws4_request")


@dataclass(frozen=True)
class Request:
    """One signed request as it came in."""

    access_key: str
    service: str
    method: str
    path: str
    query: dict[str, str]
    copy_source: str | None
    operation: str | None
    body: dict[str, Any]
    deleted: tuple[str, ...] = ()
    status: int = 0


class RecordingRouter(Router):
    """The embedded AWS's application with a memory that all of its instances share."""

    recorded: list[Request] = []  # noqa: RUF012 - shared on purpose: the server makes its own instance
    lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer the request, and remember it with the answer's status."""
        request = parse_request(environ)
        status = 0

        def noted(line: str, *rest: Any) -> Any:
            nonlocal status
            status = int(line.split()[0])
            return start_response(line, *rest)

        answer = super().__call__(environ, noted)
        if request is not None:
            with self.lock:
                self.recorded.append(replace(request, status=status))
        return answer


def parse_request(environ: dict[str, Any]) -> Request | None:
    """The request, if it is signed. The body of a target, a form or a list to delete is read, and put back."""
    signed = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    if signed is None:
        return None
    target, query = (
        environ.get("HTTP_X_AMZ_TARGET"),
        parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True),
    )
    body: dict[str, Any] = {}
    deleted: tuple[str, ...] = ()
    operation = target.rpartition(".")[2] if target else None
    has_form = signed[2] == "iam"
    if target or has_form or ("delete", "") in query:
        content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(content)
        if target:
            body = json.loads(content or b"{}")
        elif has_form:
            body = dict(parse_qsl(content.decode()))
            operation = body["Action"]
        else:
            listed = ElementTree.fromstring(content).iterfind("{*}Object/{*}Key")
            deleted = tuple(str(each.text) for each in listed)
    return Request(
        access_key=signed[1],
        service=signed[2],
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"].encode("latin-1").decode(),
        query=dict(query),
        copy_source=environ.get("HTTP_X_AMZ_COPY_SOURCE"),
        operation=operation,
        body=body,
        deleted=deleted,
    )


def calls(request: Request) -> Iterator[Call]:
    """The IAM calls of a request. Raises AssertionError for one of a kind that is not known here."""
    if request.service == "s3":
        return s3_calls(request)
    if request.service in {"servicequotas", "pricing", "cloudwatch", "monitoring"}:
        service = "cloudwatch" if request.service == "monitoring" else request.service
        return iter([Call(f"{service}:{request.operation}", "*")])
    if request.service == "iam":
        return iter(
            [Call(f"iam:{request.operation}", f"arn:aws:iam::{ACCOUNT}:role/{request.body['RoleName']}")]
        )
    assert request.service in {"sagemaker", "logs"}, request
    return sagemaker_calls(request) if request.service == "sagemaker" else logs_calls(request)


def s3_calls(request: Request) -> Iterator[Call]:
    """An S3 request by the REST form that botocore gives it: `/bucket/key?subresource`."""
    bucket, _, key = request.path.lstrip("/").partition("/")
    query = set(request.query) - {"x-id"}
    here = f"arn:aws:s3:::{bucket}/{key}"
    if request.deleted:
        assert (request.method, key, query) == ("POST", "", {"delete"}), request
        for each in request.deleted:
            yield Call("s3:DeleteObject", f"{here}{each}")
        return
    if not key and request.method == "HEAD":
        # `plan` asks for the bucket's region, which S3 says also to those whom it refuses: no policy allows it.
        return
    if not key:
        assert request.method == "GET", request
        assert query <= {
            "list-type",
            "prefix",
            "delimiter",
            "max-keys",
            "continuation-token",
            "encoding-type",
        }, request
        context = {"s3:prefix": request.query["prefix"]} if "prefix" in query else {}
        yield Call("s3:ListBucket", f"arn:aws:s3:::{bucket}", context)
        return
    if request.copy_source is not None:
        assert request.method == "PUT", request
        yield Call("s3:GetObject", f"arn:aws:s3:::{unquote(request.copy_source).lstrip('/')}")
    upload = {"uploads", "uploadId", "partNumber"}
    assert query <= ({"partNumber"} if request.method in {"GET", "HEAD"} else upload), request
    if request.method == "DELETE":
        yield Call("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject", here)
    else:
        action = {
            "GET": "s3:GetObject",
            "HEAD": "s3:GetObject",
            "PUT": "s3:PutObject",
            "POST": "s3:PutObject",
        }
        yield Call(action[request.method], here)


def sagemaker_calls(request: Request) -> Iterator[Call]:
    """The operation itself, and what AWS demands with it: tags on creation, and passing the role."""
    operation, body = str(request.operation), request.body
    if operation.startswith("List") and operation != "ListTags":
        yield Call(f"sagemaker:{operation}", "*")
        return
    if operation in {"AddTags", "ListTags"}:
        yield Call(f"sagemaker:{operation}", body["ResourceArn"])
        return
    kinds = {"ProcessingJob": "processing-job", "TransformJob": "transform-job", "Model": "model"}
    kind = next(name for name in kinds if operation.endswith(name))
    arn = sagemaker_arn(f"{kinds[kind]}/{body[f'{kind}Name']}")
    context = {}
    if operation == "CreateTransformJob":
        context["sagemaker:ModelArn"] = sagemaker_arn(f"model/{body['ModelName']}")
    yield Call(f"sagemaker:{operation}", arn, context)
    if body.get("Tags"):
        yield Call("sagemaker:AddTags", arn)
    for role in (body.get("RoleArn"), body.get("ExecutionRoleArn")):
        if role is not None:
            yield Call("iam:PassRole", role, {"iam:PassedToService": "sagemaker.amazonaws.com"})


def sagemaker_arn(resource: str) -> str:
    """SageMaker's ARNs are in lower case."""
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{resource.lower()}"


def logs_calls(request: Request) -> Iterator[Call]:
    """An operation on a log group, or on a stream of one."""
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{request.body['logGroupName']}"
    stream = request.body.get("logStreamName")
    yield Call(
        f"logs:{request.operation}", f"{group}:*" if stream is None else f"{group}:log-stream:{stream}"
    )
