"""Imports bring in no more than they need: plans without Airflow or AWS, a container's job with numpy and pandas."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tools.laptop import REPO

IMPORT_FOLDERS = """
import importlib, pkgutil, socket, sys
def refuse(*a, **k): raise AssertionError("an import opened a socket")
socket.socket.connect = refuse
for folder in {folders}:
    package = importlib.import_module(f"batch_inference.{{folder}}")
    for module in pkgutil.walk_packages(package.__path__, f"{{package.__name__}}."):
        importlib.import_module(module.name)
print(*sorted({banned} & {{name.partition(".")[0] for name in sys.modules}}))
"""
PURE = ("common", "config", "planning", "pricing", "reporting", "requests", "verification")


@pytest.mark.parametrize(
    ("folders", "banned"),
    [
        (PURE, {"airflow", "boto3", "botocore", "pandas", "numpy", "pyarrow", "local_aws"}),
        (("jobs.config", "jobs.common"), {"airflow", "boto3", "botocore", "pydantic", "pyarrow", "yaml"}),
        ((), {"airflow", "boto3", "pydantic", "numpy", "yaml"}),
    ],
)
def test_importing_brings_in_no_more(folders: tuple[str, ...], banned: set[str]) -> None:
    """`()` is the package alone, which is imported in every container."""
    script = "import batch_inference\n" + IMPORT_FOLDERS.format(folders=folders, banned=banned)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPO / "include", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
