"""The jobs' tests in bare environments as old, and as new, as the images that run them: `make test-images`.

What AWS's scikit-learn 1.2-1 image carries is the first (Python 3.8, pandas 1.1.3, numpy 1.24 there; 1.19 is older
still); the last has nothing but numpy, as an image of somebody's own may. A Python that is not on PATH is left out, and
said to be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
VENVS = REPO / ".local" / "venvs"
WITH_ALL = ("test_preprocess", "test_refusals", "test_cleaning", "test_other_formats", "test_join_job")


@dataclass(frozen=True)
class Image:
    """An environment, and the modules of tests/jobs that run the jobs in it."""

    python: str
    requirements: tuple[str, ...]
    tests: tuple[str, ...] = WITH_ALL
    skipped: str = ""

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return "-".join(
            [self.python, *(each.replace("=", "").replace("<", "-") for each in self.requirements)]
        )


IMAGES = (
    Image("python3.8", ("pandas==1.1.3", "numpy<1.20", "pyarrow==14.0.1")),
    Image("python3.11", ("pandas==1.5.0", "numpy<1.24", "pyarrow==12.0.1")),
    Image("python3.11", ("pandas>=3", "pyarrow")),
    Image("python3.8", ("numpy<1.20",), ("test_preprocess", "test_refusals"), "zstd or parquet or PAR1"),
)


def prepare(image: Image) -> Path | None:
    """The environment's interpreter; None where the Python is not here."""
    python = shutil.which(image.python)
    if python is None:
        return None
    venv = VENVS / image.name
    own = venv / "bin" / "python"
    if not own.exists():
        subprocess.run([python, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(own), "-m", "pip", "install", "-q", *image.requirements], check=True)
    return own


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    failed = False
    for image in IMAGES:
        own = prepare(image)
        if own is None:
            print(f"{image.name}: {image.python} is not on PATH, NOT tested")
            continue
        print(f"{image.name}:", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", *(f"tests/jobs/{name}.py" for name in image.tests)]
        command += ["-k", f"not ({image.skipped})"] if image.skipped else []
        done = subprocess.run(command, cwd=REPO, env={**os.environ, "JOBS_PYTHON": str(own)}, check=False)
        failed = failed or done.returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
