"""Imports bring in no more than they need: plans without Airflow or AWS, a container's job with numpy and pandas."""

from __future__ import annotations

import subprocess
import sys

import pytest

import batch_inference
from tools.checkout import REPO

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


def run_python(script: str) -> str:
    """The standard output of a script that a Python of its own runs in `include/`."""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPO / "include", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
    assert run_python(script).strip() == ""


def test_exports_are_imported_on_first_use() -> None:
    script = (
        "import sys, batch_inference\n"
        "print([name for name in sys.modules if name.startswith('batch_inference.')])\n"
        "from batch_inference import Pipeline\n"
        "print(Pipeline.__module__)"
    )
    assert run_python(script).splitlines() == ["[]", "batch_inference.config.pipeline"]
    assert set(batch_inference.__all__) <= set(dir(batch_inference))


def test_a_name_that_is_not_exported_is_refused_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'build_dag'; it exports .*build_scoring_dag"):
        _ = batch_inference.build_dag
