"""Airflow executes the registration and nothing else below plugins/, and finds the package by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What a fresh interpreter finds after Airflow has loaded its plugins; plugins/ is on no path but Airflow's."""
    script = """
import sys, json
from airflow import settings
settings.prepare_syspath_for_config_and_plugins()
from airflow import plugins_manager
plugins, errors = plugins_manager._get_plugins()
from airflow.triggers.base import BaseTrigger
from airflow.sdk._shared.module_loading import import_string
trigger = import_string("sagemaker_jobs.triggers.SageMakerJobTrigger")
print("REPORT" + json.dumps({
    "plugins": sorted(p.name for p in plugins),
    "errors": errors,
    "stems": sorted({"triggers", "sensors", "operators", "links", "jobs", "aws", "spec"} & set(sys.modules)),
    "is_trigger": issubclass(trigger, BaseTrigger),
    "module_file": sys.modules["sagemaker_jobs.triggers"].__file__,
    "links": sorted(
        type(link).__name__ for p in plugins if p.name == "batch_inference" for link in p.operator_extra_links
    ),
}))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment, cwd="/"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("REPORT"))
    return json.loads(line.removeprefix("REPORT"))


def test_only_the_registration_is_executed_as_a_plugin(report: dict[str, Any]):
    """A module executed by its bare file name would shadow others, such as `triggers`."""
    assert report["errors"] == {}
    assert report["stems"] == []
    assert "batch_inference" in report["plugins"]


def test_the_trigger_is_imported_by_name_from_the_plugins_folder(report: dict[str, Any]):
    """As the triggerer does: it has plugins/ on its path and nothing else of this repository."""
    assert report["is_trigger"] is True
    assert Path(report["module_file"]) == PLUGINS / "sagemaker_jobs" / "triggers.py"


def test_the_links_are_registered(report: dict[str, Any]):
    """The UI knows the links of operators and sensors by these classes."""
    assert report["links"] == [
        "SageMakerJobLogsLink",
        "SageMakerProcessingJobLink",
        "SageMakerTransformJobLink",
    ]
