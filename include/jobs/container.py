"""The container's own file layout, as SageMaker Processing lays it out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from include.jobs.errors import ConfigError, JobError

MESSAGE_LIMIT = 1024  # bytes of the exit message that SageMaker keeps


@dataclass(frozen=True)
class Container:
    """Where this process finds its configuration and data.

    Attributes:
        base: `/opt/ml`, or what SAGEMAKER_BASE_DIR names (the variable of AWS's own toolkits).
        host: this instance, e.g. `algo-1`.
        hosts: all instances of the job, in order.
    """

    base: Path
    host: str
    hosts: tuple[str, ...]

    def input(self, name: str) -> Path:
        """Where SageMaker puts the input of this name."""
        return self.base / "processing" / "input" / name

    @property
    def data(self) -> Path:
        return self.input("data")

    @property
    def config(self) -> Path:
        return self.input("config")

    @property
    def output(self) -> Path:
        return self.base / "processing" / "output"


def base_dir() -> Path:
    return Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")


def read_container() -> Container:
    """The container this process runs in; raises ConfigError when resourceconfig.json does not say."""
    base = base_dir()
    path = base / "config" / "resourceconfig.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        host, hosts = str(found["current_host"]), tuple(str(name) for name in found["hosts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} does not name this host and its peers: {error}") from error
    if host not in hosts:
        raise ConfigError(f"{path}: current_host {host!r} is not among hosts {list(hosts)}")
    return Container(base=base, host=host, hosts=hosts)


def run_job(work: Callable[[Container], str]) -> int:
    """The exit status of a job, after `work` in this container; what it says, or why it failed, is left for people."""
    try:
        container = read_container()
        add_wheels(container.input("wheels"))
        message = work(container)
    except JobError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        write_message(str(error))
        return 1
    except Exception as error:
        write_message(f"{type(error).__name__}: {error}")
        raise
    print(message, flush=True)
    write_message(message)
    return 0


def add_wheels(folder: Path) -> None:
    """Install the wheels that the pipeline ships, such as pyarrow's, for this process alone; no index is asked.

    Raises:
        ConfigError: pip cannot install one of them here.
    """
    wheels = sorted(str(path) for path in folder.glob("*.whl")) if folder.is_dir() else []
    if not wheels:
        return
    target = tempfile.mkdtemp(prefix="wheels-")
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target", target, *wheels]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(
            f"the wheels that the pipeline ships cannot be installed here: {done.stderr.strip()}"
        )
    sys.path.insert(0, target)
    print(f"installed {', '.join(Path(wheel).name for wheel in wheels)}", flush=True)


def write_json(path: Path, document: Any) -> None:
    """Write a document, and the folder for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def write_message(text: str) -> None:
    """Leave `text` where SageMaker picks up the job's ExitMessage: one line, cut to what is kept."""
    line = " ".join(text.split()).encode("utf-8")[:MESSAGE_LIMIT].decode("utf-8", "ignore")
    path = base_dir() / "output" / "message"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line, encoding="utf-8")
