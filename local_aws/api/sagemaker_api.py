"""Serves SageMaker over HTTP: parses X-Amz-Target and body, runs the operation, renders its response."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from local_aws.api.call import Call, Services
from local_aws.api.errors import (
    AwsError,
    ExpiredTokenError,
    InternalFailureError,
    NotImplementedHereError,
    ServiceUnavailableError,
)
from local_aws.api.json_protocol import (
    Environ,
    StartResponse,
    parse_json,
    read_body,
    read_region,
    respond_json,
)
from local_aws.api.operations import OPERATIONS
from local_aws.api.rules import aws_messages
from local_aws.api.shapes.rendering import render
from local_aws.api.shapes.service_models import load_operation_model
from local_aws.api.shapes.support import refuse_unsupported
from local_aws.api.shapes.validation import parse_request
from local_aws.faults import REQUEST_KINDS, Fault, parse_access_key

log = logging.getLogger(__name__)


class SageMakerApplication:
    """The WSGI application for SageMaker's operations, implemented or not, by their names in X-Amz-Target."""

    def __init__(self, services: Services) -> None:
        self._services = services
        settings = services.settings
        self._throttle = Throttle(settings.requests_per_second, settings.request_burst)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to one request, or drop its connection."""
        operation = environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2]
        fault: Fault | None = None
        try:
            body = read_body(environ)
            name = _resource_name(body)
            fault = self._services.faults.take_matching(
                REQUEST_KINDS,
                operation=operation,
                job_name=name,
                access_key=parse_access_key(environ.get("HTTP_AUTHORIZATION", "")),
            )
            if fault is not None and fault.kind == "drop":
                return _drop_connection(environ, start_response)
            if fault is not None:
                _raise_fault(fault, operation, name)
            status, answer = 200, self._run_operation(operation, body, environ)
        except AwsError as error:
            status, answer = error.status, error.to_body()
        except Exception:
            log.exception("%s failed", operation)
            failure = InternalFailureError(
                f"{operation} failed inside the embedded AWS; its log has the traceback"
            )
            status, answer = failure.status, failure.to_body()
        if fault is not None and fault.kind == "hold":
            self._services.faults.wait_for_release(fault)
        if fault is not None and fault.kind == "withhold":
            return _drop_connection(environ, start_response)
        return respond_json(start_response, status, answer)

    def _run_operation(self, operation: str, body: bytes, environ: Environ) -> dict[str, Any] | None:
        handler = OPERATIONS.get(operation)
        if handler is None:
            raise NotImplementedHereError(
                f"{operation} is not implemented by the embedded AWS; it has {', '.join(OPERATIONS)}"
            )
        if not self._throttle.allow(operation):
            raise aws_messages.rate_exceeded()
        model = load_operation_model(operation)
        request = parse_request(model.input_shape, parse_json(body), operation)
        refuse_unsupported(operation, request)
        services = self._services
        region = read_region(environ, "sagemaker", require_signature=services.settings.require_signature)
        call = Call(operation=operation, request=request, region=region, now=time.time(), services=services)
        result = handler(call)
        return render(model.output_shape, result) if model.output_shape is not None else None


class Throttle:
    """Allows `rate` calls a second of each operation, `burst` at once; any number when rate is None."""

    def __init__(self, rate: float | None, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def allow(self, operation: str) -> bool:
        """Whether one more call may pass now."""
        if self._rate is None:
            return True
        with self._lock:
            now = self._clock()
            tokens, then = self._buckets.get(operation, (self._burst, now))
            tokens = min(self._burst, tokens + (now - then) * self._rate)
            allowed = tokens >= 1
            self._buckets[operation] = (tokens - 1 if allowed else tokens, now)
            return allowed


def _raise_fault(fault: Fault, operation: str, name: str) -> None:
    match fault.kind:
        case "credentials":
            raise ExpiredTokenError("The security token included in the request is expired")
        case "invisible" if operation == "DescribeModel":
            raise aws_messages.missing_model(name)
        case "invisible":
            raise aws_messages.missing_job(name)
        case "throttle":
            raise aws_messages.rate_exceeded()
        case "error" if fault.status == 500:
            raise InternalFailureError("The request processing has failed because of an unknown error.")
        case "error":
            message = "The request has failed due to a temporary failure of the server."
            raise ServiceUnavailableError(message, fault.status)


def _resource_name(body: bytes) -> str:
    """The job that a request names, or else the model."""
    found = re.search(rb'"(?:Transform|Processing)JobName"\s*:\s*"([^"]*)"', body)
    found = found or re.search(rb'"ModelName"\s*:\s*"([^"]*)"', body)
    return found[1].decode("utf-8", "replace") if found else ""


def _drop_connection(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Shut the client's socket down; werkzeug treats its next write as a lost client."""
    connection: socket.socket = environ["werkzeug.socket"]
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    start_response("500 Dropped", [("Content-Length", "0")])
    return []
