"""The whole chain under a real scheduler, dag-processor, triggerer and api-server, read back row by row."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy
import pandas
import psutil
import pytest

from tests.end_to_end.conftest import ODD_NAME
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.directly import direct_predictions, input_lines
from tests.postgres import dump_database
from tools.airflow_processes import DATABASE_VARIABLE
from tools.laptop import CREDENTIALS

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]

COLUMNS = [
    "sex", "length", "diameter", "height", "whole_weight", "shucked_weight", "viscera_weight", "shell_weight", "rings",
]  # fmt: skip


def task_processes(scheduler: int) -> list[str]:
    """Titles of the processes that run a task now, as LocalExecutor and Airflow's task runner name themselves."""
    titles = []
    for process in psutil.Process(scheduler).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            titles.append(" ".join(process.cmdline()).strip())
    return [
        title
        for title in titles
        if title.startswith("airflow supervisor: ")
        or (title.startswith("airflow worker -- ") and not title.endswith("<idle>"))
    ]


class Watch:
    """Looks at the machine while a run goes on: is there a task process while SageMaker works?

    Attributes: `while_waiting`, what was seen at each look at a waiting sensor; `ever`, whatever was seen at any time.
    """

    def __init__(self, deployment: Deployment, dag_id: str, run_id: str) -> None:
        self.deployment, self.dag_id, self.run_id = deployment, dag_id, run_id
        self.while_waiting: dict[str, list[list[str]]] = {"await_preprocess": [], "await_transform": []}
        self.ever: set[str] = set()

    def __call__(self) -> None:
        before = self.deployment.states(self.dag_id, self.run_id)
        processes = task_processes(self.deployment.airflow.processes["scheduler"].pid)
        after = self.deployment.states(self.dag_id, self.run_id)
        self.ever.update(processes)
        for sensor, seen in self.while_waiting.items():
            # Deferred before and after the look, so during it.
            if before.get(sensor) == after.get(sensor) == "deferred":
                seen.append(processes)


@pytest.fixture(scope="module")
def first_run(deployment: Deployment) -> tuple[str, str, Watch]:
    """One run triggered over REST, as the UI does; its id, final state, and what was seen meanwhile."""
    deployment.deploy(
        "abalone_by_hand",
        lambda document: document["output"].update(uri="s3://batch-inference-sample/by-hand/"),
    )
    run_id = deployment.trigger("abalone_by_hand", {"transform_instance_count": 4})
    watch = Watch(deployment, "abalone_by_hand", run_id)
    return run_id, deployment.wait("abalone_by_hand", run_id, watch=watch), watch


