"""Passes requests to moto's services and turns moto's exceptions into AWS errors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any

from flask import Flask
from moto.core.exceptions import ServiceException
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.exceptions import ClientDisconnected, HTTPException

from local_aws.api.error_protocols import respond_error
from local_aws.api.errors import AwsError, InternalFailureError, NotImplementedHereError
from local_aws.api.json_protocol import StartResponse
from local_aws.api.services import ServiceRequest

log = logging.getLogger(__name__)


class MotoServices:
    """moto's applications by service, created on first use."""

    def __init__(self) -> None:
        self._applications: dict[str, Flask] = {}
        self._lock = threading.Lock()

    def handle(self, service_request: ServiceRequest, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request: what moto lacks is a 501, a failure inside moto a 500, both as AWS errors."""
        service = service_request.service
        request_name = (
            f"{service_request.operation or service_request.environ['REQUEST_METHOD']} of {service.name}"
        )
        application = self._get_application(service.moto_name)
        error: AwsError
        try:
            # A list: a response that fails while it is iterated fails here.
            return list(application(service_request.environ, start_response))
        except ServiceException as refusal:
            error = AwsError(refusal.message, 400, refusal.code)
        except NotImplementedError as missing:
            error = NotImplementedHereError(
                f"{request_name} is not implemented by the embedded AWS, "
                f"whose {service.name} is moto's: {missing}"
            )
        except ClientDisconnected:
            message = f"{request_name}: the body is shorter than its Content-Length"
            error = AwsError(message, 400, "IncompleteBody")
        except HTTPException as rejection:
            # moto's own errors among them have AWS's code.
            code = getattr(rejection, "error_type", "InvalidRequest")
            message = getattr(rejection, "message", f"{request_name}: {rejection.description}")
            error = AwsError(message, rejection.code or 400, code)
        except Exception:
            log.exception("%s failed", request_name)
            error = InternalFailureError(
                f"{request_name} failed inside the embedded AWS; its log has the traceback"
            )
        return respond_error(service_request.environ, start_response, error)

    def _get_application(self, backend: Any) -> Flask:
        with self._lock:
            if backend not in self._applications:
                application = create_backend_app(backend)
                # The framework raises its errors instead of rendering HTML pages.
                application.config["TRAP_HTTP_EXCEPTIONS"] = True
                self._applications[backend] = application
            return self._applications[backend]
