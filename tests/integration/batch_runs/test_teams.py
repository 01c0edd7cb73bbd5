"""The pages know teams, and where a pipeline's jobs and files are, from Airflow's database alone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete

from batch_inference.aws.s3 import Storage
from batch_inference.config import pipeline_files
from batch_runs.airflow_state import PipelinePlace, read_pipeline_place
from tests.integration.batch_runs.database import Database


@pytest.fixture(autouse=True)
def dags(database: Database, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipelines of a team and of none, with a run each, where no process has a pipeline file."""
    monkeypatch.setattr(pipeline_files, "_FOLDERS", {})
    database.clear()
    for dag_id in ("open_top", "open_risk.churn", "open_risk.fraud"):
        database.add_dag(dag_id)
        database.add_runs(dag_id, ["night"])
        uri = f"s3://bucket/work/{dag_id.replace('.', '/')}/night/report.html"
        database.add_tasks(dag_id, "night", {"clean_up": "success"})
        database.push_xcom(dag_id, "night", "clean_up", {"report_html": uri})
        storage.write(uri, f"of {dag_id}")


def test_the_list_offers_the_teams_of_its_pipelines_to_choose_from(
    browser: Callable[[str | None], TestClient],
) -> None:
    text = browser("viewer").get("./").text
    assert text.count("<option>open_risk</option>") == 1
    assert re.findall(r'data-team="(.*?)"', text) == ["open_risk", "open_risk", ""]


def test_the_files_of_a_teams_pipeline_are_below_the_teams_prefix(
    browser: Callable[[str | None], TestClient],
) -> None:
    answer = browser("viewer").get("file?name=report.html&dag_id=open_risk.churn&run_id=night")
    assert (answer.status_code, answer.text) == (200, "of open_risk.churn")


def test_an_xcom_cannot_lead_to_the_files_of_another_pipeline(
    browser: Callable[[str | None], TestClient], database: Database
) -> None:
    uri = "s3://bucket/work/open_risk/fraud/night/report.html"
    database.add_dag("open_risk.bent")
    database.add_runs("open_risk.bent", ["night"])
    database.add_tasks("open_risk.bent", "night", {"clean_up": "success"})
    database.push_xcom("open_risk.bent", "night", "clean_up", {"report_html": uri})
    answer = browser("viewer").get("file?name=report.html&dag_id=open_risk.bent&run_id=night")
    assert answer.status_code == 404
    assert "the run files of the pipeline are below s3://bucket/work/open_risk/bent/" in answer.text


def test_a_dag_that_was_not_parsed_yet_is_said_to_be_one(database: Database) -> None:
    from airflow.models.serialized_dag import SerializedDagModel

    with database._session() as session:
        assert read_pipeline_place(session, "open_risk.churn") == PipelinePlace(
            "aws_test", None, "s3://bucket/work/open_risk/churn/"
        )
        session.execute(delete(SerializedDagModel))
        with pytest.raises(
            ValueError, match="the DAG open_top in Airflow's database does not say its aws_conn_id"
        ):
            read_pipeline_place(session, "open_top")
