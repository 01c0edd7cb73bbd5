"""A run that its gates hold, a person who publishes it, and a night with nothing new: through Airflow itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.end_to_end.deployment import Deployment

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1200)]

DAG = "abalone_gates"
OUTPUT = "s3://batch-inference-sample/gates/"
BEFORE_CHECKS = ["preprocess", "await_preprocess", "transform", "await_transform", "join"]


@pytest.fixture(scope="module")
def gated(deployment: Deployment) -> Deployment:
    """A pipeline whose gate no prediction can pass, so that its first run is held."""

    def with_gates(document: dict[str, Any]) -> None:
        document["output"] = {"uri": OUTPUT}
        document["sensitive"] = [{"column": "sex"}]
        document["predictions"]["selected"] = {"column": "predicted_rings", "min": 10}
        document["gates"] = [{"gate": "range", "column": "predicted_rings", "max": 0, "then": "hold"}]
        document["skip_unchanged"] = True
        document["transform"]["max_instances"] = 1

    deployment.deploy(DAG, with_gates)
    return deployment


def test_a_held_run_waits_for_a_person_and_an_unchanged_night_ends_without_a_job(gated: Deployment) -> None:
    """Three runs of one pipeline: held, published by hand, and nothing new to score."""
    held = gated.trigger(DAG, {})
    assert gated.wait(DAG, held) == "failed"
    states = gated.states(DAG, held)
    assert {task: states[task] for task in ("checks", "publish", "clean_up")} == {
        "checks": "failed", "publish": "upstream_failed", "clean_up": "failed",
    }  # fmt: skip
    said = gated.task_log(DAG, held, "checks")
    assert "the run is held and published nothing" in said
    assert "publish_run" in said
    assert gated.objects(OUTPUT) == {}
    run_prefix = gated.xcom(DAG, held, "plan")["run_prefix"]
    assert {"scored.json", "statistics.json", "checks.json", "plan.json"} <= set(gated.objects(run_prefix))

    released = gated.trigger(DAG, {"publish_run": held})
    assert gated.wait(DAG, released) == "success"
    states = gated.states(DAG, released)
    assert {task: states[task] for task in BEFORE_CHECKS} == dict.fromkeys(BEFORE_CHECKS, "skipped")
    rows, manifest = gated.read_published(OUTPUT)
    assert manifest["run_id"] == held
    assert manifest["checks"]["judged_in"] == released
    assert len(rows) == manifest["rows"] == manifest["records"]["scored"]
    assert "report.json" in gated.objects(run_prefix)

    again = gated.trigger(DAG, {})
    assert gated.wait(DAG, again) == "success"
    assert gated.xcom(DAG, again, "plan")["unchanged_since"] == held
    assert gated.states(DAG, again)["publish"] == "skipped"
    assert gated.read_published(OUTPUT)[1]["run_id"] == held
