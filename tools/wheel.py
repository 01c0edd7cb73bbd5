"""Builds the wheel into `dist/`: the same code makes the same bytes, whenever and by whomever it was checked out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
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


def summarize_wheel(wheel: Path) -> list[str]:
    """A line for each package of the wheel: files, bytes before compression, and name; then the sum."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            top, _, rest = entry.filename.partition("/")
            folder = rest.partition("/")[0] if top == "batch_inference" and "/" in rest else ""
            name = f"{top}/{folder}".rstrip("/")
            counts[name] += 1
            sizes[name] += entry.file_size
    rows = [*((name, counts[name], sizes[name]) for name in sorted(counts))]
    rows.append(("in all", counts.total(), sizes.total()))
    return [f"{count:>5} files {size / 1e3:>8,.1f} kB  {name}" for name, count, size in rows]


if __name__ == "__main__":
    built = build_wheel(REPO / "dist")
    print("\n".join(summarize_wheel(built)))
    print(f"wrote {built.relative_to(REPO)}, {built.stat().st_size / 1e3:,.0f} kB")
