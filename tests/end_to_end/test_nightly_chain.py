"""The whole chain under a real scheduler, dag-processor, triggerer and api-server, read back row by row."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy
import pandas
import psutil
import pytest

from batch_inference.cli.laptop.airflow_processes import DATABASE_VARIABLE
from batch_inference.cli.laptop.environment import CREDENTIALS
from batch_inference.common.s3_uri import split_s3_uri
from tests.end_to_end.airflow_server import ODD_NAME
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.directly import direct_predictions, input_lines
from tests.postgres import dump_database

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1200)]

OUTPUTS = "s3://batch-inference-sample/chain/"
BY_HAND, FOLLOWER, LARGE, NIGHTLY = "abalone_by_hand", "abalone_following", "abalone_large", "abalone_nightly"
#: The data time of the run by hand, which so ends after midnight of its date.
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).replace(microsecond=0)
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
    """Looks at the machine while a run goes on: is there a process of its tasks while SageMaker works?

    Its jobs are held until they were looked at.

    Attributes: `while_waiting`, what was seen at each look at a waiting sensor; `ever`, whatever was seen at any time.
    """

    #: Where the keys are that a sensor's job waits for. The first job reads its code, the second what the first wrote.
    HELD: ClassVar = {
        "await_preprocess": f"/work/{BY_HAND}/*/code/",
        "await_transform": f"/work/{BY_HAND}/*/features/",
    }
    #: After so many, the processes will not go away.
    MAX_LOOKS = 50

    def __init__(self, deployment: Deployment, dag_id: str, run_id: str) -> None:
        self.deployment, self.dag_id, self.run_id = deployment, dag_id, run_id
        self.while_waiting: dict[str, list[list[str]]] = {"await_preprocess": [], "await_transform": []}
        self.ever: set[str] = set()

    @classmethod
    def hold_jobs(cls, deployment: Deployment) -> None:
        """Before the run is triggered."""
        for sensor, key in cls.HELD.items():
            deployment.hold(sensor, key)

    def __call__(self) -> None:
        before = self.deployment.task_instances(self.dag_id, self.run_id)
        titles = task_processes(self.deployment.airflow.pids["scheduler"])
        after = self.deployment.task_instances(self.dag_id, self.run_id)
        ids = {each["id"] for looked_at in (before, after) for each in looked_at.values()}
        processes = [title for title in titles if title.split()[-1] in ids]
        self.ever.update(processes)
        for sensor, seen in self.while_waiting.items():
            # Deferred before and after the look, so during it.
            if sensor in before and before[sensor]["state"] == after[sensor]["state"] == "deferred":
                seen.append(processes)
                if not processes or len(seen) == self.MAX_LOOKS:
                    self.deployment.release(sensor)


@pytest.fixture(scope="module")
def started(deployment: Deployment) -> dict[str, str]:
    """Ids of the runs of two pipelines, triggered over REST as the UI does; two more have a schedule of their own.

    They go on at the same time, with as many instances as transform the same records: four, two and, by night, one.
    """

    def by_hand(document: dict[str, Any]) -> None:
        document["output"]["uri"] = f"{OUTPUTS}by-hand/{{run_id}}/"
        path = str(deployment.told)
        message = {
            "notifier": "to_file.ToFile",
            "arguments": {"path": path, "message": "{{ run_id }}: {{ exceeded }}"},
        }
        expensive = {
            "notifier": "to_file.ToFile",
            "arguments": {"path": path, "message": "{{ run_id }} is expensive"},
        }
        document["notify"] = {
            "on_rejected": {"above": 0, "notifiers": [message]},
            "on_cost": {"above": 1000, "notifiers": [expensive]},
        }

    def following(document: dict[str, Any]) -> None:
        document["schedule_on"] = [f"{OUTPUTS}by-hand/"]
        del document["schedule"]
        document["input"]["uri"] = f"{OUTPUTS}copied/date={{date}}/"
        document["output"]["uri"] = f"{OUTPUTS}following/date={{date}}/"

    def large(document: dict[str, Any]) -> None:
        document["output"]["uri"] = f"{OUTPUTS}large/"
        document["join"].update(processing_above=100_000, max_instances=2)

    def nightly(document: dict[str, Any]) -> None:
        # A schedule that is switched on within minutes after its time makes up for it.
        at = datetime.now(UTC) - timedelta(minutes=1)
        document["schedule"] = f"{at.minute} {at.hour} * * *"
        document["output"]["uri"] = f"{OUTPUTS}nightly/date={{date}}/"
        document["transform"]["max_instances"] = 1

    bucket, key = split_s3_uri(f"{OUTPUTS}copied/date={YESTERDAY:%Y-%m-%d}/a.csv")
    lines = next((deployment.sample / "data").iterdir()).read_bytes().splitlines(keepends=True)[:100]
    deployment.s3.put_object(Bucket=bucket, Key=key, Body=b"".join(lines))
    for name, change in ((FOLLOWER, following), (BY_HAND, by_hand), (LARGE, large), (NIGHTLY, nightly)):
        deployment.write_pipeline(name, change)
    for name in (FOLLOWER, BY_HAND, LARGE, NIGHTLY):
        deployment.unpause(name)
    Watch.hold_jobs(deployment)
    sizes = {
        BY_HAND: {"transform_instance_count": 4},
        LARGE: {"transform_instance_count": 2, "preprocess_instance_count": 2},
    }
    dates = {BY_HAND: YESTERDAY.isoformat(), LARGE: None}
    return {name: deployment.trigger(name, conf, logical_date=dates[name]) for name, conf in sizes.items()}


@pytest.fixture(scope="module")
def first_run(deployment: Deployment, started: dict[str, str]) -> tuple[str, str, Watch]:
    """The run by hand; its id, final state, and what was seen meanwhile."""
    run_id = started[BY_HAND]
    watch = Watch(deployment, BY_HAND, run_id)
    return run_id, deployment.wait(BY_HAND, run_id, pause=0.4, watch=watch), watch


@pytest.fixture(scope="module")
def output(deployment: Deployment, first_run: tuple[str, str, Watch]) -> str:
    """Where the run by hand has published."""
    return str(deployment.xcom(BY_HAND, first_run[0], "plan")["output_uri"])


@pytest.fixture(scope="module")
def published(deployment: Deployment, output: str) -> tuple[pandas.DataFrame, dict[str, Any]]:
    """What it has published: the rows that a reader of the manifest sees, and the manifest."""
    return deployment.read_published(output)


def test_nothing_listens_beyond_this_machine(deployment: Deployment) -> None:
    """Nobody is asked for a password on a laptop, so nobody else may knock."""
    found = set()
    for pid in deployment.airflow.pids.values():
        parent = psutil.Process(pid)
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
    states = deployment.states(BY_HAND, run_id)
    assert (state, set(states.values())) == ("success", {"success"}), states


def test_every_input_row_is_published_or_rejected_exactly_once(
    deployment: Deployment,
    first_run: tuple[str, str, Watch],
    published: tuple[pandas.DataFrame, dict[str, Any]],
) -> None:
    """The published rows and the rejects together are the input, counted as multisets of whole rows."""
    run_id = first_run[0]
    rows, manifest = published
    facts = deployment.xcom(BY_HAND, run_id, "await_preprocess", "shard_stats")
    prefix = deployment.xcom(BY_HAND, run_id, "plan")["run_prefix"]
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
    assert len(rows) == len(recorded) == manifest["records"]["scored"]
    expected = pandas.read_csv(io.StringIO("\n".join(recorded)), names=COLUMNS).astype(rows[COLUMNS].dtypes)
    pandas.testing.assert_frame_equal(rows[COLUMNS], expected, check_exact=True)
    assert len(rejected) == manifest["records"]["rejected"] > 0
    assert manifest["records"]["in"] == len(lines)


def test_each_prediction_is_what_the_two_models_give_for_its_row(
    deployment: Deployment, published: tuple[pandas.DataFrame, dict[str, Any]]
) -> None:
    """Featurizer and linear model computed here, on the published rows themselves."""
    rows = published[0]
    expected = direct_predictions(deployment.sample / "model", rows[COLUMNS[:-1]])
    numpy.testing.assert_allclose(rows["predicted_rings"], expected, rtol=1e-5)
    assert rows["predicted_rings"].std() > 0.5


def test_no_task_process_exists_while_sagemaker_works(first_run: tuple[str, str, Watch]) -> None:
    """The sensors are deferred: each was looked at while its job was held, and once the process that deferred had
    ended, which it does a moment after the state has changed, nothing ran."""
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
    job = deployment.xcom(BY_HAND, run_id, "await_transform")
    assert "{{" not in json.dumps(rendered)
    assert rendered["Transform"]["TransformJobName"] == job["job_name"]
    assert int(rendered["Transform"]["TransformResources"]["InstanceCount"]) == job["instance_count"]


def test_an_odd_key_is_text_and_stays_text(deployment: Deployment, first_run: tuple[str, str, Watch]) -> None:
    """What looks like a template in the name of an object is rendered nowhere."""
    run_id = first_run[0]
    prefix = deployment.xcom(BY_HAND, run_id, "plan")["run_prefix"]
    listed = json.loads(deployment.objects(prefix)["input.manifest"])
    assert ODD_NAME in listed
    wrote = deployment.xcom(BY_HAND, run_id, "await_preprocess", "job")["job_name"]
    accounts = [
        content.decode()
        for key, content in deployment.objects(prefix).items()
        if key.startswith(f"{wrote}/manifest/")
    ]
    assert any(ODD_NAME in text or json.dumps(ODD_NAME)[1:-1] in text for text in accounts)


def test_no_secret_is_left_in_logs_xcom_templates_or_files(
    deployment: Deployment, first_run: tuple[str, str, Watch], output: str
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
    prefix = deployment.xcom(BY_HAND, first_run[0], "plan")["run_prefix"]
    places = {
        **{str(path): path.read_bytes() for path in (airflow.home / "logs").rglob("*") if path.is_file()},
        "database": dump_database(airflow.environment[DATABASE_VARIABLE]),
        **deployment.objects(prefix),
        **deployment.objects(output),
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


def test_a_run_that_published_tells_what_is_scheduled_on_its_data(
    deployment: Deployment,
    first_run: tuple[str, str, Watch],
    output: str,
    published: tuple[pandas.DataFrame, dict[str, Any]],
) -> None:
    """The asset's event carries the counts of `_manifest.json`, and starts the pipeline that follows.

    That scores the date of the run that has published, which is not the day on which it does.
    """
    run_id, records = first_run[0], published[1]["records"]
    events = deployment.airflow.api.call("GET", f"/assets/events?source_dag_id={BY_HAND}")["asset_events"]
    extra = {
        "output_uri": output,
        "manifest": f"{output}_manifest.json",
        "run_id": run_id,
        "records": records,
        "data_time": YESTERDAY.isoformat(),
    }
    assert {(event["source_task_id"], event["source_run_id"]) for event in events} == {("publish", run_id)}
    assert [event["extra"] for event in events] == [extra, extra]
    assert {(event["name"], event["partition_key"]) for event in events} == {
        (f"{OUTPUTS}by-hand/", None),
        (f"{BY_HAND} partitions", f"{YESTERDAY:%Y-%m-%dT%H:%M:%S}"),
    }
    followed = deployment.wait_for_run(FOLLOWER)
    assert followed["run_type"] == "asset_triggered"
    assert deployment.wait(FOLLOWER, followed["dag_run_id"]) == "success"
    plan = deployment.xcom(FOLLOWER, followed["dag_run_id"], "plan")
    assert (plan["input"]["objects"], datetime.fromisoformat(plan["data_time"])) == (1, YESTERDAY)
    rows, _ = deployment.read_published(f"{OUTPUTS}following/date={YESTERDAY:%Y-%m-%d}/")
    assert len(rows) > 0


def test_more_rejected_records_than_the_pipeline_allows_are_told_to_those_whom_it_names(
    deployment: Deployment,
    first_run: tuple[str, str, Watch],
    published: tuple[pandas.DataFrame, dict[str, Any]],
) -> None:
    """Once, with the numbers; nobody is told of the cost, which is below its limit."""
    (line,) = deployment.wait_for_lines(first_run[0], 1)
    assert line.startswith(f"{first_run[0]}: {published[1]['records']['rejected']:,} of "), published[1][
        "records"
    ]


def assert_same_rows(one: pandas.DataFrame, other: pandas.DataFrame) -> None:
    """The rows and their predictions are the same in whatever order."""
    sort = [*COLUMNS, "predicted_rings"]
    pandas.testing.assert_frame_equal(
        one.sort_values(sort, ignore_index=True), other.sort_values(sort, ignore_index=True), check_exact=True
    )


def test_a_nightly_run_needs_nobody(
    deployment: Deployment, started: dict[str, str], published: tuple[pandas.DataFrame, dict[str, Any]]
) -> None:
    """Unpaused, a pipeline runs at its scheduled time with its own defaults, for its own date.

    One instance gives the very rows and predictions that four give.
    """
    run = deployment.wait_for_run(NIGHTLY)
    run_id = run["dag_run_id"]
    assert run["run_type"] == "scheduled"
    assert deployment.wait(NIGHTLY, run_id) == "success"
    plan = deployment.xcom(NIGHTLY, run_id, "plan")
    assert plan["output_uri"] == f"{OUTPUTS}nightly/date={run['logical_date'][:10]}/"
    assert_same_rows(deployment.read_published(plan["output_uri"])[0], published[0])
    assert deployment.xcom(NIGHTLY, run_id, "await_transform")["instance_count"] == 1


def joining(states: dict[str, str | None]) -> tuple[str | None, str | None, set[str | None]]:
    """States of the job that joins, of the wait for it, and of the mapped tasks that join."""
    mapped = {state for task, state in states.items() if task.partition("[")[0] == "join"}
    return states["join_job"], states["await_join_job"], mapped


def test_a_large_run_is_joined_by_a_job(
    deployment: Deployment,
    started: dict[str, str],
    first_run: tuple[str, str, Watch],
    published: tuple[pandas.DataFrame, dict[str, Any]],
) -> None:
    """The mapped tasks are skipped; the rows are those that Airflow's workers join, by two instances and by four.

    Two instances preprocess them, and exchange the keys of their records.
    """
    run_id = started[LARGE]
    assert deployment.wait(LARGE, run_id) == "success"
    assert joining(deployment.states(LARGE, run_id)) == ("success", "success", {"skipped"})
    rows, manifest = deployment.read_published(f"{OUTPUTS}large/")
    assert_same_rows(rows, published[0])
    transforms = [
        deployment.xcom(*run, "await_transform") for run in ((BY_HAND, first_run[0]), (LARGE, run_id))
    ]
    assert [job["instance_count"] for job in transforms] == [4, 2]
    job = deployment.xcom(LARGE, run_id, "await_join_job")
    assert job["instance_count"] == 2
    shards = deployment.xcom(LARGE, run_id, "await_preprocess", "shard_stats")["count"]
    assert len(manifest["files"]) == shards
    stored = deployment.objects(deployment.xcom(LARGE, run_id, "plan")["run_prefix"])
    manifests = [json.loads(stored[key]) for key in stored if "/manifest/algo-" in key]
    exchanged = [one["exchanged_bytes"] for one in manifests if "exchanged_bytes" in one]
    assert len(exchanged) == 2  # the hosts of preprocess, which find repeats over both
    assert all(exchanged)
    report = json.loads(stored["report.json"])
    join = next(stage for stage in report["stages"] if stage["stage"] == "join")
    assert join["billed_seconds"] >= join["busy_seconds"] > 0
    assert any(sentence.startswith("Join uses 2 ") for sentence in report["sentences"])
