"""Airflow environment and embedded AWS of runs on a laptop.

The DAGs are not aware of this: the switch to the laptop is the connection `aws_default` with an `endpoint_url`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from batch_inference.common.errors import BatchInferenceError

#: Packages that Airflow and the embedded AWS import, which a checkout has in folders of its own.
PACKAGES = ("batch_inference", "sagemaker_jobs", "local_aws")
#: Logs and databases hold records and secrets.
PRIVATE_UMASK = 0o077
Umask = int
#: Holds what Airflow imports as its local settings.
LOCAL_SETTINGS_DIR = Path(__file__).with_name("airflow_settings")
#: Settings of another Airflow or AWS, which processes on a laptop do not get.
FOREIGN_PREFIXES = ("AIRFLOW", "AWS_", "_AIRFLOW")
REGION = "us-east-1"
#: The embedded AWS checks no credentials, but clients refuse to sign without some. Airflow masks the secret wherever it
#: appears in a log, so it is a text that appears nowhere else.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "EMBEDDEDAWS",
    "AWS_SECRET_ACCESS_KEY": "the-embedded-aws-asks-for-no-secret",
    "AWS_DEFAULT_REGION": REGION,
}


class LaptopError(BatchInferenceError):
    """What runs on this machine did not start or ended; the message has the end of its log."""


@contextlib.contextmanager
def keep_files_private(folder: Path) -> Iterator[Umask]:
    """Files made while the block runs, here and by processes started in it, are their owner's alone, as is `folder`.

    Gives the umask outside the block.
    """
    outer_umask = os.umask(PRIVATE_UMASK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid == os.getuid():
            folder.chmod(0o700)  # it may be of a version that left it open
        yield outer_umask
    finally:
        os.umask(outer_umask)


def build_aws_connection(endpoint_url: str) -> str:
    """The Airflow connection, as JSON, that points every AWS hook at `endpoint_url`."""
    return json.dumps(
        {
            "conn_type": "aws",
            "login": CREDENTIALS["AWS_ACCESS_KEY_ID"],
            "password": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            "extra": {"region_name": REGION, "endpoint_url": endpoint_url},
        }
    )


def load_or_create_secrets(folder: Path) -> Mapping[str, str]:
    """Random secrets of one Airflow home, generated once and readable by their owner only."""
    path = folder / "secrets.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # A Fernet key is 32 random bytes in URL-safe base64.
        secrets_by_name = {
            "fernet": secrets.token_urlsafe(32) + "=",
            "jwt": secrets.token_hex(32),
            "api": secrets.token_hex(32),
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(secrets_by_name))
    loaded: dict[str, str] = json.loads(path.read_text())
    return loaded


def find_package_folders(*packages: str) -> list[Path]:
    """The folders that hold these packages, without those where Python finds installed ones by itself."""
    specs = filter(None, map(importlib.util.find_spec, packages))
    folders = dict.fromkeys(Path(spec.origin).resolve().parents[1] for spec in specs if spec.origin)
    return [folder for folder in folders if "site-packages" not in folder.parts]


def build_airflow_environment(home: Path, endpoint_url: str, *, root: Path) -> dict[str, str]:
    """The environment of every Airflow process on a laptop: this process's own, and what follows from `home`.

    `root` is the folder that holds dags/, and perhaps plugins/ and include/; the packages of this project are imported
    from there if it has them, else from where this process has them.
    """
    folders = [
        folder
        for folder in (root / "include", root / "plugins")
        if any((folder / name).is_dir() for name in PACKAGES)
    ] or [*find_package_folders("batch_inference", "sagemaker_jobs"), root]
    secret = load_or_create_secrets(home)
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(FOREIGN_PREFIXES)},
        **CREDENTIALS,
        # Airflow puts only dags/, plugins/ and config/ on the path.
        "PYTHONPATH": os.pathsep.join(map(str, (*folders, LOCAL_SETTINGS_DIR))),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_AWS_DEFAULT": build_aws_connection(endpoint_url),
        "AIRFLOW__CORE__DAGS_FOLDER": str(root / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(root / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # A laptop that is busy needs longer than 30 s to import what a DAG file does; that is no error of the file.
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": secret["fernet"],
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__API_AUTH__JWT_SECRET": secret["jwt"],
        "AIRFLOW__API__SECRET_KEY": secret["api"],
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        # Airflow gives these to logs of tasks whatever the umask is.
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
        # The end of a task is sometimes noticed so much later; jobs that take seconds would be looked at rarely.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }


def create_client(service: str, endpoint_url: str, **options: Any) -> Any:
    """A boto3 client for the embedded AWS, whatever credentials or profiles this machine has."""
    import boto3

    session = boto3.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )
    return session.client(service, endpoint_url=endpoint_url, **options)  # type: ignore[call-overload]


create_s3_client = functools.partial(create_client, "s3")


def build_path_environment(*packages: str) -> dict[str, str]:
    """This process's environment, for a Python that imports these packages from where this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, find_package_folders(*packages)))}


