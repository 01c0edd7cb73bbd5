"""The services of docker-compose.yaml as processes of this machine: the same commands, environment, mounts and health
checks, with what a container has of its own (its host name, its ports, its /opt) put elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batch_inference.cli.laptop.airflow_processes import find_free_ports
from batch_inference.cli.laptop.environment import stop_processes
from tools.checkout import REPO

#: What the images set themselves, or what every process needs.
BASE = {"LANG": "C.UTF-8", "HOME": "/tmp", "HOSTNAME": os.uname().nodename, "AIRFLOW_HOME": "/opt/airflow"}
#: Commands that the entry point of Airflow's image runs as they are; to others it adds `airflow`.
UNPREFIXED_COMMANDS = {"bash", "python"}


class ContainerError(Exception):
    """A service ended, or did not become healthy; carries the end of its log."""


class Containers:
    """Starts services of a compose document as processes, all below `state`."""

    def __init__(self, services: Mapping[str, Any], state: Path) -> None:
        self.services, self.state = services, state
        names = ("api", "scheduler", "postgres", "redis", "aws", "one", "two", "triggerer")
        self.port = dict(zip(names, find_free_ports(len(names)), strict=True))
        self.paths: dict[str, str] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        (state / "logs").mkdir()
        redis = f"--bind 127.0.0.1 --port {self.port['redis']} --dir {state}"
        # In this order: the longer text first.
        self.replacements = {
            "@postgres/": f"@127.0.0.1:{self.port['postgres']}/",
            "@redis:6379/": f"@127.0.0.1:{self.port['redis']}/",
            "http://airflow-apiserver:8080/": f"http://127.0.0.1:{self.port['api']}/",
            "http://localhost:8080": f"http://127.0.0.1:{self.port['api']}",
            "http://localhost:8974/": f"http://127.0.0.1:{self.port['scheduler']}/",
            "http://localhost:5600/": f"http://127.0.0.1:{self.port['aws']}/",
            "http://local-aws:5600": f"http://127.0.0.1:{self.port['aws']}",
            "redis-server /tmp/redis.conf": f"redis-server {state}/redis.conf {redis}",
            "/tmp/redis.conf": f"{state}/redis.conf",
            "redis-cli ": f"redis-cli -p {self.port['redis']} ",
            "/opt/": f"{state}/opt/",
            "/var/lib/local-aws": f"{state}/local-aws",
        }

    def replace_addresses(self, text: str) -> str:
        """A text of the compose file as it reads on this machine."""
        for inside, outside in self.replacements.items():
            text = text.replace(inside, outside)
        return text

    def mount(self) -> None:
        """Copy what the services mount from the repository to where they mount it; a test may change the copies."""
        for service in self.services.values():
            for mount in service.get("volumes", ()):
                source, target = mount.split(":")[:2]
                copy = Path(self.replace_addresses(target))
                if source.startswith("./") and not copy.exists():
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    if (REPO / source).is_dir():
                        shutil.copytree(REPO / source, copy, ignore=shutil.ignore_patterns("__pycache__"))
                    else:
                        shutil.copy(REPO / source, copy)

    def environment(self, name: str, path: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The service's environment and no other variable of this process."""
        own = {**BASE, **self.services[name].get("environment", {})}
        return {key: self.replace_addresses(str(value)) for key, value in own.items()} | {
            "PATH": path,
            **(more or {}),
        }

    def start(
        self, name: str, path: str, *, more: Mapping[str, str] | None = None, extra: Sequence[str] = (),
        command: Sequence[str] | None = None, as_name: str | None = None, user: str | None = None,
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start a service; `extra` arguments are those that tell two of its kind apart on one machine."""
        words = (
            [self.replace_addresses(word) for word in self.services[name]["command"]]
            if command is None
            else list(command)
        )
        if command is None and name.startswith("airflow-") and words[0] not in UNPREFIXED_COMMANDS:
            words = ["airflow", *words]
        environment = self.environment(name, path, more)
        program = shutil.which(words[0], path=path)
        if program is None:
            raise ContainerError(f"{name}: there is no {words[0]} on {path}")
        with self.get_log_path(as_name or name).open("ab") as log:
            process = subprocess.Popen(
                [program, *words[1:], *extra], env=environment, cwd=self.state, stdout=log, stderr=log,
                start_new_session=True, user=user,
            )  # fmt: skip
        self.running[as_name or name] = process
        self.paths[as_name or name] = path
        return process

    def run(self, name: str, path: str) -> None:
        """Run a service that ends by itself. Raises ContainerError when it fails."""
        status = self.start(name, path).wait()
        del self.running[name]
        if status != 0:
            raise ContainerError(f"{name} ended with {status}: {self.read_log_end(name)}")

    def check_health(
        self, name: str, *, more: Mapping[str, str] | None = None, as_name: str | None = None
    ) -> str:
        """Run the service's own health check once; its output, with the status when that is not 0."""
        kind, *test = self.services[name]["healthcheck"]["test"]
        words = (
            ["/bin/sh", "-c", self.replace_addresses(test[0])]
            if kind == "CMD-SHELL"
            else [self.replace_addresses(each) for each in test]
        )
        environment = self.environment(name, self.paths[as_name or name], more)
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        return (
            ""
            if done.returncode == 0
            else f"status {done.returncode}: {done.stdout[-800:]}{done.stderr[-800:]}"
        )

    def wait_until_healthy(
        self,
        name: str,
        *,
        seconds: float = 600,
        more: Mapping[str, str] | None = None,
        as_name: str | None = None,
    ) -> None:
        """Return when the service's own health check passes. Raises ContainerError when it does not in time."""
        deadline = time.monotonic() + seconds
        while wrong := self.check_health(name, more=more, as_name=as_name):
            self.raise_if_dead()
            if time.monotonic() > deadline:
                raise ContainerError(
                    f"{as_name or name} is not healthy, {wrong}: {self.read_log_end(as_name or name)}"
                )
            time.sleep(1)

    def raise_if_dead(self) -> None:
        """Raise ContainerError when a service has ended by itself."""
        for name, process in self.running.items():
            if process.poll() is not None:
                raise ContainerError(f"{name} ended with {process.returncode}: {self.read_log_end(name)}")

    def get_log_path(self, name: str) -> Path:
        """Where a service's output goes."""
        return self.state / "logs" / f"{name}.log"

    def read_log_end(self, name: str) -> str:
        """The last of what a service wrote."""
        return self.get_log_path(name).read_text(errors="replace")[-2500:]

    def stop(self, *, seconds: float = 40) -> None:
        """End what runs, the last started first, politely first."""
        stop_processes([*reversed(self.running.values())], grace_seconds=seconds)
        self.running.clear()
