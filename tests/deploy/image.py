"""The Python environment of the image of docker-compose.yaml: deploy/requirements.txt and nothing else."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from batch_inference.cli.project import find_project
from tools.checkout import REPO

UV = Path(sys.executable).with_name("uv")
LOCK = REPO / "deploy" / "requirements.txt"


def image_environment() -> Path:
    """The environment's `bin`; installed once for each content of the lock, which takes a minute or two."""
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = find_project(REPO).state_folder / "deploy" / f"image-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = folder / "installed"
        if not installed.exists():
            shutil.rmtree(folder, ignore_errors=True)
            python = folder / "bin" / "python"
            for arguments in (
                ["venv", "--python", sys.executable, str(folder)],
                ["pip", "sync", "--require-hashes", "--python", str(python), str(LOCK)],
                ["pip", "check", "--python", str(python)],
            ):
                subprocess.run([str(UV), "--quiet", *arguments], check=True)
            installed.touch()
    return folder / "bin"
