"""Where a laptop run keeps its state, the environment Airflow is given there, and the embedded AWS it talks to.

The DAGs do not know any of this: the switch to the laptop is the connection `aws_default` with an `endpoint_url`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
#: What runs leave behind: databases, logs, the embedded AWS's objects. `make clean` deletes it.
STATE = Path(os.environ.get("LAPTOP_STATE", REPO / ".local")).resolve()
#: Logs and databases hold records and secrets.
PRIVATE_UMASK = 0o077
#: Holds what Airflow imports as its local settings.
LOCAL_SETTINGS = REPO / "tools" / "laptop_airflow"
REGION = "us-east-1"
#: The embedded AWS checks no credentials, but clients refuse to sign without some. Airflow masks the secret wherever it
#: appears in a log, so it is no word that appears anywhere.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "EMBEDDEDAWS",
    "AWS_SECRET_ACCESS_KEY": "the-embedded-aws-asks-for-no-secret",
    "AWS_DEFAULT_REGION": REGION,
}


class LaptopError(Exception):
    """Something a person must be told in one line; the tools print it without a traceback."""


@contextlib.contextmanager
def private_files(folder: Path) -> Iterator[int]:
    """Files made while the block runs, here and by processes started in it, are their owner's alone, as is `folder`.

    Gives the umask outside the block.
    """
    usual = os.umask(PRIVATE_UMASK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid == os.getuid():
            folder.chmod(0o700)  # it may be of a version that left it open
        yield usual
    finally:
        os.umask(usual)


def aws_connection(endpoint_url: str) -> str:
    """The Airflow connection, as JSON, that points every AWS hook at `endpoint_url`."""
    return json.dumps(
        {
            "conn_type": "aws",
            "login": CREDENTIALS["AWS_ACCESS_KEY_ID"],
            "password": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            "extra": {"region_name": REGION, "endpoint_url": endpoint_url},
        }
    )


def kept_secrets(folder: Path) -> Mapping[str, str]:
    """Random secrets of one Airflow home, made once and readable by their owner only."""
    path = folder / "secrets.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # A Fernet key is 32 random bytes in URL-safe base64.
        made = {
            "fernet": secrets.token_urlsafe(32) + "=",
            "jwt": secrets.token_hex(32),
            "api": secrets.token_hex(32),
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(made))
    loaded: dict[str, str] = json.loads(path.read_text())
    return loaded


def airflow_environment(home: Path, endpoint_url: str, *, root: Path = REPO) -> dict[str, str]:
    """The environment of every Airflow process on a laptop: this process's own, and what follows from `home`.

    `root` is the folder that holds dags/, plugins/ and include/.
    """
    secret = kept_secrets(home)
    return {
        **{
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("AIRFLOW", "AWS_", "_AIRFLOW"))
        },
        **CREDENTIALS,
        # Airflow puts only dags/, plugins/ and config/ on the path; include/ is found from the root.
        "PYTHONPATH": os.pathsep.join(map(str, (root, root / "plugins", LOCAL_SETTINGS))),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(endpoint_url),
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


def s3_client(endpoint_url: str) -> Any:
    """A boto3 S3 client for the embedded AWS, whatever credentials or profiles this machine has."""
    import boto3

    session = boto3.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )
    return session.client("s3", endpoint_url=endpoint_url)


@contextlib.contextmanager
def embedded_aws(
    data_dir: Path, *, port: int = 0, settings: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run the embedded AWS while the block runs; gives its endpoint URL. `settings` by their names.

    Raises:
        LaptopError: when it does not come up; names the log to read.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir.with_suffix(".log")
    command = [
        sys.executable,
        "-m",
        "include.local_aws",
        "serve",
        "--port",
        str(port),
        "--data-dir",
        str(data_dir),
        *(word for name, value in (settings or {}).items() for word in ("--set", f"{name}={value}")),
    ]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, cwd=REPO, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(REPO)},
        )  # fmt: skip
    try:
        assert process.stdout is not None
        endpoint = None
        for line in process.stdout:
            if found := re.search(r"listening on (http://\S+)", line):
                endpoint = found[1]
                break
        if endpoint is None:
            said = log.read_text()[-600:].strip() or "nothing"
            raise LaptopError(
                f"the embedded AWS did not start (port {port}); it said: {said}. Its log: {log}"
            )
        # The pipe is drained so that a talkative server never blocks on it.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield endpoint
    finally:
        stop(process, seconds=20)


def stop(process: subprocess.Popen[Any], *, seconds: float) -> None:
    """Ask the process to end, and after `seconds` make it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def migrate(environment: Mapping[str, str], *, python: str = sys.executable) -> subprocess.Popen[bytes]:
    """Start `airflow db migrate`; its output goes to `migrate.log` in the Airflow home."""
    home = Path(environment["AIRFLOW_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    with (home / "migrate.log").open("w") as log:
        return subprocess.Popen(
            [python, "-m", "airflow", "db", "migrate"], env=dict(environment), stdout=log, stderr=log
        )


def finish_migration(process: subprocess.Popen[bytes], environment: Mapping[str, str]) -> None:
    """Wait for the migration.

    Raises:
        LaptopError: when it failed; carries the end of its log.
    """
    if process.wait() != 0:
        log = Path(environment["AIRFLOW_HOME"]) / "migrate.log"
        raise LaptopError(f"airflow db migrate failed: {log.read_text()[-600:].strip()}")
