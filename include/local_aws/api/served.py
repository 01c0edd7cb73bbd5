"""The services that are served, and which of them a request is for; every other one is refused by name."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qs

from include.local_aws.api.error_forms import has_form, signing_name
from include.local_aws.api.errors import (
    InvalidActionError,
    MethodNotAllowedError,
    MissingTokenError,
    NotImplementedHereError,
    UnknownOperationError,
)
from include.local_aws.api.json_protocol import read_body
from include.local_aws.api.model import operation_names

Environ = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service.

    Attributes:
        name: AWS's, for people.
        signing_name: in the scope of signatures.
        model: botocore's name of it.
        backend: moto's name of it; None for what moto has no part in.
        target_prefix: before the operation in X-Amz-Target, of the JSON protocol.
    """

    name: str
    signing_name: str
    model: str
    backend: str | None
    protocol: Literal["json", "query", "rest-xml"]
    target_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is for: a service and its operation ("" of S3, which has none in its requests), and the request
    with its body, unless it is S3's, at hand."""

    service: Service
    operation: str
    environ: Environ


SAGEMAKER = Service(
    name="SageMaker", signing_name="sagemaker", model="sagemaker", backend=None,
    protocol="json", target_prefix="SageMaker.",
)  # fmt: skip
S3 = Service(name="S3", signing_name="s3", model="s3", backend="s3", protocol="rest-xml")
STS = Service(name="STS", signing_name="sts", model="sts", backend="sts", protocol="query")
IAM = Service(name="IAM", signing_name="iam", model="iam", backend="iam", protocol="query")
LOGS = Service(
    name="CloudWatch Logs", signing_name="logs", model="logs", backend="logs",
    protocol="json", target_prefix="Logs_20140328.",
)  # fmt: skip
SERVICE_QUOTAS = Service(
    name="Service Quotas", signing_name="servicequotas", model="service-quotas", backend="servicequotas",
    protocol="json", target_prefix="ServiceQuotasV20190624.",
)  # fmt: skip
GLUE = Service(
    name="Glue", signing_name="glue", model="glue", backend="glue",
    protocol="json", target_prefix="AWSGlue.",
)  # fmt: skip
SNS = Service(name="SNS", signing_name="sns", model="sns", backend="sns", protocol="query")
SQS = Service(
    name="SQS", signing_name="sqs", model="sqs", backend="sqs", protocol="json", target_prefix="AmazonSQS."
)
SERVICES = (SAGEMAKER, S3, STS, IAM, LOGS, SERVICE_QUOTAS, GLUE, SNS, SQS)

# Operations that AWS takes without a signature.
UNSIGNED_ACTIONS = frozenset({"AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"})
S3_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"})
# Of S3 Control, which is signed as S3 is.
S3_CONTROL = "/v20180820/"


def read_asked(environ: Environ) -> Asked:
    """What is asked, of which service; the body of what is not S3's is read.

    Raises NotImplementedHereError for a service that is not served, UnknownOperationError or InvalidActionError for an
    operation that the service does not have, MissingTokenError for a form that is not signed, MethodNotAllowedError,
    and SerializationError for a body that is too long or breaks off.
    """
    if "HTTP_X_AMZ_TARGET" in environ:
        return _by_target(environ, environ["HTTP_X_AMZ_TARGET"])
    signed = signing_name(environ)
    service = next((each for each in SERVICES if each.signing_name == signed), None)
    if signed is None:
        service = _unsigned(environ)
    path = environ["PATH_INFO"]
    if service is S3 and not path.startswith(S3_CONTROL):
        if environ["REQUEST_METHOD"] not in S3_METHODS:
            raise MethodNotAllowedError(f"S3 does not take {environ['REQUEST_METHOD']}")
        return Asked(S3, "", environ)
    if service is not None and service.protocol == "query":
        return _by_action(environ, service)
    operation = f"{environ['REQUEST_METHOD']} {path}"
    if "HTTP_SMITHY_PROTOCOL" in environ:
        operation = path.rpartition("/")[2]
    elif has_form(environ):
        operation = _action(_with_body(environ)) or operation
    raise not_served(operation, signed)


def not_served(operation: str, signed: str | None) -> NotImplementedHereError:
    """`signed` is the service's name in the signature."""
    of = f" of {signed}" if signed else ""
    names = ", ".join(service.name for service in SERVICES[:-1])
    return NotImplementedHereError(
        f"{operation}{of} is not implemented by the embedded AWS; it serves {names} and {SERVICES[-1].name}"
    )


def _by_target(environ: Environ, target: str) -> Asked:
    signed = signing_name(environ)
    service = next((each for each in SERVICES if target.startswith(each.target_prefix or "\n")), None)
    if service is None:
        service = next((each for each in SERVICES if each.signing_name == signed), None)
        if service is None:
            raise not_served(target, signed)
        form = f"names one as {service.target_prefix}OPERATION" if service.target_prefix else "is not for it"
        raise UnknownOperationError(f"{service.name} has no operation {target!r}; X-Amz-Target {form}")
    operation = target.removeprefix(service.target_prefix or "")
    _require_post(environ, service)
    if operation not in operation_names(service.model):
        raise UnknownOperationError(f"{service.name} has no operation {operation!r}")
    return Asked(service, operation, _with_body(environ))


def _by_action(environ: Environ, service: Service) -> Asked:
    _require_post(environ, service)
    environ = _with_body(environ)
    operation = _action(environ)
    if operation not in operation_names(service.model):
        raise InvalidActionError(f"{service.name} has no action {operation!r}")
    return Asked(service, operation, environ)


def _unsigned(environ: Environ) -> Service | None:
    """S3 serves those who are not signed (objects that are public, forms of a POST policy); so does STS at times."""
    if environ["PATH_INFO"] == "/" and environ["REQUEST_METHOD"] == "POST" and has_form(environ):
        environ["wsgi.input"] = _with_body(environ)["wsgi.input"]
        if _action(environ) in UNSIGNED_ACTIONS:
            return STS
        raise MissingTokenError("Missing Authentication Token")
    authorization: str = environ.get("HTTP_AUTHORIZATION", "")
    return S3 if not authorization or authorization.startswith("AWS ") else None


def _require_post(environ: Environ, service: Service) -> None:
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if (method, path) != ("POST", "/"):
        raise UnknownOperationError(f"{service.name} takes POST to /, found {method} to {path}")


def _with_body(environ: Environ) -> Environ:
    """The request with its whole body in memory, which may be read more than once: nothing is begun with a part."""
    source = environ["wsgi.input"]
    if isinstance(source, io.BytesIO):
        source.seek(0)
        return environ
    return {**environ, "wsgi.input": io.BytesIO(read_body(environ))}


def _action(environ: Environ) -> str:
    body: bytes = environ["wsgi.input"].read()
    environ["wsgi.input"].seek(0)
    return parse_qs(body.decode("utf-8", "replace")).get("Action", [""])[0]
