"""`batch-inference new` gives two files that Airflow can use as they are."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from batch_inference.cli.main import main
from batch_inference.config.pipeline_files import load_pipeline_by_id
from tools.checkout import REPO


def test_the_templates_give_a_valid_pipeline_and_dag_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is edited: the YAML loads, and the DAG file calls for it by its id."""
    (tmp_path / "dags" / "pipelines").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert main(["new", "churn", "--team", "risk"]) == 0
    pipeline = load_pipeline_by_id("risk.churn", tmp_path / "dags" / "pipelines")
    assert (pipeline.max_rejected, pipeline.on_empty) == (0.05, "fail")
    dag_file = (tmp_path / "dags" / "risk_churn.py").read_text()
    calls = [node for node in ast.walk(ast.parse(dag_file)) if isinstance(node, ast.Call)]
    assert [ast.literal_eval(call.args[0]) for call in calls] == ["risk.churn"]
    # Airflow reads only files that mention both words.
    assert {"airflow", "dag"} <= set(dag_file.lower().replace("'", " ").replace(".", " ").split())


@pytest.mark.parametrize("name", ["", "Churn", "9lives", "a/b", "../x", "abalone", "x" * 41])
def test_a_name_that_cannot_be_used_writes_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Including one that is taken."""
    before = subprocess.run(
        ["git", "status", "--porcelain"], cwd=REPO, capture_output=True, check=True
    ).stdout
    monkeypatch.chdir(REPO)
    assert main(["new", name]) == 2
    assert capsys.readouterr().err.startswith("batch-inference new: ")
    assert (
        subprocess.run(["git", "status", "--porcelain"], cwd=REPO, capture_output=True, check=True).stdout
        == before
    )
