"""How runs end when something is not as it should be: the state of the run is the truth, and nothing is half."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from batch_inference.cli.laptop.environment import CREDENTIALS
from batch_inference.common.errors import PoolError
from batch_inference.common.names import build_name_prefix
from batch_inference.config.images import build_image_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.planned_jobs import build_pool_args
from batch_inference.dag.pools import check_pool
from tests.end_to_end.deployment import Deployment

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1200)]

DAG = "abalone_endings"
OUTPUT = "s3://batch-inference-sample/endings/"
AFTER_PLAN = [
    "preprocess",
    "await_preprocess",
    "transform",
    "await_transform",
    "join",
    "checks",
    "publish",
]


@pytest.fixture(scope="module")
def endings(deployment: Deployment) -> Deployment:
    """A deployment with a pipeline that names whom to tell of failed runs."""
    arguments = {"path": str(deployment.told), "message": "{{ dag.dag_id }} {{ run_id }} failed"}

    def change(document: dict[str, Any]) -> None:
        document["output"]["uri"] = OUTPUT
        document["notify"] = {"on_failure": [{"notifier": "to_file.ToFile", "arguments": arguments}]}

    deployment.deploy(DAG, change)
    return deployment


@pytest.fixture(scope="module")
def sagemaker(endings: Deployment) -> Any:
    """A SageMaker client for the embedded AWS."""
    import boto3

    session = boto3.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
    return session.client(
        "sagemaker", endpoint_url=endings.endpoint, region_name=CREDENTIALS["AWS_DEFAULT_REGION"]
    )


def jobs_of(sagemaker: Any, dag_id: str) -> dict[str, str]:
    """Names and states of all jobs that the DAG has submitted."""
    word = build_name_prefix(dag_id)
    processing = sagemaker.list_processing_jobs(NameContains=word, MaxResults=100)["ProcessingJobSummaries"]
    transform = sagemaker.list_transform_jobs(NameContains=word, MaxResults=100)["TransformJobSummaries"]
    return {
        **{job["ProcessingJobName"]: job["ProcessingJobStatus"] for job in processing},
        **{job["TransformJobName"]: job["TransformJobStatus"] for job in transform},
    }


def wait_for_end_of_process(endings: Deployment, run_id: str, task_id: str) -> None:
    """Return once Airflow's scheduler knows that the process of the task's first try has ended."""
    log = endings.airflow.get_log_path("scheduler")
    words = ("Received executor event with state success", f"'{task_id}'", f"'{run_id}'")
    deadline = time.monotonic() + 300
    while not any(
        all(word in line for word in words) for line in log.read_text(errors="replace").splitlines()
    ):
        assert time.monotonic() < deadline, f"the process of {task_id} of {run_id} has not ended"
        time.sleep(0.5)


def test_a_wrong_pipeline_file_breaks_its_own_dag_alone(endings: Deployment) -> None:
    """Its import error names file, field, what was found and what is allowed; the other DAGs stay."""
    pipelines = endings.root / "include" / "pipelines"
    text = (pipelines / "abalone.yaml").read_text().replace("name: abalone ", "name: broken ")
    endings.write_pipeline_file(
        "broken", text.replace("batch_strategy: MultiRecord", "batch_strategy: ManyRecord")
    )
    deadline = time.monotonic() + 600
    errors: list[dict[str, Any]] = []
    while not errors and time.monotonic() < deadline:
        # Airflow forgets it when it looks for DAG files, each three seconds here, until it reads the pipelines again.
        endings.have_pipelines_read()
        for _ in range(20):
            errors = errors or endings.airflow.api.call("GET", "/importErrors")["import_errors"]
            time.sleep(0.2)
    try:
        # All other pipelines of the suite are sound.
        assert [error["filename"].rsplit("/", 1)[-1] for error in errors] == ["broken.yaml#broken"]
        for part in ("broken.yaml", "transform.batch_strategy", "ManyRecord", "MultiRecord", "SingleRecord"):
            assert part in errors[0]["stack_trace"]
        known = {dag["dag_id"] for dag in endings.airflow.api.call("GET", "/dags?limit=100")["dags"]}
        assert {"abalone", DAG} <= known
    finally:
        (pipelines / "broken.yaml").unlink()
        endings.have_pipelines_read()


def test_an_empty_input_skips_everything_and_publishes_nothing(endings: Deployment, sagemaker: Any) -> None:
    """`on_empty: skip` is a success without jobs and without `_SUCCESS`; the log names the URI."""
    before = jobs_of(sagemaker, DAG)
    run_id = endings.trigger(DAG, {"input_uri": "s3://batch-inference-sample/nothing/here/"})
    assert endings.wait(DAG, run_id) == "success"
    states = endings.states(DAG, run_id)
    assert {task: states[task] for task in AFTER_PLAN} == dict.fromkeys(AFTER_PLAN, "skipped")
    assert "s3://batch-inference-sample/nothing/here/" in endings.task_log(DAG, run_id, "plan")
    assert endings.objects(OUTPUT) == {}
    assert jobs_of(sagemaker, DAG) == before


def test_a_dry_run_plans_and_submits_nothing(endings: Deployment, sagemaker: Any) -> None:
    """The plan is stored with its sentences, everything else is skipped."""
    before = jobs_of(sagemaker, DAG)
    run_id = endings.trigger(DAG, {"dry_run": True})
    assert endings.wait(DAG, run_id) == "success"
    plan = endings.xcom(DAG, run_id, "plan")
    assert plan["dry_run"] is True
    assert set(endings.objects(plan["run_prefix"])) == {"plan.json"}
    assert jobs_of(sagemaker, DAG) == before


def test_a_misspelt_param_fails_the_run_and_names_the_right_one(endings: Deployment) -> None:
    """Airflow itself accepts unknown keys in `conf`. Those whom the pipeline names are told, by the DAG's callback."""
    run_id = endings.trigger(DAG, {"transform_instance_cout": 2})
    assert endings.wait(DAG, run_id) == "failed"
    assert "did you mean 'transform_instance_count'" in endings.task_log(DAG, run_id, "plan")
    assert endings.wait_for_lines(run_id, 1) == [f"{DAG} {run_id} failed"]
    # A failed run publishes nothing, so what is scheduled on its data is not told.
    assert endings.airflow.api.call("GET", f"/assets/events?source_dag_id={DAG}")["asset_events"] == []


