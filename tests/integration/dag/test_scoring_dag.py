"""The DAG as Airflow sees it: parsed without network, the same each time, and made of the provider's classes."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerProcessingOperator,
    SageMakerTransformOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerProcessingSensor, SageMakerTransformSensor
from airflow.sdk import DAG
from airflow.sdk.definitions.param import process_params

from batch_inference.dag.pipeline_dags import build_scoring_dag
from batch_inference.dag.scoring_dag import build_pipeline_dag
from batch_inference.dag.task_docs import TASK_DOCS, set_task_docs
from sagemaker_jobs import airflow_compat
from sagemaker_jobs.airflow_compat import DagBag, DagSerialization
from sagemaker_jobs.kinds import TRANSFORM
from sagemaker_jobs.operators import JobOperator
from sagemaker_jobs.sensors import JobSensor
from tests.integration.plan_builder import build_plan
from tests.unit.builders import EXAMPLE, TWO_CONTAINERS, WITHOUT_PREPROCESS, pipeline
from tools.checkout import REPO

DAGS = REPO / "dags"


def parsed() -> DagBag:
    """The repository's DAGs, parsed anew."""
    return DagBag(DAGS, bundle_path=DAGS, bundle_name="dags-folder")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to connect is an error."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a socket was opened while a DAG file was parsed")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network", "airflow_db")
def test_every_dag_file_parses_without_network_and_gives_one_dag() -> None:
    """Each file in dags/ gives a DAG, and none an import error."""
    bag = parsed()
    assert bag.import_errors == {}
    assert {Path(dag.fileloc).name for dag in bag.dags.values()} == {path.name for path in DAGS.glob("*.py")}


@pytest.mark.usefixtures("airflow_db")
def test_every_task_says_what_it_is_for() -> None:
    """Beside the task in Airflow's UI, `join`, which is mapped, included; and the DAG itself says it."""
    dag = parsed().dags["abalone"]
    assert dag.doc_md
    assert dag.doc_md.startswith("# abalone")
    assert {task.task_id: task.doc_md for task in dag.tasks} == {
        task.task_id: TASK_DOCS[task.task_id] for task in dag.tasks
    }


def test_with_airflow_3_0_the_dags_documentation_links_to_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other place for it; later versions have a menu entry and tabs."""
    dag = DAG("risk.churn", doc_md="# churn")
    set_task_docs(dag)
    assert dag.doc_md == "# churn"
    monkeypatch.setattr(airflow_compat, "AIRFLOW_VERSION", (3, 0, 6))
    set_task_docs(dag)
    assert dag.doc_md.startswith("# churn\n\n[")
    assert dag.doc_md.endswith("](batch-inference/runs?dag_id=risk.churn)")


@pytest.mark.usefixtures("airflow_db")
def test_parsing_twice_gives_the_same_dags() -> None:
    """Nothing drawn or read at parse time leaks into the DAG: the serialized forms are equal."""
    first, second = (
        {
            dag_id: json.dumps(DagSerialization.to_dict(dag), sort_keys=True)
            for dag_id, dag in parsed().dags.items()
        }
        for _ in range(2)
    )
    assert first == second


@pytest.fixture(scope="module")
def abalone(airflow_db: Path) -> Any:
    """The example's DAG."""
    return parsed().dags["abalone"]


def test_the_chain_is_the_one_that_the_design_draws(abalone: Any) -> None:
    """Each task follows the one before it, and the teardown comes last."""
    chain = [
        "plan", "preprocess", "await_preprocess", "transform", "await_transform",
        "join", "checks", "publish", "clean_up",
    ]  # fmt: skip
    order = ["plan"]
    while following := abalone.get_task(order[-1]).downstream_task_ids:
        order.append(min(following, key=chain.index))
    assert order == chain


def test_jobs_and_waits_are_the_providers_classes(abalone: Any) -> None:
    """What is known of the provider's operators and sensors holds for these."""
    assert isinstance(abalone.get_task("preprocess"), SageMakerProcessingOperator)
    assert isinstance(abalone.get_task("await_preprocess"), SageMakerProcessingSensor)
    assert isinstance(abalone.get_task("transform"), SageMakerTransformOperator)
    assert isinstance(abalone.get_task("await_transform"), SageMakerTransformSensor)


