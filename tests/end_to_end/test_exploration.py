"""Two runs of `calibrate: explore` by a real scheduler: without trials, and with some."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batch_inference.planning.clusters.rate_history import HistoryRow
from batch_inference.publishing import measured_rates
from tests.end_to_end.deployment import Deployment

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1200)]

DAG = "abalone_explore"
OUTPUT = "s3://batch-inference-sample/explore/scored/"
PATCH = "exploration.MAX_TRIAL_SHARE = 0.5"


class Store:
    """As much of `Storage` as the history writes with."""

    def __init__(self, deployment: Deployment) -> None:
        self.s3 = deployment.s3

    def write(self, uri: str, body: bytes, **_: Any) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.s3.put_object(Bucket=bucket, Key=key, Body=body)


def build_row(night: int, instance_type: str, model: str) -> HistoryRow:
    """A run that was slow and dear, so that the sample is enough for trials."""
    return HistoryRow(
        pipeline=DAG, run_id=f"r{night}", data_time=f"2026-01-0{night}T02:00:00+00:00", stage="transform",
        instance_type=instance_type, instance_count=1, model=model, bytes=190_000, records=4_000, objects=40,
        provisioning_seconds=1.0, running_seconds=3_600.0, busy_seconds=3_510.0, start_seconds=90.0,
        predicted_seconds=None, dollars=40.0, max_concurrent_transforms=1, max_payload_mb=5,
        batch_strategy="MultiRecord",
    )  # fmt: skip


def test_a_run_tries_other_types_on_some_shards_and_publishes_every_record_once(
    deployment: Deployment,
) -> None:
    """The first run has nothing to go by, and its trial tasks are skipped; the join does not mind."""

    def explore(document: dict[str, Any]) -> None:
        document["output"]["uri"] = OUTPUT
        document["goals"] = {"calibrate": "explore"}
        document["transform"] |= {
            "instance_types": ["ml.m5.large", "ml.m5.2xlarge"], "max_concurrent_transforms": 1, "max_payload_mb": 5,
        }  # fmt: skip

    # The sample is small: of a run of hours a trial takes a twentieth. Each task reads the DAG file first.
    dag_file = deployment.root / "dags" / "pipelines.py"
    text = dag_file.read_text()
    dag_file.write_text(f"{text}\nfrom batch_inference.planning.clusters import exploration\n{PATCH}\n")
    try:
        deployment.deploy(DAG, explore)
        conf = {"transform_instance_count": 2}
        first = deployment.trigger(DAG, conf)
        assert deployment.wait(DAG, first) == "success"
        states = deployment.states(DAG, first)
        assert (states["select_trials"], states["transform_trial"], states["await_trial"]) == (
            "success", "skipped", "skipped",
        )  # fmt: skip
        frame, _ = deployment.read_published(OUTPUT)

        plan = deployment.xcom(DAG, first, "plan")
        model = json.loads(deployment.objects(plan["run_prefix"])["report.json"])["model"]["key"]
        used = plan["transform"]["instance_type"]
        rows = [build_row(night, used, model) for night in range(1, 8)]
        for row in rows:
            measured_rates.add_run_to_rate_history(
                Store(deployment),
                deployment.pipeline(DAG),
                row.run_id,
                [row],  # type: ignore[arg-type]  # what it needs
            )
        second = deployment.trigger(DAG, conf)
        assert deployment.wait(DAG, second) == "success"
    finally:
        dag_file.write_text(text)
    plan = deployment.xcom(DAG, second, "plan")
    tried = {trial["instance_type"] for trial in plan["trials"]}
    assert tried, [each["text"] for each in plan["log"] if "tried" in each["text"]]
    assert used not in tried
    selected = deployment.xcom(DAG, second, "select_trials")
    again, manifest = deployment.read_published(OUTPUT)
    assert len(again) == len(frame) == manifest["records"]["scored"]
    outputs = deployment.objects(plan["run_prefix"])
    answers = [name.rsplit("/", 1)[1] for name in outputs if name.endswith(".out")]
    assert len(answers) == len(set(answers)) == json.loads(outputs["report.json"])["shards"]
    assert {f"{name}.csv.out" for each in selected for name in each["shards"]} <= set(answers)
    trials = json.loads(outputs["report.json"])["trials"]
    assert {trial["instance_type"] for trial in trials if trial["completed"]} == tried
    assert [trial["records"] for trial in trials] == [
        pytest.approx(each["records"], abs=1) for each in selected
    ]