def test_a_run_marked_failed_stops_its_job_and_stays_failed(endings: Deployment, sagemaker: Any) -> None:
    """The teardown succeeds at its work and yet does not make the run a success."""
    # The job waits for its code, so that it does not end before somebody waits for it.
    endings.hold("code", f"/work/{DAG}/*/code/")
    run_id = endings.trigger(DAG, {})
    endings.wait_for_task(DAG, run_id, "await_preprocess", "deferred")
    before = jobs_of(sagemaker, DAG)
    assert "InProgress" in before.values()
    endings.airflow.api.call("PATCH", endings.run_path(DAG, run_id), {"state": "failed"})
    endings.wait_for_task(DAG, run_id, "clean_up", "failed")
    assert endings.wait(DAG, run_id) == "failed"
    endings.release("code")
    after = jobs_of(sagemaker, DAG)
    assert set(after) == set(before)
    assert "InProgress" not in after.values()
    assert endings.objects(OUTPUT) == {}


def test_a_failed_job_fails_the_run_with_its_reason(endings: Deployment, sagemaker: Any) -> None:
    """A model archive that is no archive: the run fails, says why, publishes nothing and leaves no model behind."""
    endings.s3.put_object(
        Bucket="batch-inference-sample", Key="broken/model.tar.gz", Body=b"this is no archive"
    )

    def with_broken_model(document: dict[str, Any]) -> None:
        document["output"]["uri"] = OUTPUT
        document["transform"]["max_instances"] = 1
        document["model"]["containers"][0]["model_data"] = "s3://batch-inference-sample/broken/model.tar.gz"

    endings.deploy("abalone_broken_model", with_broken_model)
    run_id = endings.trigger("abalone_broken_model", {})
    assert endings.wait("abalone_broken_model", run_id) == "failed"
    states = endings.states("abalone_broken_model", run_id)
    assert (states["await_transform"], states["publish"]) == ("failed", "upstream_failed")
    log = endings.task_log("abalone_broken_model", run_id, "await_transform")
    assert "model.tar.gz" in log or "model data" in log
    assert endings.objects(OUTPUT) == {}
    assert "InProgress" not in jobs_of(sagemaker, "abalone_broken_model").values()
    assert sagemaker.list_models(NameContains=build_name_prefix("abalone_broken_model"))["Models"] == []


