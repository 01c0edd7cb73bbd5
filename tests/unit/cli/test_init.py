"""`batch-inference init` lays out a repository, and changes nothing that is there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from batch_inference import __version__
from batch_inference.cli.main import main
from batch_inference.config.pipeline import Pipeline


def read_files(folder: Path) -> dict[str, str]:
    """The text of each file below `folder`."""
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


def test_the_repository_takes_a_pipeline_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "scoring")]) == 0
    monkeypatch.chdir(tmp_path / "scoring")
    assert main(["new", "churn"]) == 0
    assert main(["check"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 valid pipeline, 0 invalid"
    files = read_files(tmp_path / "scoring")
    assert [name for name in files if name.endswith(".py")] == ["dags/pipelines.py"]
    assert {"dags/pipelines/churn.yaml", "dags/pipelines/pipeline.schema.json", ".gitignore"} <= set(files)
    assert f"=={__version__}" in files["requirements.txt"]


def test_every_key_that_the_defaults_suggest_is_one_of_a_pipeline_file(tmp_path: Path) -> None:
    """With the # taken away, the lines are YAML."""
    assert main(["init", str(tmp_path)]) == 0
    lines = (tmp_path / "dags" / "pipelines" / "_defaults.yaml").read_text().splitlines()
    keys = [line.removeprefix("# ") for line in lines if ": " in line[:20] and line[2] != " "]
    suggested = yaml.safe_load("\n".join(keys))
    assert len(suggested) == 6
    assert set(suggested) <= set(Pipeline.model_fields)
    assert Pipeline.model_fields["security"].annotation.model_validate(suggested["security"]).vpc.subnets


def test_a_project_that_exists_keeps_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As Astro lays one out; a second `init` changes nothing either."""
    own = {
        "include/__init__.py": "",
        "plugins/own.py": "x = 1\n",
        "dags/own.py": "y = 2\n",
        "requirements.txt": "pandas\n",
        ".gitignore": "mine\n",
    }
    for name, text in own.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert main(["init", str(tmp_path)]) == 0
    files = read_files(tmp_path)
    assert own.items() <= files.items()
    assert f"airflow-sagemaker-batch-inference=={__version__}" in capsys.readouterr().out
    assert main(["init", str(tmp_path)]) == 0
    assert read_files(tmp_path) == files
