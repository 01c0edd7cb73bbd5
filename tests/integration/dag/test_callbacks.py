"""The notifiers that a pipeline names are Airflow's, made when the DAG is parsed and called with the run's figures."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from airflow.sdk import BaseNotifier

from batch_inference.common.errors import PipelineError
from batch_inference.dag.callbacks import build_failure_callbacks, build_report_callback
from tests.unit.builders import pipeline


class Recorder(BaseNotifier):
    """Keeps what it was told."""

    template_fields = ("message",)
    told: ClassVar[list[str]] = []

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def notify(self, context: Any) -> None:
        """Keep the rendered message."""
        self.told.append(self.message)


class Picky(BaseNotifier):
    """Refuses its arguments by an error of its own."""

    def __init__(self) -> None:
        raise ValueError("no channel")


HERE = f"{__name__}.Recorder"


class Finished:
    """The task instance of a `clean_up` that reported so many rejects."""

    task_id = "clean_up"

    def xcom_pull(self, task_ids: str) -> dict[str, Any]:
        """What `clean_up` returned."""
        assert task_ids == "clean_up"
        return {
            "removed": [],
            "records": {"in": 10, "rejected": 2},
            "seconds": 9,
            "billed_seconds": 9,
            "dollars": 0.5,
        }


@pytest.fixture(autouse=True)
def told() -> list[str]:
    """Messages of this test."""
    Recorder.told.clear()
    return Recorder.told


def test_a_failed_run_is_told_to_the_named_notifier_with_its_templates_rendered(told: list[str]) -> None:
    (notifier,) = build_failure_callbacks(
        pipeline(
            {"notify": {"on_failure": [{"notifier": HERE, "arguments": {"message": "{{ run_id }} failed"}}]}}
        )
    )
    notifier({"run_id": "nightly-1"})
    assert told == ["nightly-1 failed"]


def test_a_report_above_a_limit_is_told_with_the_sentence(told: list[str]) -> None:
    above = {"above": 0.1, "notifiers": [{"notifier": HERE, "arguments": {"message": "{{ exceeded }}"}}]}
    callback = build_report_callback(
        pipeline({"notify": {"on_rejected": above, "on_cost": {**above, "above": 9}}})
    )
    assert callback is not None
    callback({"ti": Finished()})
    callback({"ti": Finished()})
    assert told == ["2 of 10 records were rejected (20%), above the 10% of notify.on_rejected"] * 2


def test_a_pipeline_that_names_nobody_has_no_callback() -> None:
    assert build_failure_callbacks(pipeline()) == []
    assert build_report_callback(pipeline()) is None


@pytest.mark.parametrize(
    ("notifier", "message"),
    [
        (
            {"notifier": "no.such.Notifier"},
            "notify.on_failure[0].notifier: found 'no.such.Notifier', which cannot be",
        ),
        ({"notifier": "subprocess.Popen"}, "allowed are subclasses of airflow.sdk.BaseNotifier"),
        ({"notifier": HERE, "arguments": {"text": "x"}}, "notify.on_failure[0].arguments: "),
        ({"notifier": f"{__name__}.Picky"}, "does not accept these arguments: no channel"),
    ],
)
def test_a_notifier_that_cannot_be_made_is_an_error_of_the_pipeline(
    notifier: dict[str, Any], message: str
) -> None:
    with pytest.raises(PipelineError) as caught:
        build_failure_callbacks(pipeline({"notify": {"on_failure": [notifier]}}))
    assert message in str(caught.value)
