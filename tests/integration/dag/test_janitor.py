"""The janitor's task against the embedded AWS: what is left over goes, what is needed or not ours stays."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from botocore.exceptions import ClientError

from batch_inference.cli.laptop.environment import CREDENTIALS, REGION, build_aws_connection, run_embedded_aws
from batch_inference.common.errors import PipelineError
from batch_inference.config import pipeline_files
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag import janitor
from batch_inference.dag.janitor import clean_up_run
from batch_inference.dag.templates import DEPLOYMENT_TAG, build_run_tags, compute_deployment_id
from sagemaker_jobs.airflow_compat import AirflowSkipException
from sagemaker_jobs.cleanup.janitor import DAG_TAG, RUN_TAG, to_run_tag
from tests.unit.builders import EXAMPLE

HERE = {DEPLOYMENT_TAG: compute_deployment_id()}
#: With a character that no tag takes.
ACTIVE = "manual~1"
MODELS = {
    "abalone--left-over": {DAG_TAG: "abalone", RUN_TAG: to_run_tag("over"), **HERE},
    "abalone--in-use": {DAG_TAG: "abalone", RUN_TAG: to_run_tag(ACTIVE), **HERE},
    "abalone--of-another-airflow": {
        DAG_TAG: "abalone",
        RUN_TAG: to_run_tag("over"),
        DEPLOYMENT_TAG: "another",
    },
    "abalone--of-another-dag": {DAG_TAG: "elsewhere", RUN_TAG: to_run_tag("over"), **HERE},
    "abalone--of-a-run-without-a-name": {DAG_TAG: "abalone", RUN_TAG: "", **HERE},
    "abalone--made-by-hand": {},
}


class Task:
    """A task instance that knows of one active run."""

    def get_dr_count(self, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        """As Airflow counts runs."""
        assert states == ["queued", "running"]
        return sum(1 for run_id in run_ids if (dag_id, run_id) == ("abalone", ACTIVE))

    def get_task_states(self, dag_id: str, task_ids: list[str]) -> dict[str, Any]:
        """As Airflow tells them, by run: of those that it has, among them one whose jobs are left over."""
        assert task_ids == ["plan"]
        return {"over": {"plan": "success"}, ACTIVE: {"plan": None}} if dag_id == "abalone" else {}


@pytest.fixture(autouse=True)
def pipelines_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The janitor of this repository's pipelines."""
    monkeypatch.setattr(pipeline_files, "_FOLDERS", {janitor.DAG_ID: EXAMPLE.parent})


def test_only_models_of_runs_that_are_over_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour after they were made, and not before."""
    with run_embedded_aws(tmp_path / "aws") as endpoint:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", build_aws_connection(endpoint))
        session = boto3.Session(
            CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=REGION
        )
        client: Any = session.client("sagemaker", endpoint_url=endpoint)
        for name, tags in MODELS.items():
            client.create_model(
                ModelName=name,
                ExecutionRoleArn="arn:aws:iam::123456789012:role/batch-inference",
                PrimaryContainer={"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/any:1"},
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            )
        assert janitor.clean_up_jobs(ti=Task()) == []
        later = time.time() + 3700
        monkeypatch.setattr(janitor.time, "time", lambda: later)
        assert janitor.clean_up_jobs(ti=Task()) == ["abalone--left-over"]
        assert {model["ModelName"] for model in client.list_models()["Models"]} == MODELS.keys() - {
            "abalone--left-over"
        }


@pytest.mark.parametrize(
    "run_id", ["manual~1", "x" * 250, "what*ever", "läuft — 7", "~", "scheduled__2026-01-31T07:00:00+00:00"]
)
def test_what_an_earlier_plan_started_is_found_whatever_the_run_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_id: str
) -> None:
    """By the tags of a run's requests; AWS takes them all, and another run's is left alone."""

    def tags(run_id: str) -> list[dict[str, str]]:
        made = build_run_tags("abalone", run_id, "model")
        return [{"Key": key, "Value": value} for key, value in made.items()]

    with run_embedded_aws(tmp_path / "aws") as endpoint:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", build_aws_connection(endpoint))
        hook = SageMakerHook(aws_conn_id="aws_default")
        for name, run in (("abalone--of-this-run", run_id), ("abalone--of-another", f"{run_id}~")):
            hook.conn.create_model(
                ModelName=name,
                ExecutionRoleArn="arn:aws:iam::123456789012:role/batch-inference",
                PrimaryContainer={"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/any:1"},
                Tags=tags(run),
            )
        found = clean_up_run(
            "abalone",
            aws_conn_id="aws_default",
            region=None,
            dag_id="abalone",
            run_id=run_id,
            reason="its run is planned anew",
        )
        assert found == ["abalone--of-this-run"]


@pytest.mark.parametrize(
    ("run_type", "minute", "looks"),
    [("scheduled", 0, True), ("scheduled", 4, True), ("scheduled", 5, False), ("manual", 35, True)],
)
def test_run_files_are_looked_at_once_an_hour_and_by_hand(
    monkeypatch: pytest.MonkeyPatch, run_type: str, minute: int, looks: bool
) -> None:
    """Five minutes lie between two runs of the janitor."""
    looked: list[str] = []
    monkeypatch.setattr(janitor, "Storage", lambda *_: None)
    monkeypatch.setattr(
        janitor, "delete_expired_runs", lambda _storage, pipeline, **_: looked.append(pipeline.name) or []
    )
    moment = datetime(2026, 1, 31, 7, minute, 59, tzinfo=UTC)
    run = SimpleNamespace(run_type=run_type, run_after=moment)
    if looks:
        assert janitor.apply_retention(ti=Task(), dag_run=run) == []
    else:
        with pytest.raises(AirflowSkipException, match="first minutes of each hour"):
            janitor.apply_retention(ti=Task(), dag_run=run)
    assert looked == (["abalone"] if looks else [])


def test_a_pipeline_that_goes_wrong_does_not_keep_the_others_from_being_tidied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a file that is wrong nor a call that AWS refuses; the task fails all the same, after the others."""
    (tmp_path / "broken.yaml").write_text("name: [")
    for name in ("abalone", "rays", "salmon"):
        text = EXAMPLE.read_text()
        (tmp_path / f"{name}.yaml").write_text(text.replace("name: abalone", f"name: {name}", 1))
    monkeypatch.setattr(pipeline_files, "_FOLDERS", {janitor.DAG_ID: tmp_path})
    done: list[str] = []

    def work(pipeline: Pipeline) -> list[str]:
        if pipeline.name == "rays":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListModels")
        done.append(pipeline.name)
        return [pipeline.name]

    with pytest.raises(PipelineError, match=r"broken\.yaml"):
        janitor.for_each_pipeline(work)
    assert done == ["abalone", "salmon"]
    (tmp_path / "broken.yaml").unlink()
    with pytest.raises(ClientError, match="AccessDenied"):
        janitor.for_each_pipeline(work)
