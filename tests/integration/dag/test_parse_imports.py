"""A DAG file imports what its operators inherit from and what shapes them; what only a task needs, the task imports."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from batch_inference.dag.scoring_dag import build_pipeline_dag
from tests.unit.builders import WITHOUT_PREPROCESS, pipeline
from tools.benchmarks.parse import BASE_MODULES
from tools.checkout import REPO

DAG_FILES = sorted((REPO / "dags").glob("*.py"))
#: The base modules import boto3, botocore, jinja2, jsonschema and pydantic themselves, so these are not ours to avoid;
#: what costs time in them is AWS's model of a service.
PARSE = f"""
import importlib, runpy, sys
for module in {BASE_MODULES}:
    importlib.import_module(module)
before = set(sys.modules)
import botocore.loaders
def refuse(*_, **__): raise AssertionError("a model of an AWS service was read while a DAG file was parsed")
botocore.loaders.Loader.load_service_model = refuse
runpy.run_path(sys.argv[1])
print(*sorted(set(sys.modules) - before))
"""
DATA_AND_NETWORK = {
    "numpy",
    "pandas",
    "pyarrow",
    "polars",
    "scipy",
    "aiohttp",
    "aiobotocore",
    "requests_toolbelt",
}
ONLY_IN_TASKS = (
    "dag.tasks.", "dag.bad_record_search", "dag.pools", "input_pieces.", "jobs.join.", "jobs.preprocess.",
    "reporting.", "run.run_context", "verification.",
)  # fmt: skip


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.stem)
def test_a_dag_file_imports_nothing_that_only_a_task_needs(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PARSE, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    imported = done.stdout.split()
    assert "batch_inference.dag" in imported
    assert DATA_AND_NETWORK & {name.partition(".")[0] for name in imported} == set()
    # The functions of the janitor's tasks are beside its DAG, and need some of this.
    ours = tuple(f"batch_inference.{name}" for name in ONLY_IN_TASKS if path.stem != "janitor")
    assert [name for name in imported if name.startswith(ours)] == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"join.processing_above": 1},
        {"transform.on_bad_records": "fail", "goals.calibrate": "canary"},
        {"goals.calibrate": "explore"},
        WITHOUT_PREPROCESS,
    ],
    ids=["with preprocess", "join as a job", "canary", "trials", "without preprocess"],
)
def test_each_task_finds_its_function(changes: dict[str, Any], tmp_path: Path) -> None:
    tasks = build_pipeline_dag(pipeline(changes), tmp_path).tasks
    mapped = [task.partial_kwargs["python_callable"] for task in tasks if hasattr(task, "partial_kwargs")]
    plain = [task.python_callable for task in tasks if hasattr(task, "python_callable")]
    for function in [*plain, *mapped]:
        assert getattr(import_module(function.__module__), function.__name__).__name__ == function.__name__
