"""`batch-inference run`: what is refused before anything is started, and how it says why a run failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from batch_inference.cli.laptop import run
from batch_inference.cli.laptop.progress import RunFollower, render_failure
from batch_inference.cli.laptop.run import check_own_files, parse_input_path
from tests.unit.builders import pipeline, plan

MODEL: dict[str, Any] = {
    "containers": [{"image": "xgboost 1.7-1", "model_data": "s3://bucket/churn/model.tar.gz"}]
}


def test_a_new_embedded_aws_needs_records_and_model() -> None:
    own = pipeline({"model": MODEL})
    with pytest.raises(
        click.UsageError, match="records: --input FILE_OR_FOLDER, and its model: --model FILE, or"
    ):
        check_own_files(own, None, None)
    with pytest.raises(click.UsageError, match="name its model: --model FILE, or"):
        check_own_files(own, Path("in.csv"), None)
    check_own_files(own, Path("in.csv"), Path("model.joblib"))
    # A model by name has no archive to give.
    check_own_files(pipeline(), Path("in.csv"), None)


def test_an_s3_uri_is_no_input_of_this_machine() -> None:
    with pytest.raises(click.UsageError, match=r'found --input s3://bucket/in/; .*"input_uri"'):
        parse_input_path("s3://bucket/in/")


def test_a_failed_run_names_its_cause_once() -> None:
    message = "The model raised KeyError: 'age_bucket' " + "in inference.py " * 6
    lines = render_failure(
        {"transform": f"{message}\nFix the code.", "clean_up": "transform failed: the same"}
    )
    assert lines[:3] == ["", "transform failed:", ""]
    assert all(len(line) <= 80 for line in lines)
    assert " ".join(lines[3:]) == f"{message.strip()} Fix the code."
    assert render_failure({"clean_up": "cannot delete the model"})[-1] == "cannot delete the model"
    assert render_failure({}) == []


def test_a_dry_run_is_printed_as_by_plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The estimate first, in 80 columns."""
    own = pipeline()
    planned = plan([20_000_000] * 2, of=own, dry_run=True)
    documents = {"plan.json": planned.to_plan_json(own, {}), "report.json": None}
    monkeypatch.setattr(run, "read_json_if_written", lambda _, uri: documents[uri.rpartition("/")[2]])
    follower = RunFollower()
    follower.state, follower.run_id = "success", planned.run_id
    kept: Any = None  # no address is printed
    assert run.report_outcome(None, planned.paths, follower, Path("airflow.log"), kept) == (0, None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "Dry run: no job was submitted, nothing was published."
    assert lines[3].startswith("churn: The run should take 12 min 06 s")
    assert all(len(line) <= 80 for line in lines)
