"""Who hears of a run: what is scheduled on its data, and whom the pipeline names."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.deployment import Deployment

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

DAG, FOLLOWER = "abalone_telling", "abalone_following"
OUTPUT = "s3://batch-inference-sample/telling/"

#: A notifier as a team may have one of its own, in Airflow's plugins folder.
NOTIFIER = '''
from pathlib import Path

from airflow.sdk import BaseNotifier


class ToFile(BaseNotifier):
    """Adds a line to a file."""

    template_fields = ("message",)

    def __init__(self, path, message):
        super().__init__()
        self.path, self.message = path, message

    def notify(self, context):
        with Path(self.path).open("a") as file:
            file.write(self.message + "\\n")
'''


@pytest.fixture(scope="module")
def told(deployment: Deployment) -> Path:
    """The file that the pipeline's notifiers write to; the pipeline, and another one that follows it, deployed."""
    told = deployment.root / "told.txt"
    (deployment.root / "plugins" / "to_file.py").write_text(NOTIFIER)

    def notifier(message: str) -> dict[str, Any]:
        return {"notifier": "to_file.ToFile", "arguments": {"path": str(told), "message": message}}

    def telling(document: dict[str, Any]) -> None:
        document["output"]["uri"] = f"{OUTPUT}{{run_id}}/"
        document["notify"] = {
            "on_failure": [notifier("{{ dag.dag_id }} {{ run_id }} failed")],
            "on_rejected": {"above": 0, "notifiers": [notifier("{{ run_id }}: {{ exceeded }}")]},
            "on_cost": {"above": 1000, "notifiers": [notifier("expensive")]},
        }

    def following(document: dict[str, Any]) -> None:
        document["schedule_on"] = [OUTPUT]
        del document["schedule"]
        document["input"]["uri"] = "s3://batch-inference-sample/nothing/here/"

    deployment.deploy(FOLLOWER, following)
    deployment.deploy(DAG, telling)
    return told


def lines(path: Path, count: int, *, seconds: float = 90) -> list[str]:
    """What was told, once so many lines are there; Airflow calls a DAG's own callbacks after the run has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = path.read_text().splitlines() if path.exists() else []
        if len(found) >= count:
            return found
        time.sleep(0.5)
    raise AssertionError(f"{path} has not {count} lines after {seconds} s")


def test_a_run_that_published_tells_what_is_scheduled_on_its_data(deployment: Deployment, told: Path) -> None:
    """The asset's event carries the counts of `_manifest.json`, and starts the pipeline that follows."""
    run_id = deployment.trigger(DAG, {})
    assert deployment.wait(DAG, run_id) == "success"
    output = deployment.xcom(DAG, run_id, "plan")["output_uri"]
    _, manifest = deployment.read_published(output)
    events = deployment.airflow.api.call("GET", f"/assets/events?source_dag_id={DAG}")["asset_events"]
    assert [(event["source_task_id"], event["source_run_id"], event["extra"]) for event in events] == [
        (
            "publish",
            run_id,
            {
                "output_uri": output,
                "manifest": f"{output}_manifest.json",
                "run_id": run_id,
                "records": manifest["records"],
            },
        )
    ]
    deadline = time.monotonic() + 60
    followed: list[dict[str, Any]] = []
    while not followed and time.monotonic() < deadline:
        followed = deployment.airflow.api.call("GET", f"/dags/{FOLLOWER}/dagRuns")["dag_runs"]
    assert [run["run_type"] for run in followed] == ["asset_triggered"]
    assert deployment.wait(FOLLOWER, followed[0]["dag_run_id"]) == "success"
    rejected = manifest["records"]["rejected"]
    (line,) = lines(told, 1)
    assert line.startswith(f"{run_id}: {rejected:,} of "), json.dumps(manifest["records"])


def test_a_failed_run_is_told_to_those_whom_the_pipeline_names(deployment: Deployment, told: Path) -> None:
    """By Airflow's own callback of the DAG; a failed run publishes nothing, so no event follows."""
    before = len(lines(told, 0))
    run_id = deployment.trigger(DAG, {"dry_rum": True})
    assert deployment.wait(DAG, run_id) == "failed"
    assert lines(told, before + 1)[before:] == [f"{DAG} {run_id} failed"]
    events = deployment.airflow.api.call("GET", f"/assets/events?source_dag_id={DAG}")["asset_events"]
    assert run_id not in {event["source_run_id"] for event in events}
