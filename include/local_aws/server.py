"""The server: one port, SageMaker from botocore's model, the other services that are served from moto."""

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

from include.local_aws.api.access import AccessControl
from include.local_aws.api.admin import AdminApplication
from include.local_aws.api.aws import AwsClients
from include.local_aws.api.call import Services
from include.local_aws.api.model import service_model
from include.local_aws.api.service_quotas import ServiceQuotasApplication
from include.local_aws.api.wire import SageMakerApplication
from include.local_aws.faults import FaultError, Faults
from include.local_aws.jobs.capacity import Capacity
from include.local_aws.jobs.environment import runner_environment
from include.local_aws.jobs.guard import Guard
from include.local_aws.jobs.job import Surroundings, fail_interrupted
from include.local_aws.jobs.supervisor import Supervisor
from include.local_aws.settings import Settings
from include.local_aws.state.database import SchemaError
from include.local_aws.state.store import Store

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
# Threads that compute (moto's, mostly) hand over the interpreter this often, so that Describe does not wait
# for several of them in turn; Python's own value is 5 ms.
SWITCH_SECONDS = 0.0005
DRAIN_SECONDS = 10.0


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
        """Where clients find it; known once it has started."""
        if self._server is None:
            raise ServerError("the server has not started")
        return f"http://{HOST}:{self._server.port}"

    def start(self) -> None:
        """Restore state, bind the port and serve from threads; returns once requests are answered.

        Raises ServerError for a data directory in use or of another version, a port that is taken, or settings
        that name what is not there; MotoStateError for a saved S3 that does not load.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        if self._data_dir.stat().st_uid == os.getuid():
            # S3, requests with their variables, and logs are nobody else's to read.
            self._data_dir.chmod(0o700)
        self._take_data_dir()
        images = self._settings.images_file
        if images is not None and not Path(images).is_file():
            raise ServerError(
                f"images_file is {images!r}, which is not a file; give a path that is, or leave it out"
            )
        _raise_file_limit()
        sys.setswitchinterval(SWITCH_SECONDS)
        # moto reads its account when it is first imported, hence not at the top of this file.
        os.environ["MOTO_ACCOUNT_ID"] = self._settings.account_id
        from moto.moto_server.werkzeug_app import MotoRequestHandler

        from include.local_aws.api.front import Front
        from include.local_aws.state.moto_state import restore_moto

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        restore_moto(self._moto_file)
        service_model()
        self._front = Front()
        application = AccessControl(self._settings.host_names, self._settings.allowed_origins, self._front)
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
        self._front.sagemaker = SageMakerApplication(self._services)
        self._front.quotas = ServiceQuotasApplication(self._settings, self._front.moto.answer)
        self._front.admin = AdminApplication(self._services)
        self._front.faults = self._services.faults
        self._thread = threading.Thread(target=self._server.serve_forever, name="server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End every job, answer what is in flight, keep moto's state; returns when nothing runs."""
        if self._server is None:
            return
        from include.local_aws.state.moto_state import save_moto

        # Jobs first, with the port still open: a runner that ends in order writes to S3 and Logs.
        self._front.closing = True
        self._services.supervisor.shut_down()
        # After the jobs have ended: what is let go must not complete one.
        self._services.faults.disarm(None)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if not self._front.drained(DRAIN_SECONDS):
            log.warning("requests were still in flight %s s after the stop", DRAIN_SECONDS)
        save_moto(self._moto_file)
        self._services.store.close()
        if self._lock_file is not None:
            self._lock_file.close()

    @property
    def _moto_file(self) -> Path:
        return self._data_dir / "moto.pickle"

    def _make_services(self) -> Services:
        settings = self._settings
        store = Store(self._data_dir / "state.sqlite")
        faults = Faults(settings.faults)
        s3_endpoint_url = settings.s3_endpoint_url or self.url
        environment = runner_environment(os.environ, own_s3=settings.s3_endpoint_url is None)
        log_dir = self._data_dir / "logs"
        log_dir.mkdir(exist_ok=True)
        # Every start has a folder of its own, since the sweeper of a killed server may still be at the last one.
        work_root = self._data_dir / "work" / uuid.uuid4().hex[:12]
        shutil.rmtree(work_root.parent, ignore_errors=True)
        work_root.mkdir(parents=True)
        fail_interrupted(store.jobs)
        around = Surroundings(
            settings=settings,
            store=store.jobs,
            command=settings.runner_command or (sys.executable, "-m", "include.local_aws.runner"),
            environment=environment,
            s3_endpoint_url=s3_endpoint_url,
            logs_endpoint_url=self.url,
            log_dir=log_dir,
            capacity=Capacity(settings.capacity, faults),
            guard=Guard(work_root),
        )
        return Services(
            settings=settings,
            store=store,
            supervisor=Supervisor(around, work_root),
            faults=faults,
            aws=AwsClients(s3_endpoint_url, self.url, environment),
        )

    def _take_data_dir(self) -> None:
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