def test_nothing_listens_beyond_this_machine(deployment: Deployment) -> None:
    """Nobody is asked for a password on a laptop, so nobody else may knock."""
    found = set()
    for component in deployment.airflow.processes.values():
        parent = psutil.Process(component.pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                found |= {
                    each.laddr.ip
                    for each in process.net_connections(kind="inet")
                    if each.status == psutil.CONN_LISTEN
                }
    assert found == {"127.0.0.1"}


def test_the_run_succeeds(deployment: Deployment, first_run: tuple[str, str, Watch]) -> None:
    """Every task of the chain ends as success."""
    run_id, state, _ = first_run
    states = deployment.states("abalone_by_hand", run_id)
    assert (state, set(states.values())) == ("success", {"success"}), states


def test_every_input_row_is_published_or_rejected_exactly_once(
    deployment: Deployment, first_run: tuple[str, str, Watch]
) -> None:
    """The published rows and the rejects together are the input, counted as multisets of whole rows."""
    run_id = first_run[0]
    published, manifest = deployment.read_published("s3://batch-inference-sample/by-hand/")
    facts = deployment.xcom("abalone_by_hand", run_id, "collect_shards", "shard_stats")
    prefix = deployment.xcom("abalone_by_hand", run_id, "plan")["run_prefix"]
    objects = deployment.objects(f"{prefix}{facts['preprocess_job']}/")
    rejected = [
        json.loads(line)["text"]
        for key, content in objects.items()
        if key.startswith("rejects/")
        for line in content.decode().splitlines()
    ]
    recorded = [
        line
        for key, content in objects.items()
        if key.startswith("records/")
        for line in content.decode().splitlines()
    ]
    lines = input_lines(deployment.sample / "data")
    assert Counter(rejected) + Counter(recorded) == Counter(lines)
    assert len(published) == len(recorded) == manifest["records"]["scored"]
    expected = pandas.read_csv(io.StringIO("\n".join(recorded)), names=COLUMNS).astype(
        published[COLUMNS].dtypes
    )
    pandas.testing.assert_frame_equal(published[COLUMNS], expected, check_exact=True)
    assert len(rejected) == manifest["records"]["rejected"] > 0
    assert manifest["records"]["in"] == len(lines)


def test_each_prediction_is_what_the_two_models_give_for_its_row(
    deployment: Deployment, first_run: tuple[str, str, Watch]
) -> None:
    """Featurizer and linear model computed here, on the published rows themselves."""
    published, _ = deployment.read_published("s3://batch-inference-sample/by-hand/")
    expected = direct_predictions(deployment.sample / "model", published[COLUMNS[:-1]])
    numpy.testing.assert_allclose(published["predicted_rings"], expected, rtol=1e-5)
    assert published["predicted_rings"].std() > 0.5


def test_no_task_process_exists_while_sagemaker_works(first_run: tuple[str, str, Watch]) -> None:
    """The sensors are deferred: each was looked at while it waited, and once the process that deferred had ended,
    which it does a moment after the state has changed, nothing ran."""
    watch = first_run[2]
    assert watch.ever, "the looks cannot tell: not even a running task was seen"
    for sensor, seen in watch.while_waiting.items():
        assert seen, f"{sensor} was never seen deferred"
        assert [] in seen, f"{sensor}: at each look a task process was there: {seen}"


def test_rendered_templates_show_this_runs_sizes(
    deployment: Deployment, first_run: tuple[str, str, Watch]
) -> None:
    """What the UI shows for `transform` holds numbers and the job's final name."""
    run_id = first_run[0]
    path = f"{deployment.run_path('abalone_by_hand', run_id)}/taskInstances/transform"
    rendered = deployment.airflow.api.call("GET", path)["rendered_fields"]["config"]
    job = deployment.xcom("abalone_by_hand", run_id, "await_transform")
    assert "{{" not in json.dumps(rendered)
    assert rendered["Transform"]["TransformJobName"] == job["job_name"]
    assert int(rendered["Transform"]["TransformResources"]["InstanceCount"]) == job["instance_count"]


def test_an_odd_key_is_text_and_stays_text(deployment: Deployment, first_run: tuple[str, str, Watch]) -> None:
    """What looks like a template in the name of an object is rendered nowhere."""
    run_id = first_run[0]
    prefix = deployment.xcom("abalone_by_hand", run_id, "plan")["run_prefix"]
    listed = json.loads(deployment.objects(prefix)["input.manifest"])
    assert ODD_NAME in listed
    wrote = deployment.xcom("abalone_by_hand", run_id, "await_preprocess")["job_name"]
    accounts = [
        content.decode()
        for key, content in deployment.objects(prefix).items()
        if key.startswith(f"{wrote}/manifest/")
    ]
    assert any(ODD_NAME in text or json.dumps(ODD_NAME)[1:-1] in text for text in accounts)


def test_no_secret_is_left_in_logs_xcom_templates_or_files(
    deployment: Deployment, first_run: tuple[str, str, Watch]
) -> None:
    """Not the connection's, nor Airflow's own keys: not in a log, in Airflow's database, or below the run's prefix."""
    airflow = deployment.airflow
    secrets = {
        CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        *(
            airflow.environment[f"AIRFLOW__{name}"]
            for name in ("CORE__FERNET_KEY", "API_AUTH__JWT_SECRET", "API__SECRET_KEY")
        ),
    }
    prefix = deployment.xcom("abalone_by_hand", first_run[0], "plan")["run_prefix"]
    places = {
        **{str(path): path.read_bytes() for path in (airflow.home / "logs").rglob("*") if path.is_file()},
        "database": dump_database(airflow.environment[DATABASE_VARIABLE]),
        **deployment.objects(prefix),
        **deployment.objects("s3://batch-inference-sample/by-hand/"),
    }
    assert {Path(place).name for place in places} >= {
        "scheduler.log",
        "database",
        "plan.json",
        "_manifest.json",
    }
    found = [
        (place, secret)
        for place, content in places.items()
        for secret in secrets
        if secret.encode() in content or secret.encode().hex().encode() in content
    ]
    assert found == []
    # The database was looked at: what it must hold is found there.
    assert first_run[0].encode() in places["database"]


def test_one_two_and_four_instances_give_identical_output(
    deployment: Deployment, first_run: tuple[str, str, Watch]
) -> None:
    """The rows, their order and their predictions do not depend on the size of the cluster."""
    sort = [*COLUMNS, "predicted_rings"]
    jobs = [deployment.xcom("abalone_by_hand", first_run[0], "await_transform")]
    expected = deployment.read_published("s3://batch-inference-sample/by-hand/")[0].sort_values(
        sort, ignore_index=True
    )
    for instances in (1, 2):
        prefix = f"s3://batch-inference-sample/instances-{instances}/"
        conf = {"transform_instance_count": instances, "output_uri": prefix}
        run_id = deployment.trigger("abalone_by_hand", conf)
        assert deployment.wait("abalone_by_hand", run_id) == "success"
        jobs.append(deployment.xcom("abalone_by_hand", run_id, "await_transform"))
        frame = deployment.read_published(prefix)[0].sort_values(sort, ignore_index=True)
        pandas.testing.assert_frame_equal(frame, expected, check_exact=True)
    assert [job["instance_count"] for job in jobs] == [4, 1, 2]


def test_a_nightly_run_needs_nobody(deployment: Deployment) -> None:
    """Unpaused, a pipeline runs at its next scheduled time with its own defaults, for its own date."""

    def change(document: dict[str, Any]) -> None:
        document.update(schedule="* * * * *")
        document["output"]["uri"] = "s3://batch-inference-sample/nightly/date={date}/"

    deployment.deploy("abalone_nightly", change)
    runs: list[dict[str, Any]] = []
    deadline = time.monotonic() + 240
    while not runs:
        assert time.monotonic() < deadline, "the schedule started no run"
        time.sleep(1)
        runs = deployment.airflow.api.call("GET", "/dags/abalone_nightly/dagRuns")["dag_runs"]
    run_id = runs[0]["dag_run_id"]
    assert runs[0]["run_type"] == "scheduled"
    assert deployment.wait("abalone_nightly", run_id) == "success"
    # One night is enough.
    deployment.airflow.api.call("PATCH", "/dags/abalone_nightly", {"is_paused": True})
    plan = deployment.xcom("abalone_nightly", run_id, "plan")
    date = runs[0]["logical_date"][:10]
    assert plan["output_uri"] == f"s3://batch-inference-sample/nightly/date={date}/"
    assert len(deployment.read_published(plan["output_uri"])[0]) > 0


def joining(states: dict[str, str | None]) -> tuple[str | None, str | None, set[str | None]]:
    """States of the job that joins, of the wait for it, and of the mapped tasks that join."""
    mapped = {state for task, state in states.items() if task.partition("[")[0] == "join"}
    return states["join_job"], states["await_join_job"], mapped


def test_a_large_run_is_joined_by_a_job(deployment: Deployment, first_run: tuple[str, str, Watch]) -> None:
    """The mapped tasks are skipped; the rows are those that Airflow's workers join."""
    prefix = "s3://batch-inference-sample/large/"

    def change(document: dict[str, Any]) -> None:
        document["output"].update(uri=prefix)
        document["join"].update(processing_above=100_000, max_instances=2)

    deployment.deploy("abalone_large", change)
    run_id = deployment.trigger("abalone_large", {"transform_instance_count": 4})
    assert deployment.wait("abalone_large", run_id) == "success"
    assert joining(deployment.states("abalone_large", run_id)) == ("success", "success", {"skipped"})
    sort = [*COLUMNS, "predicted_rings"]
    expected = deployment.read_published("s3://batch-inference-sample/by-hand/")[0]
    frame, manifest = deployment.read_published(prefix)
    pandas.testing.assert_frame_equal(
        frame.sort_values(sort, ignore_index=True),
        expected.sort_values(sort, ignore_index=True),
        check_exact=True,
    )
    job = deployment.xcom("abalone_large", run_id, "await_join_job")
    assert job["instance_count"] == 2
    shards = deployment.xcom("abalone_large", run_id, "collect_shards", "shard_stats")["count"]
    assert len(manifest["files"]) == shards
    report = json.loads(
        deployment.objects(deployment.xcom("abalone_large", run_id, "plan")["run_prefix"])["report.json"]
    )
    join = next(stage for stage in report["stages"] if stage["stage"] == "join")
    assert join["billed_seconds"] >= join["busy_seconds"] > 0
    assert any(sentence.startswith("Join uses 2 ") for sentence in report["sentences"])
