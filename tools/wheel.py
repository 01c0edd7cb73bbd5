"""Builds the wheel into `dist/`: the same code makes the same bytes, whenever and by whomever it was checked out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.checkout import REPO

UV = Path(sys.executable).with_name("uv")
FOLDERS = ("include/batch_inference", "plugins", "local_aws")
#: The earliest moment that a zip can hold.
SOURCE_DATE_EPOCH = "315532800"


def build_wheel(target: Path, root: Path = REPO) -> Path:
    """Build the wheel of a checkout into `target`, in place of an older one; gives its path.

    Raises:
        subprocess.CalledProcessError: the build failed; its output is on standard error.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(folder) / "source", Path(folder) / "built"
        for name in FOLDERS:
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
            shutil.copytree(root / name, source / name, ignore=ignored, copy_function=shutil.copyfile)
        for name in ("pyproject.toml", "README.md"):
            shutil.copyfile(root / name, source / name)
        for path in source.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        command = [str(UV), "build", "--quiet", "--wheel", "--out-dir", str(built), str(source)]
        subprocess.run(command, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH})
        (wheel,) = built.glob("*.whl")
        target.mkdir(parents=True, exist_ok=True)
        for old in target.glob("airflow_sagemaker_batch_inference-*.whl"):
            old.unlink()
        return Path(shutil.move(wheel, target / wheel.name))


if __name__ == "__main__":
    print(f"wrote {build_wheel(REPO / 'dist').relative_to(REPO)}")
