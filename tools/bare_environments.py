"""`make test-images`: runs the jobs' tests in virtual environments with the oldest and newest supported packages.

The first is AWS's scikit-learn 1.2-1 image (Python 3.8, pandas 1.1.3; its numpy is 1.24, here 1.19); the last has numpy
only, as a custom image may. An environment whose Python is not on PATH is skipped, with a message.
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
ALL_TEST_MODULES = (
    "preprocess/test_preprocess_job",
    "test_refused_inputs",
    "preprocess/test_cleaning",
    "test_other_formats",
    "join/test_join_job",
)


@dataclass(frozen=True)
class BareEnvironment:
    """An environment, and the modules of tests/unit/jobs that run the jobs in it."""

    python: str
    requirements: tuple[str, ...]
    test_modules: tuple[str, ...] = ALL_TEST_MODULES
    skip_expression: str = ""

    @property
    def name(self) -> str:
        """Unique name, also of its folder."""
        requirements = (each.replace("=", "").replace("<", "-") for each in self.requirements)
        return "-".join([self.python, *requirements])


ENVIRONMENTS = (
    BareEnvironment("python3.8", ("pandas==1.1.3", "numpy<1.20", "pyarrow==14.0.1")),
    BareEnvironment("python3.11", ("pandas==1.5.0", "numpy<1.24", "pyarrow==12.0.1")),
    BareEnvironment("python3.11", ("pandas>=3", "pyarrow")),
    BareEnvironment(
        "python3.8",
        ("numpy<1.20",),
        ("preprocess/test_preprocess_job", "test_refused_inputs"),
        "zstd or parquet or PAR1",
    ),
)


def create_environment(environment: BareEnvironment) -> Path | None:
    """Create the environment if absent; its interpreter, or None if the Python is not on PATH."""
    python = shutil.which(environment.python)
    if python is None:
        return None
    venv = VENVS / environment.name
    interpreter = venv / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", venv], check=True)
        subprocess.run([interpreter, "-m", "pip", "install", "-q", *environment.requirements], check=True)
    return interpreter


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    failed = False
    for environment in ENVIRONMENTS:
        interpreter = create_environment(environment)
        if interpreter is None:
            print(f"{environment.name}: SKIPPED, {environment.python} is not on PATH")
            continue
        print(f"{environment.name}:", flush=True)
        modules = (f"tests/unit/jobs/{name}.py" for name in environment.test_modules)
        command = [sys.executable, "-m", "pytest", "-q", *modules]
        command += ["-k", f"not ({environment.skip_expression})"] if environment.skip_expression else []
        variables = {**os.environ, "JOBS_PYTHON": str(interpreter)}
        failed |= subprocess.run(command, cwd=REPO, env=variables, check=False).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
