"""A pipeline's own functions are found by path, nearest first, and are looked at without being run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from batch_inference.common.errors import PipelineError
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.pipeline_files import load_pipeline_by_id
from batch_inference.config.user_functions import list_function_files
from batch_inference.run.user_functions import import_functions
from tests.unit.builders import document

FUNCTIONS = {
    "function": {"module": "features", "name": "build"},
    "join.function": {"module": "bands", "name": "add"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two teams, each with a features.py of its own, and a file of functions for both."""
    for team in ("risk", "growth"):
        (tmp_path / team).mkdir()
        (tmp_path / team / "churn.yaml").write_text(yaml.safe_dump(document(FUNCTIONS)))
        (tmp_path / team / "features.py").write_text(f"def build(frame):\n    return '{team}'\n")
    (tmp_path / "bands.py").write_text("def add(frame):\n    return 'all'\n")
    (tmp_path / "features.py").write_text("raise AssertionError('the nearest is used')\n")
    return tmp_path


def test_the_nearest_file_is_used_and_two_teams_have_files_of_one_name(folder: Path) -> None:
    path = list(sys.path)
    for team in ("risk", "growth"):
        pipeline = load_pipeline_by_id(f"{team}.churn", folder)
        assert list_function_files(pipeline, folder) == {
            f"pipeline_functions.{team}.features": folder / team / "features.py",
            "pipeline_functions.bands": folder / "bands.py",
        }
        import_functions(pipeline, folder)
    built = [sys.modules[f"pipeline_functions.{team}.features"].build(None) for team in ("risk", "growth")]
    assert built == ["risk", "growth"]
    assert sys.path == path


def test_the_plan_keeps_which_file_it_is(folder: Path) -> None:
    pipeline = load_pipeline_by_id("risk.churn", folder)
    again = Pipeline.model_validate(pipeline.to_file_content())
    assert list_function_files(again, folder) == list_function_files(pipeline, folder)


def test_a_file_that_is_not_there_is_refused_with_its_line_and_those_that_are(folder: Path) -> None:
    file = folder / "risk/churn.yaml"
    file.write_text(file.read_text().replace("module: features", "module: fetures"))
    line = 1 + file.read_text().splitlines().index("  module: fetures")
    with pytest.raises(PipelineError) as caught:
        load_pipeline_by_id("risk.churn", folder)
    assert str(caught.value) == (
        f"{file}: line {line}, function.module: found 'fetures'; allowed is the name of a Python file beside the "
        f"pipeline file or in a folder above it, up to {folder.name}/; beside it is 'features'; did you mean "
        f"'features'?"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "def buld(): pass\nx = 1\n",
            "found 'buld'; function of the pipeline names 'build'; did you mean 'buld'?",
        ),
        (
            "class Other:\n    def build(self): pass\n",
            "found no function; function of the pipeline names 'build'",
        ),
        ("def build(:\n", "not valid Python: "),
    ],
)
def test_a_function_that_is_not_in_its_file_is_refused_with_those_that_are(
    folder: Path, source: str, message: str
) -> None:
    (folder / "risk/features.py").write_text(source)
    with pytest.raises(PipelineError) as caught:
        list_function_files(load_pipeline_by_id("risk.churn", folder), folder)
    assert str(caught.value).startswith(f"{folder}/risk/features.py: {message}")


@pytest.mark.parametrize(
    "source",
    [
        "build = len\n",
        "from os import path as build\n",
        "if True:\n    def build(): pass\n",
        "from os import *\n",
    ],
)
def test_a_function_may_be_defined_in_any_way(folder: Path, source: str) -> None:
    (folder / "risk/features.py").write_text(source)
    assert len(list_function_files(load_pipeline_by_id("risk.churn", folder), folder)) == 2


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("import bands", "the file {folder}/bands.py"),
        ("    from bands import add", "the file {folder}/bands.py"),
        ("from . import bands", "a file beside it"),
        ("import {folder.name}.bands", "a file beside it"),
    ],
)
def test_a_file_that_the_containers_do_not_get_is_not_imported(folder: Path, line: str, what: str) -> None:
    file = folder / "risk/features.py"
    file.write_text(f"def build(frame):\n    pass\nif build:\n    {line.format(folder=folder).strip()}\n")
    with pytest.raises(PipelineError) as caught:
        list_function_files(load_pipeline_by_id("risk.churn", folder), folder)
    assert f"line 4: found an import of {what.format(folder=folder)}; SageMaker's" in str(caught.value)


def test_what_is_installed_is_imported(folder: Path) -> None:
    """A file of the name of a module of Python's own is never meant."""
    (folder / "json.py").touch()
    (folder / "risk/features.py").write_text("import json\nimport numpy.linalg\ndef build(frame): pass\n")
    assert len(list_function_files(load_pipeline_by_id("risk.churn", folder), folder)) == 2


def test_a_module_with_a_name_too_long_for_a_file_is_refused(folder: Path) -> None:
    file = folder / "risk/churn.yaml"
    file.write_text(file.read_text().replace("module: features", f"module: {'x' * 300}"))
    with pytest.raises(PipelineError, match="allowed is the name of a Python file"):
        load_pipeline_by_id("risk.churn", folder)


def test_a_file_that_went_away_after_the_plan_is_named(folder: Path) -> None:
    pipeline = load_pipeline_by_id("risk.churn", folder)
    (folder / "bands.py").unlink()
    with pytest.raises(PipelineError, match=r"bands\.py: is the file of join\.function in risk\.churn"):
        import_functions(pipeline, folder)
