"""A private /opt/ml and /tmp for each container, with what this machine allows."""

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

INIT = Path(__file__).with_name("container_init.py")
REPOSITORY = Path(__file__).resolve().parents[3]
MODES = ("bwrap", "unshare", "base_dir")
ML = "/opt/ml"


def detect(wanted: str) -> str:
    """The first isolation that works here, found by trying; `wanted` other than "auto" must work.

    Raises RuntimeError when the wanted one does not.
    """
    if wanted == "base_dir":
        return wanted
    tried = MODES[:-1] if wanted == "auto" else (wanted,)
    for mode in tried:
        if mode == "bwrap" and shutil.which("bwrap") is None:
            continue
        with tempfile.TemporaryDirectory() as root:
            box = Sandbox(mode, Path(root))
            command = box.command(["/bin/sh", "-c", "test -d /opt/ml && echo works"])
            answer = subprocess.run(
                command, capture_output=True, text=True, check=False, env=dict(os.environ)
            )
            if answer.stdout.strip() == "works":
                return mode
    if wanted == "auto":
        return "base_dir"
    raise RuntimeError(f"isolation {wanted!r} does not work on this machine; use one of {('auto', *MODES)}")


@dataclass(frozen=True)
class Sandbox:
    """One container's private directories below `root`, and how commands run in them."""

    mode: str
    root: Path
    visible: tuple[Path, ...] = ()
    network: bool = True

    def __post_init__(self) -> None:
        for name in ("ml", "tmp"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def host_path(self, inside: str) -> Path:
        """Where a path below /opt/ml is on this machine; raises ValueError for any other path."""
        if inside != ML and not inside.startswith(f"{ML}/"):
            raise ValueError(f"{inside!r} is not below {ML}")
        path = Path(os.path.normpath(f"{self.root / 'ml'}/{inside[len(ML) :]}"))
        if not path.is_relative_to(self.root / "ml"):
            raise ValueError(f"{inside!r} leaves {ML}")
        return path

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """`variables` as the container sees them."""
        if self.mode != "base_dir":
            return {"HOME": "/tmp", "TMPDIR": "/tmp", **variables}  # noqa: S108 (the container's own)
        tmp = str(self.root / "tmp")
        here = {name: self._rebase(value) for name, value in variables.items()}
        return {"HOME": tmp, "TMPDIR": tmp, **here, "SAGEMAKER_BASE_DIR": str(self.root / "ml")}

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` inside. It must be started with `start_new_session`."""
        plain = self.mode == "base_dir"
        plan = {
            "mode": self.mode,
            "root": str(self.root),
            "visible": [str(path) for path in _outermost([*_always_visible(), *self.visible])],
            "network": self.network,
            "parent": os.getpid(),
            "cwd": str(self.root / "tmp") if plain else "/tmp",  # noqa: S108 (the container's own)
            "argv": [self._rebase(word) for word in argv] if plain else list(argv),
        }
        return [sys.executable, "-I", "-S", str(INIT), json.dumps(plan)]

    def _rebase(self, text: str) -> str:
        """Without mounts of its own, a container finds /opt/ml where SAGEMAKER_BASE_DIR says."""
        return text.replace(ML, str(self.root / "ml"))


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
