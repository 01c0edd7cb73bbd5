"""Scoring is pure: it can be imported and used with no Airflow, no AWS client, no pandas and no network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

SCRIPT = """
import importlib, pkgutil, socket, sys
def refuse(*a, **k): raise AssertionError("an import opened a socket")
socket.socket.connect = refuse
import batch_inference
for room in ("common", "config", "planning", "pricing", "reporting", "requests", "verification"):
    package = importlib.import_module(f"batch_inference.{room}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
banned = {"airflow", "boto3", "botocore", "pandas", "numpy", "pyarrow"} & set(sys.modules) assert not banned, banned
assert not [name for name in sys.modules if name.startswith(("local_aws", "batch_inference.dag",
"batch_inference.aws"))]
"""


def test_importing_all_of_it_brings_in_nothing_that_acts() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_linter_refuses_an_import_that_acts(tmp_path: Path) -> None:
    for name in ("airflow", "boto3", "botocore", "pandas", "local_aws", "include.orchestration"):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", "check", "--output-format", "concise", "--select", "TID251",
             "--stdin-filename", str(REPO / "include" / "scoring" / "probe.py"), "-"],
            input=f"import {name}\n", cwd=REPO, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "TID251" in done.stdout, f"{name}: {done.stdout} {done.stderr}"