POOL_DAG = """# Jobs that share a pool.
from datetime import datetime

from airflow.sdk import DAG, XComArg

from sagemaker_jobs.operators import ProcessingJobOperator
from sagemaker_jobs.sensors import ProcessingJobSensor

CONFIG = {
    "ProcessingJobName": "pooled-{{ run_id }}",
    "RoleArn": "arn:aws:iam::123456789012:role/batch-inference",
    "AppSpecification": {
        "ImageUri": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3",
        "ContainerEntrypoint": ["python3", "-c", "import time; time.sleep(3)"],
    },
    "ProcessingResources": {
        "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    },
}
with DAG("pooled", schedule=None, start_date=datetime(2026, 1, 1), max_active_runs=9) as dag:
    submit = ProcessingJobOperator(task_id="submit", config=CONFIG, **SUBMITTING)
    wait = ProcessingJobSensor(
        task_id="wait", job_name="x", spec=XComArg(submit, key="spec"), max_poll_seconds=2, **WAITING
    )
    submit >> wait
"""


@pytest.fixture(scope="module")
def pooled(endings: Deployment) -> Pipeline:
    """A pipeline whose tasks share the pool `jobs`; how `plan` asks Airflow about it is in place, the pool is not."""
    api = endings.airflow.api
    where = urlsplit(api.url)
    connection = {
        "connection_id": "airflow_api",
        "conn_type": "http",
        "host": where.hostname,
        "port": where.port,
    }
    api.call("POST", "/connections", {**connection, "login": api.user, "password": api.password})
    endings.deploy("abalone_pooled", lambda document: document.update(pool={"name": "jobs"}))
    return endings.pipeline("abalone_pooled")


def test_a_pool_that_is_missing_fails_the_plan(endings: Deployment, pooled: Pipeline, sagemaker: Any) -> None:
    """Its tasks would wait for ever; the message has the command, and nothing was spent."""
    run_id = endings.trigger(pooled.name, {})
    assert endings.wait(pooled.name, run_id) == "failed"
    assert endings.states(pooled.name, run_id)["preprocess"] == "upstream_failed"
    said = endings.task_log(pooled.name, run_id, "plan")
    assert "there is no pool 'jobs'" in said
    assert "airflow pools set jobs 4" in said
    assert jobs_of(sagemaker, pooled.name) == {}


