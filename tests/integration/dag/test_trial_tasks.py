"""The trials' tasks: in pipelines that ask for them, beside the transform, and each shard scored once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import InputLayoutPaths, JobPaths, build_name_token
from batch_inference.dag.pipeline_dags import build_pipeline_dag
from batch_inference.dag.tasks.cut_input import write_manifests
from batch_inference.dag.tasks.select_trials import select_trials
from batch_inference.input_pieces.layout_files import write_join_group
from batch_inference.planning.inputs.input_split import ByteRange
from batch_inference.requests.sagemaker import list_manifest_uris
from batch_inference.run.join_inputs import PieceInputs, ShardInputs
from batch_inference.run.run_context import RunContext
from batch_inference.verification.host_manifests import Shard, ShardList
from batch_inference.verification.transform_objects import TransformObject
from sagemaker_jobs.job.output_files import write_output_listing
from sagemaker_jobs.job.spec import Trial
from tests.integration.plan_builder import build_plan, write_plan
from tests.unit.builders import WITHOUT_PREPROCESS, pipeline

NONCE = "0123456789abcdef"
TOKEN = build_name_token(NONCE)
RUN = "s3://bucket/run/"
WHERE = JobPaths(f"{RUN}p-{TOKEN}-1/")
EXPLORE = {"goals": {"calibrate": "explore"}}
TRIALS = [
    {
        "instance_type": "ml.c5.xlarge",
        "max_concurrent_transforms": concurrency,
        "max_payload_mb": 3,
        "batch_strategy": "MultiRecord",
        "bytes": 200,
        "max_runtime_seconds": 300,
        "max_provisioning_seconds": 480,
        "usual_dollars_per_byte": 1e-9,
    }
    for concurrency in (4, 8)
]


def shards(number: int) -> list[Shard]:
    """As `preprocess` wrote them."""
    return [
        Shard(
            name=f"s-{each}",
            records=10,
            bytes=100,
            records_key=f"records/s-{each}.csv",
            features_key=f"features/s-{each}.csv",
        )
        for each in range(number)
    ]


def open_run(storage: Storage, known: dict[Any, Any], changes: dict[str, Any]) -> tuple[RunContext, Any]:
    """A run whose XComs are `known`, by task and key."""
    of = pipeline(changes)
    of = of.model_copy(update={"aws_conn_id": "aws_test"})
    known["plan", None] = build_plan(RUN, of, nonce=NONCE, trials=TRIALS, input={"text_bytes": 1_200})
    write_plan(storage, RUN, of, nonce=NONCE, trials=TRIALS, input={"text_bytes": 1_200})

    def pull(task: str, key: str | None = None, map_indexes: Any = None) -> Any:
        found = known.get((task, key))
        return found if map_indexes is None else [found[each] for each in map_indexes]

    ti = SimpleNamespace(xcom_pull=pull, run_id="r", dag_id="churn")
    return RunContext.load(ti), ti


def end(storage: Storage, output: str, **fields: Any) -> dict[str, Any]:
    """The result of a job with this output."""
    name = output.removeprefix(RUN).partition("/")[0]
    listing = write_output_listing(storage.client, [output])
    return {
        "job_name": name,
        "output_uris": [output],
        "listing": listing,
        "resolution": None,
        "created_at": 1.0,
        "instance_count": 1,
        "status": "Completed",
        **fields,
    }


def test_shards_are_set_apart_once_and_the_join_finds_every_answer(storage: Storage) -> None:
    """A second try finds them gone and is content; with the answers of trials, each shard has its own."""
    shard_list = ShardList(records_in=120, records_out=120, rejected=0, shards=tuple(shards(12)))
    storage.write_json(WHERE.shards, shard_list.model_dump(mode="json"))
    for shard in shards(12):
        storage.write(f"{WHERE.root}{shard.features_key}", shard.name)
        storage.write(f"{WHERE.root}{shard.records_key}", shard.name)
    known: dict[Any, Any] = {("await_preprocess", "job"): end(storage, WHERE.root)}
    run, ti = open_run(storage, known, EXPLORE)
    for _ in range(2):
        selected = select_trials("churn", ti=ti)
        assert [each["shards"] for each in selected] == [["s-1", "s-4"], ["s-7", "s-10"]]
        assert len(storage.list_uris(WHERE.features)) == 8
    assert storage.list_uris(f"{WHERE.trials}1/") == [f"{WHERE.trials}1/s-10.csv", f"{WHERE.trials}1/s-7.csv"]
    assert selected[0] == {
        "trial": 0, "source": f"{WHERE.trials}0/", "shards": ["s-1", "s-4"], "records": 20, "bytes": 200,
        "nonce": NONCE,
    }  # fmt: skip
    folders = {
        name: f"{RUN}{folder}-{TOKEN}-1/predictions/"
        for folder, names in (
            ("t0", ["s-1", "s-4"]),
            ("t1", ["s-7", "s-10"]),
            ("t", [each.name for each in shards(12) if each.name not in {"s-1", "s-4", "s-7", "s-10"}]),
        )
        for name in names
    }
    for name, folder in folders.items():
        storage.write(f"{folder}{name}.csv.out", name)
    trials = [end(storage, f"{RUN}t{each}-{TOKEN}-1/predictions/", is_trial=True) for each in (0, 1)]
    specs = [
        {
            "base_name": f"t-{TOKEN}",
            "request": {"TransformInput": {"DataSource": {"S3DataSource": {"S3Uri": uri}}}},
        }
        for uri in (f"{WHERE.trials}0/", f"{WHERE.trials}1/", WHERE.features)
    ]
    known |= {
        ("await_preprocess", "shard_stats"): {
            "preprocess_job": f"p-{TOKEN}-1", "records_out": 120, "canary": None, "nonce": NONCE,
        },
        ("select_trials", None): selected,
        ("transform_trial", "spec"): specs[:2],
        ("await_trial", None): trials,
        ("transform", "spec"): specs[2],
        ("await_transform", None): end(storage, f"{RUN}t-{TOKEN}-1/predictions/"),
    }  # fmt: skip
    inputs = ShardInputs(run)
    assert {each.name: each.predictions.uri for each in inputs.list_sources()} == {
        name: f"{folder}{name}.csv.out" for name, folder in folders.items()
    }
    assert [(each["trial"], each["share"], each["objects"]) for each in inputs.trials] == [
        (0, pytest.approx(1 / 6), 2),
        (1, pytest.approx(1 / 6), 2),
    ]
    assert inputs.job_names == [f"p-{TOKEN}-1", f"t0-{TOKEN}-1", f"t1-{TOKEN}-1", f"t-{TOKEN}-1"]
    # A plan without trials sets nothing apart, whatever a task from before a clear left.
    known["select_trials", None] = []
    assert ShardInputs(run).trials == []


def test_without_preprocess_the_last_lists_are_those_of_the_trials(storage: Storage) -> None:
    """All objects are in one list each; the join reads each from the job that transformed it."""
    of_plan = {**WITHOUT_PREPROCESS, **EXPLORE, "input.uri": "s3://bucket/in/"}
    known: dict[Any, Any] = {("cut_input", "cut_stats"): {"count": 12, "groups": 1, "nonce": NONCE}}
    _, ti = open_run(storage, known, of_plan)
    folder = f"{RUN}layout/{NONCE[:6]}/pieces/"
    pieces = [
        TransformObject(each, f"{folder}{each}.csv", 100, (ByteRange(f"in/{each}", "e", 0, 100, 100),))
        for each in range(12)
    ]
    paths = InputLayoutPaths(f"{RUN}layout/{NONCE[:6]}/")
    write_join_group(storage, paths, 0, pieces)
    layout = {"mode": "pieces", "jobs": 2, "objects": 12, "piece_bytes": 100, "merge_below_bytes": 0}
    known["plan", None] |= {"layout": layout}
    jobs = write_manifests("churn", ti=ti)
    assert [(each["trial"], each["objects"], each["instance_count"]) for each in jobs] == [
        ("", 4, 1), ("", 4, 1), ("0", 2, 1), ("1", 2, 1),
    ]  # fmt: skip
    listed = [list_manifest_uris(storage.read_json(each["manifest"])) for each in jobs]
    assert sorted(uri for each in listed for uri in each) == sorted(piece.uri for piece in pieces)
    assignment = storage.read_json(paths.assignment)
    assert all(pieces[each].uri in listed[job] for each, job in enumerate(assignment))
    known |= {
        ("write_manifests", None): jobs,
        ("transform", "spec"): [
            {
                "base_name": f"t-{TOKEN}",
                "request": {"TransformInput": {"DataSource": {"S3DataSource": {"S3Uri": job["manifest"]}}}},
            }
            for job in jobs
        ],
        ("await_transform", None): [
            end(storage, f"{RUN}t{number}-{TOKEN}-1/predictions/", is_trial=number > 1) for number in range(4)
        ],
    }
    inputs = PieceInputs(RunContext.load(ti))
    assert len(inputs.job_names) == 4
    assert [job["job_name"] for job in inputs.transform_jobs] == inputs.job_names[:2]
    assert [(each["trial"], each["share"]) for each in inputs.trials] == [
        (0, pytest.approx(1 / 6)),
        (1, pytest.approx(1 / 6)),
    ]


@pytest.mark.usefixtures("airflow_db")
def test_only_pipelines_that_explore_have_the_tasks_and_the_join_does_not_need_them(tmp_path: Path) -> None:
    """Mapped over no trials they are skipped; the transform waits until its shards are its own."""
    assert "select_trials" not in build_pipeline_dag(pipeline(), tmp_path).task_ids
    for changes, joining in ((EXPLORE, "join"), ({**EXPLORE, "join.processing_above": 1}, "choose_join")):
        dag = build_pipeline_dag(pipeline(changes), tmp_path)
        assert dag.get_task("transform").upstream_task_ids == {"select_trials"}
        assert dag.get_task("transform_trial").upstream_task_ids == {"select_trials"}
        assert {"await_transform", "await_trial"} <= dag.get_task(joining).upstream_task_ids
        assert dag.get_task(joining).trigger_rule == "none_failed"
    without = build_pipeline_dag(pipeline({**WITHOUT_PREPROCESS, **EXPLORE}), tmp_path)
    assert "select_trials" not in without.task_ids


@pytest.mark.parametrize("number", ["1", ""])
def test_the_job_of_a_trial_tries_its_settings_and_falls_back_to_the_plans(
    storage: Storage, tmp_path: Path, number: str
) -> None:
    """The request is the plan's; a job that is no trial has no other first attempt."""
    known: dict[Any, Any] = {
        ("write_manifests", None): [
            {"manifest": "s3://bucket/0.manifest", "instance_count": 1, "trial": number, "nonce": NONCE}
        ]
    }
    changes = {**WITHOUT_PREPROCESS, **EXPLORE}
    open_run(storage, known, changes)
    of = pipeline(changes).model_copy(update={"aws_conn_id": "aws_test"})
    write_plan_with_requests(storage, known["plan", None], of)
    dag = build_pipeline_dag(of, tmp_path)
    task: Any = dag.get_task("transform")
    ti = SimpleNamespace(
        xcom_pull=lambda task, key=None, map_indexes=None: known.get((task, key)),
        run_id="r", dag_id="churn", task_id="transform", map_index=0, max_tries=2, task=task,
    )  # fmt: skip
    task.render_template_fields({"ti": ti, "dag": dag}, dag.get_template_env())
    spec = task._make_spec()
    assert spec.request["TransformResources"]["InstanceType"] == "ml.m5.xlarge"
    assert spec.trial == (
        Trial(
            request={
                "BatchStrategy": "MultiRecord",
                "MaxConcurrentTransforms": 8,
                "MaxPayloadInMB": 3,
                "TransformResources": {"InstanceType": "ml.c5.xlarge"},
            },
            max_runtime_seconds=300,
            max_provisioning_seconds=480,
        )
        if number
        else None
    )


def write_plan_with_requests(storage: Storage, made: dict[str, Any], of: Any) -> None:
    """plan.json with its requests."""
    from batch_inference.planning.plan import Plan
    from batch_inference.requests.sagemaker import build_planned_requests

    planned = Plan.from_document(made, "test")
    storage.write_json(f"{RUN}plan.json", planned.to_plan_json(of, build_planned_requests(of, planned)))
