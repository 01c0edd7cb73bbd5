"""Airflow's own processes on this machine: api-server, scheduler, dag-processor and triggerer, on loopback.

Used by `make up` and by the end-to-end tests, so that both start the very same thing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.laptop import LaptopError

#: How long Airflow's processes wait for their turn to write to SQLite. On a slow disk a turn takes longer than the five
#: seconds that are sqlite3's default, and a scheduler that does not get it ends.
SQLITE_PATIENCE_SECONDS = 60
#: The API server waits within its event loop, where Airflow 3.3.2 notes in its log what a person does; whoever has the
#: turn may need that loop to end it. Then nobody gets on until the one who waits gives up, and answers 500.
API_SQLITE_PATIENCE_SECONDS = 3
#: What it answers then; nothing was changed. The second is what it says to a backfill.
LOCKED = ("Database error", "Database is locked")
REST_TRIES = 8
DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
#: Airflow's log servers listen on every address, whatever is configured; the api-server reads the same files from disk.
ARGUMENTS = {"scheduler": ["--skip-serve-logs"], "triggerer": ["--skip-serve-logs"]}


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, all different, below the range of outgoing connections."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def component_environment(
    environment: Mapping[str, str], *, api_port: int, reparse_seconds: int
) -> dict[str, str]:
    """What the components need beyond a laptop's environment: the api-server's port, quick discovery of DAG files."""
    url = f"http://127.0.0.1:{api_port}"
    return {
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


def database_for(component: str, url: str) -> str:
    """The database's address with how long the component waits for its turn, if it is SQLite."""
    if not url.startswith("sqlite:"):
        return url
    patience = API_SQLITE_PATIENCE_SECONDS if component == "api-server" else SQLITE_PATIENCE_SECONDS
    return f"{url}?timeout={patience}"


@dataclasses.dataclass(frozen=True)
class RestApi:
    """Airflow's public REST API, as its UI calls it. With every caller an admin no password is asked."""

    url: str

    def token(self) -> str:
        """A bearer token for the API."""
        with urllib.request.urlopen(f"{self.url}/auth/token", timeout=20) as answer:
            return str(json.load(answer)["access_token"])

    @functools.cached_property
    def bearer(self) -> str:
        """One token for all calls; it lasts a day."""
        return self.token()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer of one call below `/api/v2`; asked again while the database is locked.

        Raises:
            LaptopError: on any answer but 2xx; carries status and body.
        """
        for _ in range(REST_TRIES - 1):
            try:
                return self._call(method, path, body)
            except LaptopError as error:
                if not any(words in str(error) for words in LOCKED):
                    raise
                time.sleep(1)
        return self._call(method, path, body)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v2{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.bearer}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
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
        self.python = python
        self.environment = component_environment(
            environment, api_port=api_port, reparse_seconds=reparse_seconds
        )
        self.home = Path(self.environment["AIRFLOW_HOME"])
        self.api = RestApi(f"http://127.0.0.1:{api_port}")
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *components: str) -> None:
        """Start the named components, or all of them."""
        for component in components or COMPONENTS:
            self._start(component, component)

    def start_second_triggerer(self, name: str) -> None:
        """Start one more triggerer, which goes by `name` here and in the name of its log."""
        self._start(name, "triggerer")

    def _start(self, name: str, component: str) -> None:
        environment = {**self.environment, DATABASE: database_for(component, self.environment[DATABASE])}
        log_file = self.log_of(name)
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            self.running[name] = subprocess.Popen(
                [self.python, "-m", "airflow", component, *ARGUMENTS.get(component, ())],
                env=environment, cwd=self.home, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self, component: str, with_signal: int = signal.SIGKILL) -> None:
        """End one component and all its children at once."""
        process = self.running.pop(component)
        os.killpg(process.pid, with_signal)
        process.wait()

    def signal(self, component: str, number: int) -> None:
        """Send a signal to one component and all its children."""
        os.killpg(self.running[component].pid, number)

    def stop(self, *, seconds: float = 30) -> None:
        """End all components, politely first."""
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        for process in self.running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            # Children of a component that was killed outlive it; they are in its group.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()
        self.running.clear()

    def log_of(self, component: str) -> Path:
        """The file the component writes its output to."""
        return self.home / "logs" / f"{component}.log"

    def raise_if_dead(self) -> None:
        """Raise LaptopError with the end of its log when a component has ended by itself."""
        for component, process in self.running.items():
            if process.poll() is not None:
                tail = self.log_of(component).read_text(errors="replace")[-1500:]
                raise LaptopError(f"airflow {component} ended with status {process.returncode}: {tail}")

    def wait_until_healthy(self, *, seconds: float = 180) -> None:
        """Return when every component says it is healthy.

        Raises:
            LaptopError: when one of them ends, or not all are healthy in time.
        """
        deadline = time.monotonic() + seconds
        state: Any = "no answer yet"
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
            f"Airflow was not healthy after {seconds:.0f} s: {state}. Its logs: {self.home / 'logs'}"
        )

    def wait_for_dag(self, dag_id: str, *, seconds: float = 120) -> None:
        """Return when the dag-processor has parsed the DAG and the scheduler can run it.

        Raises:
            LaptopError: when it is not there in time; carries the import errors there are.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.raise_if_dead()
            known = self.api.call("GET", "/dags?limit=1000")["dags"]
            if dag_id in {dag["dag_id"] for dag in known}:
                return
            time.sleep(1)
        errors = self.api.call("GET", "/importErrors")["import_errors"]
        raise LaptopError(f"the DAG {dag_id!r} did not appear in {seconds:.0f} s; import errors: {errors}")
