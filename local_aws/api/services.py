"""Finds the service and operation of a request; services that are not listed here are refused by name."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs

from local_aws.api.error_protocols import S3_CONTROL_PATH, has_form_body, parse_signing_name
from local_aws.api.errors import (
    InvalidActionError,
    MethodNotAllowedError,
    MissingTokenError,
    NotImplementedHereError,
    UnknownOperationError,
)
from local_aws.api.json_protocol import Environ, read_body
from local_aws.api.shapes.service_models import load_operation_names

#: Of services that botocore calls otherwise than signatures do.
BOTOCORE_NAMES = {"servicequotas": "service-quotas", "monitoring": "cloudwatch"}


@dataclass(frozen=True, slots=True)
class Service:
    """One service.

    Attributes:
        name: AWS's name, for messages.
        signing_name: its name in the credential scope of signatures.
        target_prefix: prefix of the operation in X-Amz-Target (JSON protocol).
    """

    name: str
    signing_name: str
    protocol: Literal["json", "query", "rest-xml"]
    target_prefix: str | None = None

    @property
    def botocore_name(self) -> str:
        """botocore's name of its model."""
        return BOTOCORE_NAMES.get(self.signing_name, self.signing_name)

    @property
    def moto_name(self) -> str:
        """moto's name of its backend."""
        return "cloudwatch" if self.signing_name == "monitoring" else self.signing_name


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """Service and operation of a request ("" for S3, whose requests name none), and its WSGI environment, with the
    body in memory except for S3."""

    service: Service
    operation: str
    environ: Environ


SAGEMAKER = Service("SageMaker", "sagemaker", "json", "SageMaker.")
S3 = Service("S3", "s3", "rest-xml")
STS = Service("STS", "sts", "query")
IAM = Service("IAM", "iam", "query")
LOGS = Service("CloudWatch Logs", "logs", "json", "Logs_20140328.")
CLOUDWATCH = Service("CloudWatch", "monitoring", "json", "GraniteServiceVersion20100801.")
SERVICE_QUOTAS = Service("Service Quotas", "servicequotas", "json", "ServiceQuotasV20190624.")
PRICE_LIST = Service("Price List", "pricing", "json", "AWSPriceListService.")
GLUE = Service("Glue", "glue", "json", "AWSGlue.")
SNS = Service("SNS", "sns", "query")
SQS = Service("SQS", "sqs", "json", "AmazonSQS.")
SERVICES = (SAGEMAKER, S3, STS, IAM, LOGS, CLOUDWATCH, SERVICE_QUOTAS, PRICE_LIST, GLUE, SNS, SQS)
BY_SIGNING_NAME = {service.signing_name: service for service in SERVICES}

# Operations that AWS accepts without a signature.
UNSIGNED_ACTIONS = frozenset({"AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"})
S3_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"})


def parse_service_request(environ: Environ) -> ServiceRequest:
    """Find service and operation of a request; the body is read unless the service is S3.

    Raises NotImplementedHereError for a service that is not served, UnknownOperationError or InvalidActionError for an
    operation that the service does not have, MissingTokenError for a form that is not signed, MethodNotAllowedError,
    and SerializationError for a body that is too long or breaks off.
    """
    if "HTTP_X_AMZ_TARGET" in environ:
        return _parse_by_target(environ, environ["HTTP_X_AMZ_TARGET"])
    signed_service = parse_signing_name(environ)
    service = (
        _find_unsigned_service(environ) if signed_service is None else BY_SIGNING_NAME.get(signed_service)
    )
    path = environ["PATH_INFO"]
    if service is S3 and not path.startswith(S3_CONTROL_PATH):
        if environ["REQUEST_METHOD"] not in S3_METHODS:
            raise MethodNotAllowedError(f"S3 does not take {environ['REQUEST_METHOD']}")
        return ServiceRequest(S3, "", environ)
    if service is not None and service.protocol == "query":
        return _parse_by_action(environ, service)
    operation = f"{environ['REQUEST_METHOD']} {path}"
    if "HTTP_SMITHY_PROTOCOL" in environ:
        operation = path.rpartition("/")[2]
    elif has_form_body(environ):
        operation = _read_action(_buffer_body(environ)) or operation
    raise build_not_implemented_error(operation, signed_service)


def build_not_implemented_error(operation: str, signed_service: str | None) -> NotImplementedHereError:
    """The error for a service or operation that is not served; `signed_service` is the name in the signature."""
    of = f" of {signed_service}" if signed_service else ""
    names = ", ".join(service.name for service in SERVICES[:-1])
    return NotImplementedHereError(
        f"{operation}{of} is not implemented by the embedded AWS; it serves {names} and {SERVICES[-1].name}"
    )


def _parse_by_target(environ: Environ, target: str) -> ServiceRequest:
    signed_service = parse_signing_name(environ)
    service = next((each for each in SERVICES if target.startswith(each.target_prefix or "\n")), None)
    if service is None:
        service = BY_SIGNING_NAME.get(signed_service or "")
        if service is None:
            raise build_not_implemented_error(target, signed_service)
        form = f"names one as {service.target_prefix}OPERATION" if service.target_prefix else "is not for it"
        raise UnknownOperationError(f"{service.name} has no operation {target!r}; X-Amz-Target {form}")
    operation = target.removeprefix(service.target_prefix or "")
    _require_post(environ, service)
    if operation not in load_operation_names(service.botocore_name):
        raise UnknownOperationError(f"{service.name} has no operation {operation!r}")
    return ServiceRequest(service, operation, _buffer_body(environ))


def _parse_by_action(environ: Environ, service: Service) -> ServiceRequest:
    _require_post(environ, service)
    environ = _buffer_body(environ)
    operation = _read_action(environ)
    if operation not in load_operation_names(service.botocore_name):
        raise InvalidActionError(f"{service.name} has no action {operation!r}")
    return ServiceRequest(service, operation, environ)


def _find_unsigned_service(environ: Environ) -> Service | None:
    """S3 accepts unsigned requests (public objects, POST policy forms), STS for a few operations."""
    if environ["PATH_INFO"] == "/" and environ["REQUEST_METHOD"] == "POST" and has_form_body(environ):
        environ["wsgi.input"] = _buffer_body(environ)["wsgi.input"]
        if _read_action(environ) in UNSIGNED_ACTIONS:
            return STS
        raise MissingTokenError("Missing Authentication Token")
    authorization: str = environ.get("HTTP_AUTHORIZATION", "")
    return S3 if not authorization or authorization.startswith("AWS ") else None


def _require_post(environ: Environ, service: Service) -> None:
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if (method, path) != ("POST", "/"):
        raise UnknownOperationError(f"{service.name} takes POST to /, found {method} to {path}")


def _buffer_body(environ: Environ) -> Environ:
    """The request with its whole body in memory: it can be read again, and work starts on a complete body only."""
    source = environ["wsgi.input"]
    if isinstance(source, io.BytesIO):
        source.seek(0)
        return environ
    return {**environ, "wsgi.input": io.BytesIO(read_body(environ))}


def _read_action(environ: Environ) -> str:
    body: bytes = environ["wsgi.input"].read()
    environ["wsgi.input"].seek(0)
    return parse_qs(body.decode("utf-8", "replace")).get("Action", [""])[0]
