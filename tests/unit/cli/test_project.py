"""The project is found from the working folder, and a pipeline in it by its id."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from batch_inference.cli.laptop.environment import CREDENTIALS, build_airflow_environment
from batch_inference.cli.laptop.local_aws import render_settings
from batch_inference.cli.project import Project, find_project
from tools.checkout import REPO


@pytest.mark.parametrize("pipelines", ["dags/pipelines", "include/pipelines", "pipelines"])
def test_a_folder_with_dags_and_pipelines_is_one_from_anywhere_in_it(tmp_path: Path, pipelines: str) -> None:
    for name in ("dags/deep/er", pipelines):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for start in (tmp_path, tmp_path / "dags" / "deep" / "er"):
        assert find_project(start) == Project(tmp_path, tmp_path / pipelines)


@pytest.mark.parametrize("folder", ["dags", "pipelines"])
def test_one_of_both_folders_is_no_project(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    with pytest.raises(click.ClickException, match="batch-inference init"):
        find_project(tmp_path)


def test_a_pipeline_is_found_by_its_id_or_because_it_is_the_only_one() -> None:
    project = find_project(REPO)
    assert project.load_pipeline(None) == project.load_pipeline("abalone")
    with pytest.raises(click.UsageError, match="did you mean 'abalone'"):
        project.load_pipeline("abalonee")


def test_several_pipelines_must_be_named(tmp_path: Path) -> None:
    for name in ("dags", "pipelines"):
        (tmp_path / name).mkdir()
    project = find_project(tmp_path)
    with pytest.raises(click.UsageError, match="found no pipeline file"):
        project.load_pipeline(None)
    text = (REPO / "include" / "pipelines" / "abalone.yaml").read_text()
    for name in ("one", "two"):
        (tmp_path / "pipelines" / f"{name}.yaml").write_text(text.replace("name: abalone", f"name: {name}"))
    with pytest.raises(
        click.UsageError, match="several pipelines; name one; known pipelines: 'one' and 'two'"
    ):
        project.load_pipeline(None)


def test_state_is_in_the_project_or_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAPTOP_STATE", raising=False)
    assert Project(tmp_path, tmp_path).state_folder == tmp_path / ".local"
    monkeypatch.setenv("LAPTOP_STATE", str(tmp_path / "elsewhere"))
    assert Project(tmp_path, tmp_path).state_folder == tmp_path / "elsewhere"


def test_airflow_imports_the_packages_of_a_project_that_has_them_and_else_those_of_this_process(
    tmp_path: Path,
) -> None:
    """Neither way does a project's own `include` take a package's place."""
    own = build_airflow_environment(tmp_path / "home", "http://127.0.0.1:1", root=REPO)
    assert own["PYTHONPATH"].split(":")[:2] == [str(REPO / "include"), str(REPO / "plugins")]
    (tmp_path / "project" / "include").mkdir(parents=True)
    other = build_airflow_environment(tmp_path / "home", "http://127.0.0.1:1", root=tmp_path / "project")
    assert other["PYTHONPATH"].split(":")[:3] == [
        str(REPO / "include"),
        str(REPO / "plugins"),
        str(tmp_path / "project"),
    ]
    assert other["AIRFLOW__CORE__DAGS_FOLDER"] == str(tmp_path / "project" / "dags")


def test_the_lines_of_the_aws_cli_have_endpoint_and_credentials() -> None:
    lines = render_settings("http://127.0.0.1:5600").splitlines()
    assert "  export AWS_ENDPOINT_URL=http://127.0.0.1:5600" in lines
    assert {f"  export {name}={value}" for name, value in CREDENTIALS.items()} <= set(lines)