def test_the_teardown_decides_the_state_of_the_run(abalone: Any) -> None:
    """`clean_up` is a teardown whose failure fails the run."""
    clean_up = abalone.get_task("clean_up")
    assert clean_up.is_teardown
    assert clean_up.on_failure_fail_dagrun


def test_sizes_and_names_of_each_job_come_from_this_runs_plan(abalone: Any) -> None:
    """What Airflow shows under Rendered Templates is filled per run."""
    cluster = abalone.get_task("preprocess").config["ProcessingResources"]["ClusterConfig"]
    transform = abalone.get_task("transform").config["Transform"]
    filled = [
        *cluster.values(),
        *transform["TransformResources"].values(),
        transform["MaxConcurrentTransforms"],
        transform["MaxPayloadInMB"],
        transform["TransformJobName"],
        abalone.get_task("preprocess").config["ProcessingJobName"],
        abalone.get_task("transform").config["Model"]["ModelName"],
    ]
    assert [value for value in filled if "{{" not in str(value)] == []


def test_one_run_at_a_time_each_night_and_never_for_the_past(abalone: Any) -> None:
    """A missed night is not made up for by a flood of runs."""
    assert (abalone.max_active_runs, abalone.catchup) == (1, False)
    assert abalone.schedule == "0 2 * * *"


def test_every_knob_of_the_form_says_what_it_is(abalone: Any) -> None:
    """Each param has a title, a description and a section, and a default with which a nightly run starts."""
    for name in abalone.params:
        param = abalone.params.get_param(name)
        assert param.schema["title"], name
        assert param.description or param.schema.get("description"), name
        assert param.schema["section"], name
        param.resolve()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        WITHOUT_PREPROCESS,
        {"model": TWO_CONTAINERS, "transform.max_payload_mb": 5, "transform.max_concurrent_transforms": 20},
        {"goals": {"deadline": "06:00", "budget": 0.01, "prefer": "cost"}, "skip_unchanged": True},
        {"goals": {"deadline": 99_999}, "preprocess.max_instances": 1, "transform.max_instances": 1},
    ],
)
def test_a_run_starts_with_the_defaults_of_the_form(changes: dict[str, Any], tmp_path: Path) -> None:
    """Airflow checks them for each run, and not when the file is parsed; each task has them from the DAG."""
    dag = build_pipeline_dag(pipeline(changes), tmp_path)
    assert dag.params.validate() == {name: dag.params.get_param(name).value for name in dag.params}
    assert [task.task_id for task in dag.tasks if getattr(task, "params", None)] == []
    assert (
        process_params(dag, dag.get_task("plan"), {"budget": 7.5}, suppress_exception=False)["budget"] == 7.5
    )


