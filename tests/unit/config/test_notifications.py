"""Who is told about a run, and when."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.notifications import describe_exceeded_limits
from batch_inference.config.validation_errors import format_validation_error
from tests.unit.builders import document, pipeline

MAIL = {
    "notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
    "arguments": {"to": "night@example.com"},
}


def facts(rejected: int = 0, dollars: float | None = 1.0) -> dict[str, Any]:
    return {"records": {"in": 100, "rejected": rejected}, "dollars": dollars}


def sentences(notify: dict[str, Any], about: dict[str, Any]) -> list[str]:
    return [sentence for sentence, _ in describe_exceeded_limits(pipeline({"notify": notify}).notify, about)]


def test_a_run_within_its_limits_exceeds_nothing() -> None:
    notify = {
        "on_rejected": {"above": 0.05, "notifiers": [MAIL]},
        "on_cost": {"above": 1, "notifiers": [MAIL]},
    }
    assert sentences(notify, facts(rejected=5)) == []


def test_what_was_exceeded_is_said_with_both_figures() -> None:
    notify = {
        "on_rejected": {"above": 0.05, "notifiers": [MAIL]},
        "on_cost": {"above": 0.5, "notifiers": [MAIL]},
    }
    assert sentences(notify, facts(rejected=6)) == [
        "6 of 100 records were rejected (6%), above the 5% of notify.on_rejected",
        "the jobs cost $1.00, above the $0.50 of notify.on_cost",
    ]


def test_an_unknown_cost_exceeds_nothing() -> None:
    assert sentences({"on_cost": {"above": 0, "notifiers": [MAIL]}}, facts(dollars=None)) == []


def test_an_input_without_records_has_no_rejected_share() -> None:
    notify = {"on_rejected": {"above": 0, "notifiers": [MAIL]}}
    assert sentences(notify, {"records": {"in": 0, "rejected": 0}, "dollars": 0.0}) == []


def problem(changes: dict[str, Any]) -> str:
    """What a person reads of the only problem of a pipeline file."""
    with pytest.raises(ValidationError) as caught:
        pipeline(changes)
    (sentence,) = format_validation_error(caught.value, Pipeline, document(changes))
    return sentence


@pytest.mark.parametrize(
    ("notify", "message"),
    [
        (
            {"on_rejected": {"above": 5, "notifiers": [MAIL]}},
            "on_rejected.above: found 5; allowed is a share",
        ),
        (
            {"on_cost": {"above": 5, "notifiers": []}},
            "notify.on_cost.notifiers: found []; allowed is at least 1",
        ),
        (
            {"on_failure": [{"notifier": "os; rm -rf /"}]},
            "notify.on_failure[0].notifier: found 'os; rm -rf /'",
        ),
        ({"on_failre": []}, "did you mean 'on_failure'?"),
    ],
)
def test_a_wrong_section_is_refused_by_field(notify: dict[str, Any], message: str) -> None:
    assert message in problem({"notify": notify})


def test_a_schedule_and_assets_at_once_are_refused() -> None:
    found = problem({"schedule": "@daily", "schedule_on": ["s3://data/raw/"]})
    assert found == "schedule_on: found together with schedule; write one of the two"
