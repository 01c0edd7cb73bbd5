"""The janitor's task against the embedded AWS: what is left over goes, what is needed or not ours stays."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import boto3
import pytest

from include.orchestration import janitor
from include.orchestration.templates import DEPLOYMENT_TAG, deployment
from sagemaker_jobs.janitor import DAG_TAG, RUN_TAG
from tools.laptop import CREDENTIALS, REGION, aws_connection, embedded_aws

HERE = {DEPLOYMENT_TAG: deployment()}
MODELS = {
    "abalone-left-over": {DAG_TAG: "abalone", RUN_TAG: "over", **HERE},
    "abalone-in-use": {DAG_TAG: "abalone", RUN_TAG: "active", **HERE},
    "abalone-of-another-airflow": {DAG_TAG: "abalone", RUN_TAG: "over", DEPLOYMENT_TAG: "another"},
    "abalone-of-another-dag": {DAG_TAG: "elsewhere", RUN_TAG: "over", **HERE},
    "abalone-of-a-run-without-a-name": {DAG_TAG: "abalone", RUN_TAG: "", **HERE},
    "abalone-made-by-hand": {},
}


class Task:
    """A task instance that knows of one active run."""

    def get_dr_count(self, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        """As Airflow counts runs."""
        assert states == ["queued", "running"]
        return sum(1 for run_id in run_ids if (dag_id, run_id) == ("abalone", "active"))


def test_only_models_of_runs_that_are_over_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour after they were made, and not before."""
    with embedded_aws(tmp_path / "aws") as endpoint:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(endpoint))
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
        assert janitor.tidy(ti=Task()) == []
        later = time.time() + 3700
        monkeypatch.setattr(janitor.time, "time", lambda: later)
        assert janitor.tidy(ti=Task()) == ["abalone-left-over"]
        assert {model["ModelName"] for model in client.list_models()["Models"]} == MODELS.keys() - {
            "abalone-left-over"
        }
