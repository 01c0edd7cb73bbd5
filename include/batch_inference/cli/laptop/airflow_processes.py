"""Airflow's own processes on this machine: api-server, scheduler, dag-processor and triggerer, on loopback.

Used by `make up` and by the end-to-end tests, so that both start the very same thing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batch_inference.cli.laptop.environment import LaptopError, stop_processes

#: How long Airflow's processes wait for SQLite's write lock. On a slow disk a write takes longer than sqlite3's default
#: of five seconds, and a scheduler that does not get the lock ends.
SQLITE_TIMEOUT_SECONDS = 60
#: The api-server waits inside its event loop, where Airflow 3.3.2 writes its audit log; the holder of the lock may need
#: that loop to release it. That deadlock lasts until the waiting request times out and answers 500.
API_SQLITE_TIMEOUT_SECONDS = 3
#: Its messages in that case, in which nothing has changed; the second is that of a backfill request, the third that of
#: Airflow before 3.3.
DATABASE_LOCKED_MESSAGES = ("Database error", "Database is locked", "Internal Server Error")
MAX_REST_TRIES = 8
#: The api-server may still start, on cores that three other components start on as well.
REST_TIMEOUT_SECONDS = 120
DATABASE_VARIABLE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
#: Airflow's log servers listen on every address, whatever is configured; the api-server reads the same files from disk.
COMPONENT_ARGUMENTS = {"scheduler": ["--skip-serve-logs"], "triggerer": ["--skip-serve-logs"]}


def find_free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, all different, below the range of outgoing connections."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def add_sqlite_timeout(component: str, url: str) -> str:
    """The database URL of a component; for SQLite with its lock timeout."""
    if not url.startswith("sqlite:"):
        return url
    patience = API_SQLITE_TIMEOUT_SECONDS if component == "api-server" else SQLITE_TIMEOUT_SECONDS
    return f"{url}?timeout={patience}"


@dataclasses.dataclass(frozen=True)
class RestApi:
    """Airflow's public REST API, as its UI calls it. Every caller is an admin, without a password."""

    url: str

    def fetch_token(self) -> str:
        """A bearer token for the API."""
        with urllib.request.urlopen(f"{self.url}/auth/token", timeout=REST_TIMEOUT_SECONDS) as answer:
            return str(json.load(answer)["access_token"])

    @functools.cached_property
    def bearer_token(self) -> str:
        """One token for all calls; it lasts a day."""
        return self.fetch_token()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON response of one call below `/api/v2`; repeated while the database is locked.

        Raises:
            LaptopError: on any answer but 2xx; carries status and body.
        """
        for _ in range(MAX_REST_TRIES - 1):
            try:
                return self._call(method, path, body)
            except LaptopError as error:
                if not any(words in str(error) for words in DATABASE_LOCKED_MESSAGES):
                    raise
                time.sleep(1)
        return self._call(method, path, body)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v2{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.bearer_token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=REST_TIMEOUT_SECONDS) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            raise LaptopError(
                f"{method} {path} answered {error.code}: {error.read().decode()[:2000]}"
            ) from error
        return json.loads(content) if content else None


class AirflowProcesses:
    """The four components as child processes, each with a log file in `<AIRFLOW_HOME>/logs/<component>.log`.

    A new or changed DAG file is parsed within ten seconds. One that has not changed is parsed again after
    `reparse_seconds`, which shows an edited pipeline file and takes some two seconds of CPU for each DAG file.
    `python` is the interpreter of the environment that Airflow is installed in.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        api_port: int,
        reparse_seconds: int = 600,
        python: str = sys.executable,
    ) -> None:
        url = f"http://127.0.0.1:{api_port}"
        self.environment = {
            "AIRFLOW__CORE__PARALLELISM": "4",
            **environment,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(api_port),
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            # No login: everything listens on loopback only.
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": str(reparse_seconds),
        }
        self.python, self.home = python, Path(self.environment["AIRFLOW_HOME"])
        self.api = RestApi(url)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *components: str) -> None:
        """Start the named components, or all of them."""
        for component in components or COMPONENTS:
            self.start_as(component, component)

    def start_as(self, name: str, component: str) -> None:
        """Start a component that goes by `name` here and in the name of its log."""
        environment = {
            **self.environment,
            DATABASE_VARIABLE: add_sqlite_timeout(component, self.environment[DATABASE_VARIABLE]),
        }
        log_file = self.get_log_path(name)
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [self.python, "-m", "airflow", component, *COMPONENT_ARGUMENTS.get(component, ())],
                env=environment, cwd=self.home, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def stop(self) -> None:
        """Stop all components: SIGTERM first, after half a minute SIGKILL."""
        stop_processes(self.processes.values(), grace_seconds=30)
        self.processes.clear()

    def get_log_path(self, component: str) -> Path:
        """The file the component writes its output to."""
        return self.home / "logs" / f"{component}.log"

    def raise_if_dead(self) -> None:
        """Raise LaptopError with the end of its log when a component has ended by itself."""
        for component, process in self.processes.items():
            if process.poll() is not None:
                tail = self.get_log_path(component).read_text(errors="replace")[-1500:]
                raise LaptopError(f"airflow {component} ended with status {process.returncode}: {tail}")

    def wait_until_healthy(self, *, timeout_seconds: float = 180) -> None:
        """Return when every component says it is healthy.

        Raises:
            LaptopError: when one of them ends, or not all are healthy in time.
        """
        deadline = time.monotonic() + timeout_seconds
        state: Any = "no response yet"
        while time.monotonic() < deadline:
            self.raise_if_dead()
            try:
                with urllib.request.urlopen(f"{self.api.url}/api/v2/monitor/health", timeout=5) as answer:
                    state = {name: part["status"] for name, part in json.load(answer).items()}
            except (OSError, ValueError) as error:
                state = error
            else:
                wanted = ("metadatabase", "scheduler", "dag_processor", "triggerer")
                if all(state.get(name) == "healthy" for name in wanted):
                    return
            time.sleep(1)
        raise LaptopError(
            f"Airflow was not healthy after {timeout_seconds:.0f} s: {state}. Logs: {self.home / 'logs'}"
        )

    def wait_for_dag(self, dag_id: str, *, timeout_seconds: float = 120) -> None:
        """Return when the dag-processor has parsed the DAG and the scheduler can run it.

        Raises:
            LaptopError: when it is not there in time; carries the import errors there are.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            self.raise_if_dead()
            known = self.api.call("GET", "/dags?limit=1000")["dags"]
            if dag_id in {dag["dag_id"] for dag in known}:
                return
            time.sleep(1)
        errors = self.api.call("GET", "/importErrors")["import_errors"]
        raise LaptopError(
            f"the DAG {dag_id!r} did not appear in {timeout_seconds:.0f} s; import errors: {errors}"
        )
