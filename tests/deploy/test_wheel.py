"""The wheel: what is in it, and what it does in an environment that has nothing of this checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from batch_inference.cli.main import COMMANDS
from tools.checkout import REPO
from tools.wheel import UV, build_wheel

CONSTRAINTS = {
    "3.0.6": REPO / "deploy" / "constraints" / "mwaa" / "3.0.6" / "airflow_constraints.txt",
    "3.3.2": REPO / "requirements.txt",
}
PRINT_PLUGINS = """
from airflow import plugins_manager
found = plugins_manager.get_plugin_info(["name", "source"])
errors = getattr(plugins_manager, "import_errors", None) or getattr(plugins_manager, "get_import_errors", dict)()
print(*[type(plugin["source"]).__name__ for plugin in found if plugin["name"] == "batch_inference"], errors, sep="|")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` writes."""
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module", params=CONSTRAINTS)
def environment(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The `bin` of an environment with the wheel and an Airflow of the oldest and of the newest version."""
    folder = tmp_path_factory.mktemp("environment")
    install = ["pip", "install", "--python", str(folder / "bin" / "python")]
    install += [
        "--constraint",
        str(CONSTRAINTS[request.param]),
        f"apache-airflow=={request.param}",
        str(wheel),
    ]
    for arguments in (["venv", "--python", sys.executable, str(folder)], install):
        subprocess.run([str(UV), "--quiet", *arguments], check=True)
    subprocess.run(
        [str(UV), "--quiet", "pip", "check", "--python", str(folder / "bin" / "python")], check=True
    )
    return folder / "bin"


def run(command: Path, *arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command of an environment, with nothing of this process's."""
    variables = {"PATH": os.environ["PATH"], "HOME": str(cwd), "AIRFLOW_HOME": str(cwd / "airflow"), **more}
    return subprocess.run(
        [str(command), *arguments], cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )


def test_it_has_the_packages_with_their_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    dist_info = {top for top in tops if top.endswith(".dist-info")}
    packages = {"batch_inference", "sagemaker_jobs", "batch_runs", "batch_inference_plugin.py", "local_aws"}
    assert tops - dist_info == packages
    for folder in ("include/batch_inference", "plugins/sagemaker_jobs", "plugins/batch_runs", "local_aws"):
        root = REPO / folder
        files = {
            f"{root.name}/{path.relative_to(root).as_posix()}"
            for path in root.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert files
        assert files <= set(names)
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_same_code_makes_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    assert build_wheel(tmp_path).read_bytes() == wheel.read_bytes()


def test_its_dependencies_are_those_of_the_lock() -> None:
    """By name; the lock pins some of them."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    ranges = {re.split(r"[<>=]", line)[0] for line in project["dependencies"]}
    assert ranges == {line.split("==")[0] for line in (REPO / "requirements.in").read_text().split()}
    development = (REPO / "requirements-dev.in").read_text().split()
    names = {re.split(r"\[", line)[0] for line in development}
    assert {re.split(r"[\[<>=]", line)[0] for line in project["optional-dependencies"]["local"]} <= names


@pytest.mark.timeout(300)
def test_it_runs_from_an_empty_folder_and_airflow_loads_its_plugin_once(
    environment: Path, tmp_path: Path
) -> None:
    """With the wheel alone by its entry point; with the plugins folder of a checkout too, from the folder."""
    helped = run(environment / "batch-inference", "--help", cwd=tmp_path)
    assert helped.returncode == 0, helped.stderr
    assert all(re.search(rf"^  {name} ", helped.stdout, re.MULTILINE) for name in COMMANDS)
    laid_out = run(environment / "batch-inference", "init", "mine", cwd=tmp_path)
    assert laid_out.returncode == 0, laid_out.stderr
    checked = run(environment / "batch-inference", "check", cwd=tmp_path / "mine")
    assert (checked.returncode, checked.stdout) == (0, "0 valid pipelines, 0 invalid\n")
    alone = run(environment / "python", "-c", PRINT_PLUGINS, cwd=tmp_path)
    assert alone.stdout.splitlines()[-1:] == ["EntryPointSource|{}"], alone.stderr
    checkout = {
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPO / "plugins"),
        "PYTHONPATH": f"{REPO}/include:{REPO}/plugins",
    }
    both = run(environment / "python", "-c", PRINT_PLUGINS, cwd=tmp_path, **checkout)
    assert both.stdout.splitlines()[-1:] == ["PluginsDirectorySource|{}"], both.stderr
    listed = run(environment / "airflow", "providers", "list", "--output", "plain", cwd=tmp_path)
    assert "airflow-sagemaker-batch-inference" in listed.stdout
