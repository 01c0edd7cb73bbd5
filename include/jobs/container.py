"""The container's own file layout, as SageMaker Processing lays it out."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from include.jobs.errors import ConfigError

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

    @property
    def data(self) -> Path:
        return self.base / "processing" / "input" / "data"

    @property
    def config(self) -> Path:
        return self.base / "processing" / "input" / "config"

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


def write_message(text: str) -> None:
    """Leave `text` where SageMaker picks up the job's ExitMessage: one line, cut to what is kept."""
    line = " ".join(text.split()).encode("utf-8")[:MESSAGE_LIMIT].decode("utf-8", "ignore")
    path = base_dir() / "output" / "message"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line, encoding="utf-8")
