"""One Airflow and one embedded AWS for all processes of a test run: pytest-xdist's workers share them.

Who needs them first starts this module as a process. It ends once no worker holds the lock of `users` any more, also
when they were killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batch_inference.cli.laptop.airflow_processes import AirflowProcesses
from batch_inference.cli.laptop.environment import (
    LaptopError,
    build_airflow_environment,
    create_s3_client,
    run_embedded_aws,
)
from batch_inference.cli.laptop.sample import make_sample
from tests import preloading
from tests.end_to_end.deployment import ADMIN, USERS, Deployment, PasswordApi, SharedAirflow
from tests.on_postgres import running_airflow
from tools.checkout import REPO

ROWS = 6_000
START_SECONDS = 600

#: A key is whatever uploads it: templates, HTML and quotes in it are text, and stay text on all its way.
ODD_NAME = "{{ 7 * 7 }} <img src=x onerror=alert(1)> ' & ü.csv"


@contextlib.contextmanager
def lock(path: Path, kind: int) -> Iterator[None]:
    """Hold the file's lock while the block runs; it is gone with this process, however that ends."""
    with path.open("w") as file:
        fcntl.flock(file, kind)
        yield


@contextlib.contextmanager
def shared_deployment(folder: Path) -> Iterator[Deployment]:
    """The deployment of all who name this folder, started if need be.

    Raises:
        LaptopError: it did not start; carries the end of its log.
    """
    address, log = folder / "deployment.json", folder / "deployment.log"
    with lock(folder / "users", fcntl.LOCK_SH):
        with lock(folder / "start", fcntl.LOCK_EX):
            if not address.exists():
                start(address, log)
            found = json.loads(address.read_text())
        airflow = SharedAirflow(found["environment"], found["url"], found["processes"])
        yield Deployment(
            airflow=airflow, s3=create_s3_client(found["endpoint"]), root=Path(found["root"]),
            endpoint=found["endpoint"], sample=Path(found["sample"]),
        )  # fmt: skip


def start(address: Path, log: Path) -> None:
    """Start the process, and wait until the deployment's address is there."""
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(address)], cwd=REPO, stdout=output, stderr=output,
            start_new_session=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
    deadline = time.monotonic() + START_SECONDS
    while not address.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise LaptopError(f"the Airflow of the end-to-end tests did not start: {log.read_text()[-3000:]}")
        time.sleep(0.2)


def serve(address: Path) -> None:
    """Run all, say where it is, and end when nobody needs it, or when a part of it has ended."""
    state = Path(tempfile.mkdtemp(prefix="end-to-end-", dir=address.parent))
    sample, root = state / "sample", state / "deployed"
    make_sample(sample, rows=ROWS, seed=7)
    last = max((sample / "data").iterdir())
    last.rename(last.with_name(ODD_NAME))
    for folder in ("dags", "plugins", "include"):
        shutil.copytree(REPO / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    preloading.preload(root)
    shutil.copy(Path(__file__).with_name("to_file.py"), root / "plugins")
    # What runs wait for has no less of the machine than those who wait.
    settings = {"images_file": str(Path(__file__).with_name("images.yaml")), "job_niceness": "0"}
    with run_embedded_aws(state / "aws", settings=settings) as endpoint:
        environment = {
            **build_airflow_environment(state / "airflow", endpoint, root=root),
            **preloading.ENVIRONMENT,
            **ask_for_passwords(state, root),
            "AIRFLOW__CORE__PARALLELISM": "6",
        }
        with running_airflow(environment, log_in) as airflow:
            deployment = Deployment(
                airflow=airflow, s3=create_s3_client(endpoint), root=root, endpoint=endpoint, sample=sample
            )
            deployment.upload_sample()
            write(address, deployment)
            try:
                wait_for_last_user(address.with_name("users"), airflow)
            finally:
                address.unlink()


def ask_for_passwords(state: Path, root: Path) -> dict[str, str]:
    """Settings of an Airflow whose users have to log in, and of which not each may read each DAG."""
    passwords = state / "passwords.json"
    passwords.write_text(json.dumps(USERS))
    auth = REPO / "tests" / "integration" / "batch_runs" / "auth.py"
    shutil.copy(auth, root / "include" / "auth_by_dag.py")
    return {
        "AIRFLOW__CORE__AUTH_MANAGER": "auth_by_dag.OpenDagsForViewers",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{user}" for user in USERS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }


def log_in(airflow: AirflowProcesses) -> None:
    """Have the components ask for passwords, and know that of the admin."""
    airflow.environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] = "False"
    airflow.environment["AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL"] = "3"
    airflow.api = PasswordApi(airflow.api.url, ADMIN, USERS[ADMIN])


def write(address: Path, deployment: Deployment) -> None:
    """Say where the deployment is; whoever sees the file sees all of it."""
    airflow = deployment.airflow
    found: dict[str, Any] = {
        "environment": airflow.environment,
        "url": airflow.api.url,
        "processes": {name: process.pid for name, process in airflow.processes.items()},
        "endpoint": deployment.endpoint,
        "root": str(deployment.root),
        "sample": str(deployment.sample),
    }
    new = address.with_suffix(".new")
    new.write_text(json.dumps(found))
    new.rename(address)


def wait_for_last_user(users: Path, airflow: AirflowProcesses) -> None:
    """Return when nobody has the lock. Raises LaptopError when one of Airflow's components has ended."""
    with users.open("w") as file:
        while True:
            airflow.raise_if_dead()
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(0.5)


if __name__ == "__main__":
    # An end by hand also ends all that was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    serve(Path(sys.argv[1]))
