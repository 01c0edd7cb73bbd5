"""Routes each request of the port: SageMaker, its quotas and its prices to our handlers, other services to moto."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from local_aws.api.error_protocols import respond_error
from local_aws.api.errors import AwsError
from local_aws.api.json_protocol import Application, Environ, StartResponse
from local_aws.api.moto_services import MotoServices
from local_aws.api.s3_faults import build_s3_error, parse_s3_operation
from local_aws.api.services import (
    PRICE_LIST,
    S3,
    SAGEMAKER,
    SERVICE_QUOTAS,
    ServiceRequest,
    parse_service_request,
)
from local_aws.faults import S3_KINDS, FaultInjector, parse_access_key


class Router:
    """The WSGI application within AccessControl.

    `sagemaker`, `quotas`, `price_list`, `admin` and `faults` are set once the port is known, since they need it.
    """

    def __init__(self) -> None:
        self.sagemaker: Application | None = None
        self.quotas: Callable[[ServiceRequest, StartResponse], Iterable[bytes]] | None = None
        self.price_list: Callable[[ServiceRequest, StartResponse], Iterable[bytes]] | None = None
        self.admin: Application | None = None
        self.faults = FaultInjector()
        self.is_closing = False
        self.moto = MotoServices()
        self._conditional_write = threading.Lock()
        self._in_flight = 0
        self._changed = threading.Condition()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Route the request; it is in flight until its response is complete, so that a stop can wait for it."""
        with self._changed:
            self._in_flight += 1
        try:
            # A list: moto's responses are in memory anyway, and the request must count until its response is complete.
            return list(self._route(environ, start_response))
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Wait until no request is in flight; False if some still are after `timeout_seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._in_flight == 0, timeout_seconds)

    def _route(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/_local/") and self.admin is not None:
            return self.admin(environ, start_response)
        try:
            service_request = parse_service_request(environ)
        except AwsError as error:
            return respond_error(environ, start_response, error)
        if service_request.service is SAGEMAKER and self.sagemaker is not None:
            if self.is_closing:
                start_response("503 Service Unavailable", [("Content-Length", "0")])
                return []
            return self.sagemaker(service_request.environ, start_response)
        if service_request.service is SERVICE_QUOTAS and self.quotas is not None:
            return self.quotas(service_request, start_response)
        if service_request.service is PRICE_LIST and self.price_list is not None:
            return self.price_list(service_request, start_response)
        if service_request.service is not S3:
            return self.moto.handle(service_request, start_response)
        s3_error = self._s3_fault(environ, start_response)
        if s3_error is not None:
            return s3_error
        is_conditional = "HTTP_IF_MATCH" in environ or "HTTP_IF_NONE_MATCH" in environ
        if not is_conditional or environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self.moto.handle(service_request, start_response)
        # moto checks the condition and writes in two steps; of two writers at once S3 lets one win.
        with self._conditional_write:
            return self.moto.handle(service_request, start_response)

    def _s3_fault(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes] | None:
        fault = self.faults.take_matching(
            S3_KINDS,
            operation=parse_s3_operation(environ),
            s3_path=environ["PATH_INFO"],
            access_key=parse_access_key(environ.get("HTTP_AUTHORIZATION", "")),
        )
        if fault is None:
            return None
        if fault.kind == "s3_slow":
            time.sleep(fault.seconds)
        elif fault.kind == "s3_hold":
            self.faults.wait_for_release(fault)
        else:
            error = build_s3_error(400 if fault.kind == "s3_credentials" else fault.status)
            return respond_error(environ, start_response, error)
        return None