@contextlib.contextmanager
def run_embedded_aws(data_dir: Path, **options: Any) -> Iterator[str]:
    """`run_embedded_aws_process`, which gives the endpoint URL only."""
    with run_embedded_aws_process(data_dir, **options) as (_, endpoint):
        yield endpoint


@contextlib.contextmanager
def run_embedded_aws_process(
    data_dir: Path,
    *,
    port: int = 0,
    settings: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the embedded AWS while the block runs, which may end it; gives its process and endpoint URL.

    `settings` by their names. `python` is the interpreter of the environment that it is installed in.

    Raises:
        LaptopError: when it does not come up; names the log to read.
    """
    if python == sys.executable and importlib.util.find_spec("moto") is None:
        raise LaptopError(
            "the embedded AWS is not installed here: found no package moto; install "
            "airflow-sagemaker-batch-inference[local], or name the Python of an environment that has it with "
            "--local-aws-python"
        )
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir.with_suffix(".log")
    command = [python, "-m", "local_aws", "serve", "--port", str(port), "--data-dir", str(data_dir)]
    for name, value in (settings or {}).items():
        command += ["--set", f"{name}={value}"]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, cwd=data_dir, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True,
            env={**build_path_environment("local_aws"), **(environment or {})},
        )  # fmt: skip
    try:
        assert process.stdout is not None
        found = (re.search(r"listening on (http://\S+)", line) for line in process.stdout)
        endpoint = next(filter(None, found), None)
        if endpoint is None:
            output = log.read_text()[-600:].strip() or "none"
            raise LaptopError(
                f"the embedded AWS did not start (port {port}); its output: {output}. Log: {log}"
            )
        # The pipe is drained so that a talkative server never blocks on it.
        threading.Thread(target=_drain, args=[process.stdout], daemon=True).start()
        yield process, endpoint[1]
    finally:
        stop_processes([process], grace_seconds=20)


def _drain(pipe: IO[str]) -> None:
    with pipe:
        pipe.read()


def stop_processes(processes: Collection[subprocess.Popen[Any]], *, grace_seconds: float) -> None:
    """Send SIGTERM to each; after `grace_seconds`, SIGKILL to what has not ended, and to the groups that they lead."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        # Children of a process that was killed outlive it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()


def start_migration(
    environment: Mapping[str, str], *, python: str = sys.executable
) -> subprocess.Popen[bytes]:
    """Start `airflow db migrate`; its output goes to `migrate.log` in the Airflow home."""
    home = Path(environment["AIRFLOW_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    command = [python, "-m", "airflow", "db", "migrate"]
    with (home / "migrate.log").open("w") as log:
        return subprocess.Popen(command, env=dict(environment), stdout=log, stderr=log)


def wait_for_migration(process: subprocess.Popen[bytes], environment: Mapping[str, str]) -> None:
    """Wait for the migration.

    Raises:
        LaptopError: when it failed; carries the end of its log.
    """
    if process.wait() != 0:
        log = Path(environment["AIRFLOW_HOME"]) / "migrate.log"
        raise LaptopError(f"airflow db migrate failed: {log.read_text()[-600:].strip()}")