@pytest.mark.parametrize(
    ("changes", "submitting"),
    [
        ({"join.processing_above": 1}, {"preprocess", "transform", "join_job"}),
        (
            {"transform.on_bad_records": "fail", "goals.calibrate": "canary"},
            {"preprocess", "transform_canary", "transform"},
        ),
        ({"goals.calibrate": "explore"}, {"preprocess", "transform_trial", "transform"}),
        (WITHOUT_PREPROCESS, {"transform"}),
    ],
    ids=["join as a job", "canary", "trials", "without preprocess"],
)
def test_every_job_counts_in_the_pool_and_has_the_patience_that_the_pipeline_states(
    changes: dict[str, Any], submitting: set[str], tmp_path: Path
) -> None:
    """Also those that only some pipelines have; who waits for a job goes first."""
    bent = pipeline({**changes, "pool": {"name": "sagemaker"}, "goals.capacity_wait_minutes": 7})
    jobs = [
        task for task in build_pipeline_dag(bent, tmp_path).tasks if isinstance(task, JobOperator | JobSensor)
    ]
    assert {task.task_id for task in jobs if isinstance(task, JobOperator)} == submitting
    for task in jobs:
        weight = 10 if isinstance(task, JobSensor) else 1
        assert (task.pool, task.priority_weight, task.capacity_wait_seconds) == ("sagemaker", weight, 420), (
            task.task_id
        )


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        (
            {"join.processing_above": 1},
            {"preprocess": "preprocess", "transform": "transform", "join_job": "join.job"},
        ),
        (
            {"transform.on_bad_records": "fail", "goals.calibrate": "canary"},
            {"preprocess": "preprocess", "transform_canary": "transform", "transform": None},
        ),
        (
            {"goals.calibrate": "explore"},
            {"preprocess": "preprocess", "transform_trial": "transform", "transform": "transform"},
        ),
        (WITHOUT_PREPROCESS, {"transform": "transform"}),
    ],
    ids=["join as a job", "canary", "trials", "without preprocess"],
)
def test_every_job_falls_back_to_the_types_that_this_runs_plan_allows(
    changes: dict[str, Any], stages: dict[str, str | None], tmp_path: Path
) -> None:
    """After a canary, to those that `calibrate` says: the one on which the rate was measured first."""
    bent = pipeline({**changes, "transform.instance_types": ["ml.c5.xlarge"]})
    types = {"instance_types": ["ml.b.large", "ml.a.large"], "instance_type": "ml.b.large"}
    sizes = {"threshold_bytes": 1, "instance_count": 2, "volume_size_gb": 1, "max_runtime_seconds": 60}
    by_stage = {"preprocess": types, "transform": types, "join": {"job": {**sizes, **types}}}
    if bent.preprocess is None:
        del by_stage["preprocess"]
    xcoms = {
        "plan": build_plan("s3://bucket/work/churn/r1/", bent, nonce="0", **by_stage),
        "calibrate": {"nonce": "0", "instance_types": ["ml.c.large", "ml.b.large"], "instance_count": 3},
    }
    ti = SimpleNamespace(xcom_pull=xcoms.get)
    dag = build_pipeline_dag(bent, tmp_path)
    for task_id, stage in stages.items():
        task: Any = dag.get_task(task_id)
        assert "instance_types" in task.template_fields
        rendered = task.render_template(task.instance_types, {"ti": ti})
        assert rendered == ("ml.c.large ml.b.large" if stage is None else "ml.b.large ml.a.large"), task_id
        resources = TRANSFORM.get_cluster_config(task.get_job_request()) if "transform" in task_id else None
        if resources is not None:
            kind = task.render_template(resources["InstanceType"], {"ti": ti})
            assert kind == rendered.split()[0]


def test_the_job_that_joins_exists_only_where_the_pipeline_states_when(abalone: Any, tmp_path: Path) -> None:
    """Two branches that meet again before `publish`; decided when the file is parsed, chosen when the run is."""
    assert "join_job" not in abalone.task_ids
    document = yaml.safe_load(EXAMPLE.read_text())
    document["join"]["processing_above"] = 1_000_000
    (tmp_path / "abalone.yaml").write_text(yaml.safe_dump(document))
    large = build_scoring_dag("abalone", folder=tmp_path)
    assert large.get_task("await_transform").downstream_task_ids == {"choose_join"}
    assert large.get_task("choose_join").downstream_task_ids == {"join", "join_job"}
    assert large.get_task("join_job").downstream_task_ids == {"await_join_job"}
    assert large.get_task("collect_parts").upstream_task_ids == {"join", "await_join_job"}
    assert large.get_task("collect_parts").downstream_task_ids == abalone.get_task("join").downstream_task_ids
    assert isinstance(large.get_task("join_job"), SageMakerProcessingOperator)
    inputs = {
        each["InputName"]: each["S3Input"] for each in large.get_task("join_job").config["ProcessingInputs"]
    }
    assert inputs["records"]["S3DataDistributionType"] == "ShardedByS3Key"
    assert inputs["predictions"]["S3DataDistributionType"] == "FullyReplicated"
