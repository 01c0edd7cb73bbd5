"""Predictions that are not those of the records fail the join for good, and nothing is published."""

from __future__ import annotations

from typing import Any

import pytest

from batch_inference.dag.task_functions import no_retry
from batch_inference.dag.tasks import join_group
from sagemaker_jobs.airflow_compat import AirflowFailException
from tests.end_to_end import moody, moody_server
from tests.integration.staged_runs import Pipelines, Run, deployed, document

__all__ = ["deployed"]

MOODS = {
    "drops a row": r"shard \S+: [\d,]+ records but [\d,]+ predictions; record [\d,]+ \(.*\) has no prediction",
    "permutes rows": r"id is '[a-z]+\d+', but its prediction is for '[a-z]+\d+'",
    "answers NaN": r"shard \S+, record [\d,]+: 'score' is NaN",
    "answers too few columns": r"shard \S+, record 1: the prediction '0\.5' has 1 columns, not 2",
}
FIELDS: dict[str, Any] = {"format": "jsonlines", "fields": {"score": "score"}, "echo": {"id": "id"}}
TWO_COLUMNS: dict[str, Any] = {"format": "csv", "fields": {"0": "score", "1": "other"}}


def run_in_mood(deployed: Pipelines, monkeypatch: pytest.MonkeyPatch, mood: str) -> Run:
    """A run of two hundred sound records with the model of the end-to-end tests, which has done nothing yet."""
    predictions = TWO_COLUMNS if mood == "answers too few columns" else FIELDS
    source = {**document()["input"], "columns": moody.COLUMNS}
    deployed.write(document(input=source, predictions=predictions, rules=[]))
    deployed.upload(5, moody.records("m", 200))

    def predict(_: Run, lines: list[str]) -> list[str]:
        return moody_server.answers([line.split(",") for line in lines], mood)

    monkeypatch.setattr(Run, "predict", predict)
    monkeypatch.setattr(join_group, "join_group", no_retry(join_group.join_group))
    return deployed.run("nightly-5", 5, float)


@pytest.mark.parametrize("mood", MOODS)
def test_a_model_that_answers_wrongly_publishes_nothing(
    deployed: Pipelines, monkeypatch: pytest.MonkeyPatch, mood: str
) -> None:
    """The error names shard and record, and Airflow does not try again."""
    with pytest.raises(AirflowFailException, match=MOODS[mood]):
        run_in_mood(deployed, monkeypatch, mood).run_all_tasks()
    assert deployed.storage.list_uris("s3://bucket/out/") == []


def test_one_that_is_sound_publishes_its_answers(
    deployed: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above can fail."""
    assert run_in_mood(deployed, monkeypatch, "sound").run_all_tasks()["records"]["scored"] == 200
