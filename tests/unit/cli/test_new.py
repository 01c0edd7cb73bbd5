"""`batch-inference new` gives two files that Airflow can use as they are."""

from __future__ import annotations

import ast
import string
import subprocess
from pathlib import Path

import pytest

from batch_inference.cli.main import main
from batch_inference.cli.new import TEMPLATES
from batch_inference.config.pipeline import load_pipeline
from tools.checkout import REPO


def test_the_templates_give_a_valid_pipeline_and_dag_file(tmp_path: Path) -> None:
    """Before anything is edited: the YAML loads, and the DAG file calls for it by name."""
    rendered = {
        path.name: string.Template(path.read_text()).substitute(name="churn", folder="pipelines")
        for path in sorted(TEMPLATES.glob("[dp]*.tmpl"))
    }
    (tmp_path / "churn.yaml").write_text(rendered["pipeline.yaml.tmpl"])
    assert load_pipeline(tmp_path / "churn.yaml").name == "churn"
    calls = [node for node in ast.walk(ast.parse(rendered["dag.py.tmpl"])) if isinstance(node, ast.Call)]
    assert [ast.literal_eval(call.args[0]) for call in calls] == ["churn"]
    # Airflow reads only files that mention both words.
    assert {"airflow", "dag"} <= set(
        rendered["dag.py.tmpl"].lower().replace("'", " ").replace(".", " ").split()
    )


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
