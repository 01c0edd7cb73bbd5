"""Gives each container a private /opt/ml and /tmp, by the isolation that this machine supports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INIT_SCRIPT = Path(__file__).with_name("container_init.py")
REPOSITORY = Path(__file__).resolve().parents[3]
ISOLATION_MODES = ("bwrap", "unshare", "base_dir")
ML_DIR = "/opt/ml"


def detect_isolation(isolation: str) -> str:
    """The first isolation that works on this machine; `isolation` other than "auto" must work.

    Raises RuntimeError when it does not.
    """
    if isolation == "base_dir":
        return isolation
    tried = ISOLATION_MODES[:-1] if isolation == "auto" else (isolation,)
    for mode in tried:
        if mode == "bwrap" and shutil.which("bwrap") is None:
            continue
        with tempfile.TemporaryDirectory() as root:
            box = Sandbox(mode, Path(root))
            command = box.build_command(["/bin/sh", "-c", "test -d /opt/ml && echo works"])
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            if answer.stdout.strip() == "works":
                return mode
    if isolation == "auto":
        return "base_dir"
    raise RuntimeError(
        f"isolation {isolation!r} does not work on this machine; use one of {('auto', *ISOLATION_MODES)}"
    )


@dataclass(frozen=True)
class Sandbox:
    """One container's private directories below `root`, and how commands run in them.

    `hosts_file` takes the place of /etc/hosts, except in mode `base_dir`, which has no mounts.
    """

    mode: str
    root: Path
    visible_paths: tuple[Path, ...] = ()
    network: bool = True
    hosts_file: Path | None = None

    def __post_init__(self) -> None:
        for name in ("ml", "tmp"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def to_host_path(self, container_path: str) -> Path:
        """Where a path below /opt/ml is on this machine; raises ValueError for any other path."""
        if container_path != ML_DIR and not container_path.startswith(f"{ML_DIR}/"):
            raise ValueError(f"{container_path!r} is not below {ML_DIR}")
        path = Path(os.path.normpath(f"{self.root / 'ml'}/{container_path[len(ML_DIR) :]}"))
        if not path.is_relative_to(self.root / "ml"):
            raise ValueError(f"{container_path!r} leaves {ML_DIR}")
        return path

    def build_environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """`variables` as the container sees them."""
        if self.mode != "base_dir":
            return {"HOME": "/tmp", "TMPDIR": "/tmp", **variables}  # noqa: S108 (the container's own)
        tmp = str(self.root / "tmp")
        here = {name: self._rebase(value) for name, value in variables.items()}
        return {"HOME": tmp, "TMPDIR": tmp, **here, "SAGEMAKER_BASE_DIR": str(self.root / "ml")}

    def build_command(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` inside. It must be started with `start_new_session`."""
        plain = self.mode == "base_dir"
        plan = {
            "mode": self.mode,
            "root": str(self.root),
            "visible": [str(path) for path in _outermost([*_always_visible(), *self.visible_paths])],
            "network": self.network,
            "hosts_file": self.hosts_file and str(self.hosts_file),
            "parent": os.getpid(),
            "cwd": str(self.root / "tmp") if plain else "/tmp",  # noqa: S108 (the container's own)
            "argv": [self._rebase(word) for word in argv] if plain else list(argv),
        }
        return [sys.executable, "-I", "-S", str(INIT_SCRIPT), json.dumps(plan)]

    def _rebase(self, text: str) -> str:
        """Without mounts of its own, a container finds /opt/ml where SAGEMAKER_BASE_DIR says."""
        return text.replace(ML_DIR, str(self.root / "ml"))


def _always_visible() -> list[Path]:
    found = [Path(sys.prefix), Path(sys.base_prefix), REPOSITORY]
    return [*found, *(path.resolve() for path in found), Path(sys.executable).resolve().parent.parent]


def _outermost(paths: Sequence[Path]) -> list[Path]:
    """Without those that lie inside another one."""
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return kept