def test_jobs_that_share_a_pool_are_at_most_twice_its_slots_and_all_get_their_turn(
    endings: Deployment, pooled: Pipeline, sagemaker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slot, three runs at once: waiting goes before submitting, so no job is forgotten for the next one's start.

    The slot is free for a moment between a submitting task and its waiting one, in which one more may submit.
    """
    api = endings.airflow.api
    login = f"http://{api.user}:{api.password}@"
    monkeypatch.setenv("AIRFLOW_CONN_AIRFLOW_API", api.url.replace("http://", login))
    api.call("POST", "/pools", {"name": "jobs", "slots": 1, "include_deferred": False})
    with pytest.raises(PoolError, match="does not count deferred"):
        check_pool(pooled)
    api.call("PATCH", "/pools/jobs", {"name": "jobs", "slots": 1, "include_deferred": True})
    check_pool(pooled)
    text = POOL_DAG.replace("SUBMITTING", repr(build_pool_args(pooled, waits=False)))
    (endings.root / "dags" / "pooled.py").write_text(
        text.replace("WAITING", repr(build_pool_args(pooled, waits=True)))
    )
    endings.unpause("pooled")
    runs = [endings.trigger("pooled", {}) for _ in range(3)]
    assert [endings.wait("pooled", run) for run in runs] == ["success"] * 3
    jobs = sagemaker.list_processing_jobs(NameContains="pooled-", MaxResults=100)["ProcessingJobSummaries"]
    assert len(jobs) == 3
    lives = [(job["CreationTime"], job["ProcessingEndTime"]) for job in jobs]
    at_once = max(sum(begun <= moment < ended for begun, ended in lives) for moment, _ in lives)
    assert at_once <= 2


def test_a_run_above_its_budget_waits_for_a_person_then_takes_the_approved_version_and_a_canary(
    endings: Deployment, sagemaker: Any
) -> None:
    """Rejected, it fails with nothing spent; approved, it goes on, with one shard first.

    The model is the latest approved version of a group in the registry. Every record is there once, although two jobs
    transformed. AWS has none of the canary's type: it and all that follow take the next one.
    """
    name, group = "abalone_approval", "abalone-rings"

    def above_budget(document: dict[str, Any]) -> None:
        containers = [
            {
                "Image": build_image_uri(each["image"], CREDENTIALS["AWS_DEFAULT_REGION"]),
                "ModelDataUrl": each["model_data"],
                "Environment": each.get("environment", {}),
            }
            for each in document["model"]["containers"]
        ]
        sagemaker.create_model_package_group(ModelPackageGroupName=group)
        for status in ("Approved", "PendingManualApproval"):
            sagemaker.create_model_package(
                ModelPackageGroupName=group,
                InferenceSpecification={"Containers": containers},
                ModelApprovalStatus=status,
            )
        document["model"] = {"group": group}
        document["goals"] |= {"budget": 0.0001, "on_over_budget": "approve", "calibrate": "canary"}
        document["transform"] |= {"on_bad_records": "fail", "instance_types": ["ml.m5.large"]}
        document["output"]["uri"] = f"{OUTPUT}approved/"

    def answered(option: str) -> str:
        run_id = endings.trigger(name, {"transform_instance_count": 2})
        endings.wait_for_task(name, run_id, "await_approval", "awaiting_input")
        path = f"{endings.run_path(name, run_id)}/taskInstances/await_approval/-1/hitlDetails"
        asked = endings.airflow.api.call("GET", path)
        assert "the budget is $0.0001, but the cheapest clusters cost about" in asked["body"]
        assert f"version 1 of {group}" in asked["body"]
        # An answer that meets Airflow's scheduler before it has seen that the parking process ended has it take the
        # resumed task for killed, and ask again after a delay.
        wait_for_end_of_process(endings, run_id, "await_approval")
        endings.airflow.api.call("PATCH", path, {"chosen_options": [option]})
        return run_id

    endings.deploy(name, above_budget)
    rejected = answered("Reject")
    assert endings.wait(name, rejected) == "failed"
    assert endings.states(name, rejected)["preprocess"] == "upstream_failed"
    log = endings.task_log(name, rejected, "await_approval")
    assert "rejected by" in log
    assert "nothing was spent" in log
    assert jobs_of(sagemaker, name) == {}

    endings.arm_fault("capacity", count=1, job_name_contains=f"{build_name_prefix(name)}transform-")
    approved = answered("Approve")
    assert endings.wait(name, approved) == "success"
    frame, manifest = endings.read_published(f"{OUTPUT}approved/")
    assert len(frame) == manifest["records"]["scored"] > 0
    assert (manifest["model"]["group"], manifest["model"]["version"]) == (group, 1)
    assert manifest["records"]["in"] == len(frame) + manifest["records"]["rejected"]
    canary, rest = (
        endings.xcom(name, approved, task)["output_uris"] for task in ("await_canary", "await_transform")
    )
    outputs = [set(endings.objects(uri)) for [uri] in (canary, rest)]
    assert len(outputs[0]) == 1
    assert not outputs[0] & outputs[1]
    types = [
        endings.xcom(name, approved, task)["instance_type"] for task in ("await_canary", "await_transform")
    ]
    assert endings.xcom(name, approved, "plan")["transform"]["instance_types"] == [
        "ml.m5.large",
        "ml.m5.xlarge",
    ]
    assert types == ["ml.m5.xlarge", "ml.m5.xlarge"]
    report = json.loads(endings.objects(endings.xcom(name, approved, "plan")["run_prefix"])["report.json"])
    [measured] = [text for text in report["sentences"] if text.startswith("One of ")]
    assert "ml.m5.xlarge, as AWS had no ml.m5.large:" in measured
    assert report["stages"][1]["instance_count"] == 3
    assert report["shards"] == len(outputs[0] | outputs[1])
    transform, *others = (job for job in jobs_of(sagemaker, name) if "transform" in job)
    assert len(others) == 2
    arn = sagemaker.describe_transform_job(TransformJobName=transform)["TransformJobArn"]
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert (tags["model"], tags["cost-centre"]) == (f"{group}/1", "data-science")
    assert sagemaker.list_models(NameContains=build_name_prefix(name))["Models"] == []
