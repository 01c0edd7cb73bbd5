"""The one port: SageMaker and its quotas from here, the other services that are served from moto, unmodified."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from include.local_aws.api.error_forms import respond_error
from include.local_aws.api.errors import AwsError
from include.local_aws.api.moto_services import MotoServices
from include.local_aws.api.s3_faults import s3_operation, s3_refusal
from include.local_aws.api.served import S3, SAGEMAKER, SERVICE_QUOTAS, Asked, read_asked
from include.local_aws.faults import S3_KINDS, Faults, access_key_of

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class Front:
    """The WSGI application within AccessControl.

    `sagemaker`, `quotas`, `admin` and `faults` are put in once the port is known, since they need it.
    """

    def __init__(self) -> None:
        self.sagemaker: Application | None = None
        self.quotas: Callable[[Asked, StartResponse], Iterable[bytes]] | None = None
        self.admin: Application | None = None
        self.faults = Faults()
        self.closing = False
        self.moto = MotoServices()
        self._in_flight = 0
        self._changed = threading.Condition()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Pass the request on; counted until its answer is complete, so that a stop can wait for it."""
        with self._changed:
            self._in_flight += 1
        try:
            # A list: moto's answers are whole in memory anyway, and the count must outlast them.
            return list(self._pass_on(environ, start_response))
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def drained(self, seconds: float) -> bool:
        """Wait until no request is in flight; False if some still are after `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._in_flight == 0, seconds)

    def _pass_on(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/_local/") and self.admin is not None:
            return self.admin(environ, start_response)
        try:
            asked = read_asked(environ)
        except AwsError as error:
            return respond_error(environ, start_response, error)
        if asked.service is SAGEMAKER and self.sagemaker is not None:
            if self.closing:
                start_response("503 Service Unavailable", [("Content-Length", "0")])
                return []
            return self.sagemaker(asked.environ, start_response)
        if asked.service is SERVICE_QUOTAS and self.quotas is not None:
            return self.quotas(asked, start_response)
        refusal = self._s3_fault(environ, start_response) if asked.service is S3 else None
        return self.moto.answer(asked, start_response) if refusal is None else refusal

    def _s3_fault(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes] | None:
        fault = self.faults.take(
            S3_KINDS,
            operation=s3_operation(environ),
            key=environ["PATH_INFO"],
            access_key=access_key_of(environ.get("HTTP_AUTHORIZATION", "")),
        )
        if fault is None:
            return None
        if fault.kind == "s3_slow":
            time.sleep(fault.seconds)
            return None
        if fault.kind == "s3_hold":
            self.faults.hold(fault)
            return None
        return s3_refusal(400 if fault.kind == "s3_credentials" else fault.status, start_response)
