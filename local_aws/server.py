"""Runs the embedded AWS on one port: SageMaker by botocore's service model, the other services by moto."""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import shutil
import sys
import threading
import uuid
from pathlib import Path
from typing import IO

from werkzeug.serving import BaseWSGIServer, make_server

from local_aws.api.access import AccessControl
from local_aws.api.admin import AdminApplication
from local_aws.api.call import Services
from local_aws.api.lookups import AwsClients
from local_aws.api.price_list import PriceListApplication
from local_aws.api.sagemaker_api import SageMakerApplication
from local_aws.api.service_quotas import ServiceQuotasApplication
from local_aws.api.shapes.service_models import load_service_model
from local_aws.faults import FaultError, FaultInjector
from local_aws.jobs.capacity import Capacity
from local_aws.jobs.job import SharedJobContext, fail_interrupted_jobs
from local_aws.jobs.process import SweeperProcess, build_runner_environment
from local_aws.jobs.supervisor import Supervisor
from local_aws.settings import Settings, SettingsError
from local_aws.state.database import SchemaError
from local_aws.state.store import Store

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
# Computing threads (moto's, mostly) release the GIL this often, so that a Describe call does not wait for several
# of them in turn; Python's default is 5 ms.
THREAD_SWITCH_SECONDS = 0.0005
DRAIN_TIMEOUT_SECONDS = 10.0


class ServerError(RuntimeError):
    """The server cannot start; the message says why and what to do."""


class LocalAws:
    """One embedded AWS on 127.0.0.1: `start`, use `url`, `stop`.

    `port` 0 lets the system choose. State is kept below `data_dir`, which one server may use at a time.
    """

    def __init__(self, settings: Settings, data_dir: Path, port: int = 0) -> None:
        self._settings = settings
        self._data_dir = data_dir.resolve()
        self._port = port
        self._lock_file: IO[str] | None = None
        self._server: BaseWSGIServer | None = None

    @property
    def url(self) -> str:
        """The endpoint URL; set once the server has started."""
        if self._server is None:
            raise ServerError("the server has not started")
        return f"http://{HOST}:{self._server.port}"

    def start(self) -> None:
        """Restore state, bind the port and serve from threads; returns once requests are served.

        Raises ServerError for a data directory in use or of another version, a port in use, or settings that name
        a missing file; MotoStateError for a saved S3 that does not load.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        if self._data_dir.stat().st_uid == os.getuid():
            # S3, requests with their environment variables, and logs are private to the owner.
            self._data_dir.chmod(0o700)
        try:
            price_list = PriceListApplication(self._settings)
        except SettingsError as error:
            raise ServerError(str(error)) from error
        self._lock_data_dir()
        images = self._settings.images_file
        if images is not None and not Path(images).is_file():
            raise ServerError(
                f"images_file is {images!r}, which is not a file; give the path of a file, or leave it out"
            )
        _raise_file_limit()
        sys.setswitchinterval(THREAD_SWITCH_SECONDS)
        # moto reads its account ID at its first import, so it is not imported at the top of this file.
        os.environ["MOTO_ACCOUNT_ID"] = self._settings.account_id
        from moto.moto_server.werkzeug_app import MotoRequestHandler

        from local_aws.api.router import Router
        from local_aws.state.moto_state import restore_moto_state

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        restore_moto_state(self._moto_file)
        load_service_model()
        self._router = Router()
        application = AccessControl(self._settings.host_names, self._settings.allowed_origins, self._router)
        try:
            self._server = make_server(
                HOST, self._port, application, threaded=True, request_handler=MotoRequestHandler
            )
        except (OSError, SystemExit) as error:
            # werkzeug prints its own advice and exits when a port is taken.
            raise ServerError(
                f"port {self._port} of {HOST} cannot be bound: {error}; choose another --port"
            ) from error
        try:
            self._services = self._make_services()
        except (FaultError, SchemaError) as error:
            self._server.server_close()
            raise ServerError(str(error)) from error
        self._router.sagemaker = SageMakerApplication(self._services)
        self._router.quotas = ServiceQuotasApplication(self._settings, self._router.moto.handle)
        self._router.price_list = price_list
        self._router.admin = AdminApplication(self._services)
        self._router.faults = self._services.faults
        self._thread = threading.Thread(target=self._server.serve_forever, name="server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End every job, finish requests in flight, save moto's state; returns when nothing runs."""
        if self._server is None:
            return
        from local_aws.state.moto_state import save_moto_state

        # Jobs first, with the port still open: a runner that ends in order writes to S3 and Logs.
        self._router.is_closing = True
        self._services.supervisor.shut_down()
        # After the jobs have ended: a request that is released must not complete one.
        self._services.faults.disarm(None)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if not self._router.wait_until_idle(DRAIN_TIMEOUT_SECONDS):
            log.warning("requests were still in flight %s s after the stop", DRAIN_TIMEOUT_SECONDS)
        save_moto_state(self._moto_file)
        self._services.store.close()
        if self._lock_file is not None:
            self._lock_file.close()

    @property
    def _moto_file(self) -> Path:
        return self._data_dir / "moto.pickle"

    def _make_services(self) -> Services:
        settings = self._settings
        store = Store(self._data_dir / "state.sqlite")
        faults = FaultInjector(settings.faults)
        s3_endpoint_url = settings.s3_endpoint_url or self.url
        environment = build_runner_environment(os.environ, uses_built_in_s3=settings.s3_endpoint_url is None)
        log_dir = self._data_dir / "logs"
        log_dir.mkdir(exist_ok=True)
        # Each start has its own folder: the sweeper of a killed server may still be removing the previous one.
        work_root = self._data_dir / "work" / uuid.uuid4().hex[:12]
        shutil.rmtree(work_root.parent, ignore_errors=True)
        work_root.mkdir(parents=True)
        fail_interrupted_jobs(store.jobs)
        context = SharedJobContext(
            settings=settings,
            job_table=store.jobs,
            command=settings.runner_command or (sys.executable, "-m", "local_aws.runner"),
            environment=environment,
            s3_endpoint_url=s3_endpoint_url,
            logs_endpoint_url=self.url,
            log_dir=log_dir,
            capacity=Capacity(settings.capacity, faults),
            sweeper_process=SweeperProcess(work_root),
        )
        return Services(
            settings=settings,
            store=store,
            supervisor=Supervisor(context, work_root),
            faults=faults,
            aws=AwsClients(s3_endpoint_url, self.url, environment),
        )

    def _lock_data_dir(self) -> None:
        self._lock_file = (self._data_dir / "lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock_file.close()
            raise ServerError(
                f"{self._data_dir} is in use by another embedded AWS; stop it or choose another --data-dir"
            ) from error


def _raise_file_limit() -> None:
    """moto holds one file descriptor for each object above 5 MB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
