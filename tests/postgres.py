"""PostgreSQL from Debian's package as a process of this machine, with a cluster of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from batch_inference.cli.laptop.airflow_processes import find_free_ports

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
START_SECONDS = 60


class PostgresError(Exception):
    """PostgreSQL is not installed, or did not start; says what to do or carries its log."""


def find_programs_dir() -> Path:
    """Where the newest installed version has its programs; Debian keeps `initdb` and `postgres` off the path."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(found, key=lambda path: int(path.parents[1].name), default=None)
    if newest is None:
        raise PostgresError("this test needs PostgreSQL (Debian: apt-get install postgresql)")
    return newest.parent


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster below `folder`, with one account.

    `folder` must be reachable by others than its owner: PostgreSQL refuses to run as root, and then runs as `postgres`.
    """

    folder: Path
    port: int
    account: str = "airflow"
    password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    bin: Path = field(default_factory=find_programs_dir)

    @property
    def user(self) -> str | None:
        """Who the server runs as; None for whoever runs the test."""
        return "postgres" if os.getuid() == 0 else None

    @property
    def path(self) -> str:
        """PATH for the server's programs and for its health check."""
        return f"{self.bin}:{SYSTEM_PATH}"

    @property
    def client_environment(self) -> dict[str, str]:
        """Variables with which PostgreSQL's clients find the server."""
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.port)}

    @property
    def command(self) -> list[str]:
        """Runs the server, on loopback only. What a test loses in a crash of the machine does not matter."""
        command = ["postgres", "-D", str(self.folder / "data"), "-p", str(self.port)]
        for setting in ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"):
            command += ["-c", setting]
        return command

    def make(self) -> None:
        """Write the cluster's files."""
        password = self.folder / "password"
        password.write_text(self.password)
        if self.user:
            for path in (self.folder, password):
                shutil.chown(path, self.user)
        command = [str(self.bin / "initdb"), "--auth=scram-sha-256", f"--username={self.account}"]
        command += [f"--pwfile={password}", str(self.folder / "data")]
        subprocess.run(command, check=True, user=self.user, stdout=subprocess.DEVNULL, cwd=self.folder)

    def create_database(self, name: str) -> None:
        """Make an empty database, once the server answers."""
        login = {
            **self.client_environment,
            "PGUSER": self.account,
            "PGPASSWORD": self.password,
            "PATH": self.path,
        }
        subprocess.run([str(self.bin / "createdb"), name], env=login, check=True)

    def url(self, database: str) -> str:
        """The database's address for SQLAlchemy."""
        return f"postgresql+psycopg2://{self.account}:{self.password}@127.0.0.1:{self.port}/{database}"


@contextlib.contextmanager
def running_postgres(database: str) -> Iterator[str]:
    """A server with one empty database while the block runs; gives its address for SQLAlchemy.

    Raises:
        PostgresError: it is not installed, or does not answer in time.
    """
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        cluster = Cluster(folder=Path(folder), port=find_free_ports(1)[0])
        cluster.make()
        log = cluster.folder / "server.log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                [str(cluster.bin / cluster.command[0]), *cluster.command[1:]],
                user=cluster.user, cwd=cluster.folder, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + START_SECONDS
            ready = [str(cluster.bin / "pg_isready"), "-q"]
            while subprocess.run(ready, env=cluster.client_environment, check=False).returncode != 0:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise PostgresError(f"PostgreSQL does not answer: {log.read_text()[-1500:]}")
                time.sleep(0.2)
            cluster.create_database(database)
            yield cluster.url(database)
        finally:
            # Fast shutdown: clients that are still connected are cut off.
            server.send_signal(signal.SIGINT)
            server.wait(timeout=START_SECONDS)


def dump_database(url: str) -> bytes:
    """All that a database holds, as SQL; `url` is its address for SQLAlchemy. Bytes are in it as hexadecimal digits."""
    address = url.replace("postgresql+psycopg2:", "postgresql:")
    return subprocess.run(
        [str(find_programs_dir() / "pg_dump"), f"--dbname={address}"], check=True, stdout=subprocess.PIPE
    ).stdout
