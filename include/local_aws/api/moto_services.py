"""moto's services, each asked for by name, with its failures as AWS's errors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any

from flask import Flask
from moto.core.exceptions import ServiceException
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.exceptions import ClientDisconnected, HTTPException

from include.local_aws.api.error_forms import StartResponse, respond_error
from include.local_aws.api.errors import AwsError, InternalFailureError, NotImplementedHereError
from include.local_aws.api.served import Asked

log = logging.getLogger(__name__)


class MotoError(AwsError):
    """An error that moto, or the web framework below it, raises instead of answering with it."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(message, status)
        self.code = code


class MotoServices:
    """Applications of moto by its name of the service, made when first asked for."""

    def __init__(self) -> None:
        self._applications: dict[str, Flask] = {}
        self._lock = threading.Lock()

    def answer(self, asked: Asked, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; what moto lacks is a 501, what fails in it a 500, both as AWS errors."""
        what = f"{asked.operation or asked.environ['REQUEST_METHOD']} of {asked.service.name}"
        application = self._application(asked.service.backend)
        error: AwsError
        try:
            # A list: an answer that fails while it is put together fails here.
            return list(application(asked.environ, start_response))
        except ServiceException as refusal:
            error = MotoError(refusal.code, refusal.message, 400)
        except NotImplementedError as missing:
            error = NotImplementedHereError(
                f"{what} is not implemented by the embedded AWS, whose {asked.service.name} is moto's: {missing}"
            )
        except ClientDisconnected:
            error = MotoError("IncompleteBody", f"{what}: the body breaks off before its Content-Length", 400)
        except HTTPException as rejection:
            # moto's own errors among them have AWS's code.
            code = getattr(rejection, "error_type", "InvalidRequest")
            message = getattr(rejection, "message", f"{what}: {rejection.description}")
            error = MotoError(code, message, rejection.code or 400)
        except Exception:
            log.exception("%s failed", what)
            error = InternalFailureError(f"{what} failed inside the embedded AWS; its log has the traceback")
        return respond_error(asked.environ, start_response, error)

    def _application(self, backend: Any) -> Flask:
        with self._lock:
            if backend not in self._applications:
                application = create_backend_app(backend)
                # What the framework refuses comes as an exception, not as a page of HTML.
                application.config["TRAP_HTTP_EXCEPTIONS"] = True
                self._applications[backend] = application
            return self._applications[backend]
