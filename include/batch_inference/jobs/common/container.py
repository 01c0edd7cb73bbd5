"""Runs a job in the file layout of a SageMaker Processing container, and writes its exit message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from batch_inference.jobs.common.errors import ConfigError, JobError

MAX_MESSAGE_BYTES = 1024  # bytes of the exit message that SageMaker keeps


@dataclass(frozen=True)
class Container:
    """The folders and hosts of this container.

    Attributes:
        base: `/opt/ml`, or the value of SAGEMAKER_BASE_DIR (the variable of AWS's toolkits).
        host: this instance, e.g. `algo-1`.
        hosts: all instances of the job, in order.
    """

    base: Path
    host: str
    hosts: tuple[str, ...]

    def get_input_dir(self, name: str) -> Path:
        """Get the folder of the ProcessingInput of this name."""
        return self.base / "processing" / "input" / name

    @property
    def output_dir(self) -> Path:
        return self.base / "processing" / "output"


def get_base_dir() -> Path:
    return Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")


def read_container() -> Container:
    """Read the container from resourceconfig.json. Raises ConfigError if it is missing or invalid."""
    base = get_base_dir()
    path = base / "config" / "resourceconfig.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        host, hosts = str(found["current_host"]), tuple(str(name) for name in found["hosts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} does not name this host and its peers: {error}") from error
    if host not in hosts:
        raise ConfigError(f"{path}: current_host {host!r} is not among hosts {', '.join(hosts)}")
    return Container(base=base, host=host, hosts=hosts)


def run_job(job: Callable[[Container], str]) -> int:
    """Run `job` in this container and write its message, or its error, as exit message; returns the exit status."""
    try:
        container = read_container()
        install_wheels(container.get_input_dir("wheels"))
        message = job(container)
    except JobError as error:
        # The class is part of both: the task that waits for this job chooses its advice by it.
        message = f"{type(error).__name__}: {error}"
        print(message, file=sys.stderr, flush=True)
        write_exit_message(message)
        return 1
    except Exception as error:
        write_exit_message(f"{type(error).__name__}: {error}")
        raise
    print(message, flush=True)
    write_exit_message(message)
    return 0


def install_wheels(folder: Path) -> None:
    """Install the wheels of `preprocess.wheels`, such as pyarrow's, for this process, without an index.

    Raises:
        ConfigError: pip cannot install one of them.
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
    """Write a document as JSON; creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def write_exit_message(text: str) -> None:
    """Write `text` where SageMaker reads the ExitMessage: one line, cut to MAX_MESSAGE_BYTES."""
    line = " ".join(text.split()).encode("utf-8")[:MAX_MESSAGE_BYTES].decode("utf-8", "ignore")
    path = get_base_dir() / "output" / "message"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line, encoding="utf-8")
