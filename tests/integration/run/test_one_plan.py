"""What a run does is frozen in its plan, and nothing is made of what two plans gave."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import HandoffError
from batch_inference.config import pipeline_files
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.pipeline_dags import build_scoring_dag
from batch_inference.dag.task_functions import SkipDownstream, no_retry
from batch_inference.dag.tasks import checks, collect_shards, join_group, plan, publish, report
from batch_inference.planning.plan import PIPELINE_KEY, REQUESTS_KEY
from batch_inference.run import handoffs, task_ids
from sagemaker_jobs.airflow_compat import AirflowFailException, DownstreamTasksSkipped
from sagemaker_jobs.sensors import ProcessingJobSensor
from tests.integration.plan_builder import build_plan
from tests.integration.staged_runs import FakeTaskInstance, Pipelines, Run, deployed, document, published
from tests.unit.builders import WITHOUT_PREPROCESS, example, pipeline

__all__ = ["deployed"]

OUT = "s3://bucket/out/date=2026-01-05/"
OTHER_MODEL = {"containers": [{"image": "registry/model:2", "model_data": "s3://bucket/model/b.tar.gz"}]}


def rows(count: int = 20) -> list[str]:
    """Records without a flaw."""
    return [f"r{number},f,{number % 80}" for number in range(count)]


def age(features: list[str]) -> float:
    """A model that answers the age."""
    return float(features[2])


@pytest.fixture
def run(deployed: Pipelines) -> Run:
    """A run of a pipeline with a gate, about to be planned."""
    gate = {"gate": "range", "column": "churn", "min": 0, "max": 100, "then": "hold"}
    deployed.write(document(gates=[gate]))
    deployed.upload(5, rows())
    return deployed.run("nightly-5", 5, age)


def joined(run: Run) -> list[Any]:
    """The run's parts."""
    return [
        run.task(task_ids.JOIN, join_group.join_group, group=each)
        for each in run.xcoms[task_ids.AWAIT_PREPROCESS, "return_value"]
    ]


def rendered(run: Run, task_id: str) -> Any:
    """A task of the DAG as the file is now, with its templates filled for the run."""
    dag = build_scoring_dag(run.pipeline, folder=run.pipelines.folder)
    task: Any = dag.get_task(task_id)
    ti = FakeTaskInstance(run, task_id)
    task.render_template_fields({"ti": ti, "run_id": run.run_id, "dag": dag}, dag.get_template_env())
    return task


def test_a_model_that_is_edited_between_plan_and_transform_is_the_next_runs(
    deployed: Pipelines, run: Run
) -> None:
    """Else the rows of one model would be published as those of the other, and kept as unchanged."""
    run.task(task_ids.PLAN, plan.plan_run)
    run.prepare()
    run.collect_shards()
    deployed.write(document(model=OTHER_MODEL, tags={"team": "other"}, transform={"accept": "text/csv"}))
    transform = rendered(run, task_ids.TRANSFORM).config
    assert transform["Model"]["PrimaryContainer"]["ModelDataUrl"] == "s3://bucket/model/a.tar.gz"
    assert transform["Transform"]["TransformOutput"]["Accept"] == "application/jsonlines"
    assert "team" not in {tag["Key"] for tag in transform["Transform"]["Tags"]}
    later = deployed.run("nightly-6", 5, age)
    later.task(task_ids.PLAN, plan.plan_run)
    later.prepare()
    later.collect_shards()
    assert (
        rendered(later, task_ids.TRANSFORM).config["Model"]["PrimaryContainer"]["Image"] == "registry/model:2"
    )


def test_airflow_shows_the_planned_request_with_the_numbers_names_and_inputs_of_the_run(
    deployed: Pipelines, run: Run
) -> None:
    """Instance counts are templates; texts of the pipeline file are not, whatever they look like."""
    odd = {"containers": [{"image": "registry/model:1", "environment": {"PROMPT": "{{ run_id }} {% if %}"}}]}
    deployed.write(document(model=odd))
    planned = run.task(task_ids.PLAN, plan.plan_run)
    run.prepare()
    run.collect_shards()
    dag = build_scoring_dag("churn", folder=deployed.folder)
    parsed = dag.get_task(task_ids.PREPROCESS).config["ProcessingResources"]["ClusterConfig"]
    assert parsed["InstanceCount"] == "{{ pull_plan(ti).preprocess.instance_count }}"
    config, requests = rendered(run, task_ids.TRANSFORM).config, run.json(run.paths.plan)[REQUESTS_KEY]
    name = run.xcoms[handoffs.PREPROCESS_JOB]["job_name"]
    source = config["Transform"]["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    assert source == f"{planned['run_prefix']}{name}/features/"
    stats = run.xcoms[handoffs.SHARD_STATS]
    assert config["Transform"]["TransformResources"]["InstanceCount"] == str(stats["instance_count"])
    assert config["Model"]["PrimaryContainer"]["Environment"]["PROMPT"] == "{{ run_id }} {% if %}"
    tags = {tag["Key"]: tag["Value"] for tag in config["Transform"]["Tags"]}
    assert (tags["airflow:run-id"], tags["model"]) == ("nightly-5", planned["model"]["key"])
    assert "{task." not in json.dumps(config)
    preprocess = rendered(run, task_ids.PREPROCESS).config
    resources = requests["preprocess"]["ProcessingResources"]["ClusterConfig"]
    assert preprocess["ProcessingResources"]["ClusterConfig"] == {
        **resources, "InstanceCount": str(planned["preprocess"]["instance_count"]),
    }  # fmt: skip


def test_all_that_follows_a_plan_is_done_as_it_was_planned(deployed: Pipelines, run: Run) -> None:
    """Columns, format, gates and limits of an edited file, or a file that is gone, are not this run's."""
    run.task(task_ids.PLAN, plan.plan_run)
    run.prepare()
    edited = document(
        max_rejected=0,
        join={"format": "csv", "exclude_columns": ["sex"]},
        gates=[{"gate": "range", "column": "score", "min": 5, "max": 6, "then": "hold"}],
        predictions={"fields": {"other": "score"}},
        output={"uri": "s3://bucket/elsewhere/"},
    )
    deployed.write(edited)
    run.collect_shards()
    run.transform()
    parts = joined(run)
    (deployed.folder / "churn.yaml").write_text("not a pipeline")
    read = pipeline_files.load_pipeline_by_id
    pipeline_files.load_pipeline_by_id = lambda _: Pipeline.model_validate(
        edited
    )  # only for the params that the test hands in
    try:
        run.task(task_ids.CHECKS, checks.run_checks, joined=parts)
        run.task(task_ids.PUBLISH, publish.publish)
        run.task(task_ids.CLEAN_UP, report.write_report)
    finally:
        pipeline_files.load_pipeline_by_id = read
    frame, manifest = published(deployed.storage, OUT)
    assert list(frame.columns) == ["id", "sex", "age", "churn"]
    assert [gate["outcome"] for gate in manifest["checks"]["gates"]] == ["passed"]
    assert manifest["code_digest"] == run.xcoms[task_ids.PLAN, "return_value"]["code_digest"]


def test_the_wait_for_preprocess_hands_on_the_job_its_counts_and_the_groups(
    deployed: Pipelines, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`join` is mapped over the return value; a retry gives the same; without a record all that follows is skipped."""
    run.task(task_ids.PLAN, plan.plan_run)
    run.prepare()
    result = run.xcoms.pop(handoffs.PREPROCESS_JOB)
    monkeypatch.setattr(ProcessingJobSensor, "on_completed", lambda *_: result)
    dag = build_scoring_dag("churn", folder=deployed.folder)
    task: Any = dag.get_task(task_ids.AWAIT_PREPROCESS)
    context = {"ti": FakeTaskInstance(run, task_ids.AWAIT_PREPROCESS), "task": task, "dag": dag}
    groups = task.on_completed(context, None)
    assert [(group["first"], group["last"]) for group in groups] == [(0, 0)]
    assert run.xcoms[handoffs.PREPROCESS_JOB] == result
    assert run.xcoms[handoffs.SHARD_STATS]["records_out"] == 20
    assert task.on_completed(context, None) == groups
    empty = SkipDownstream([], "no record")
    monkeypatch.setattr(collect_shards, "collect_shards", lambda *_, **__: empty)
    with pytest.raises(DownstreamTasksSkipped) as caught:
        task.on_completed(context, None)
    skipped = {task_ids.TRANSFORM, task_ids.AWAIT_TRANSFORM, task_ids.JOIN, task_ids.CHECKS, task_ids.PUBLISH}
    assert set(caught.value.tasks) == skipped
    assert run.xcoms[task_ids.AWAIT_PREPROCESS, "return_value"] == []


def test_the_wait_for_a_job_asks_where_the_job_was_planned(deployed: Pipelines, run: Run) -> None:
    """In another region it would be unknown, and started again."""
    run.task(task_ids.PLAN, plan.plan_run)
    run.xcoms[task_ids.PREPROCESS, "return_value"] = {
        "Processing": {"ProcessingJobName": run.job("preprocess")},
        "spec": {"base_name": run.job("preprocess").removesuffix("-1")},
    }
    run.xcoms[task_ids.PREPROCESS, "spec"] = run.xcoms[task_ids.PREPROCESS, "return_value"]["spec"]
    deployed.write(document(region="eu-west-1", aws_conn_id="other"))
    task: Any = build_scoring_dag("churn", folder=deployed.folder).get_task(task_ids.AWAIT_PREPROCESS)
    task.spec = None  # handed in by Airflow
    ti = FakeTaskInstance(run, task_ids.AWAIT_PREPROCESS)
    task.render_template_fields(
        {"ti": ti, "run_id": run.run_id, "dag": task.dag}, task.dag.get_template_env()
    )
    assert (task.aws_conn_id, task.region_name) == ("aws_test", None)
    assert task.job_name == run.job("preprocess")


@pytest.mark.parametrize(
    "change",
    [
        {"join": {"processing_above": 0}},
        {"transform": {"on_bad_records": "fail"}},
        {"goals": {"calibrate": "canary"}},
        {"goals": {"calibrate": "explore"}},
    ],
    ids=["join job", "on_bad_records", "canary", "trials"],
)
def test_an_edit_that_changes_the_tasks_of_the_dag_starts_no_job(
    deployed: Pipelines, run: Run, change: dict[str, Any]
) -> None:
    """These are drawn from the file when it is parsed, so the run ends before it pays for more."""
    run.task(task_ids.PLAN, plan.plan_run)
    run.prepare()
    if "goals" in change:
        change = {**change, "transform": {"on_bad_records": "fail"}}
    deployed.write(document(**change))
    for task_id in (task_ids.PREPROCESS, task_ids.TRANSFORM):
        with pytest.raises(AirflowFailException, match=r"churn\.yaml was changed after this run was planned"):
            rendered(run, task_id)
    with pytest.raises(HandoffError, match="No further job is started"):
        run.task(
            task_ids.AWAIT_PREPROCESS,
            collect_shards.collect_shards,
            shape=pipeline_files.load_pipeline_by_id("churn").dag_shape,
        )


def test_a_frozen_pipeline_is_the_one_that_was_read(deployed: Pipelines, run: Run) -> None:
    """In plan.json and not in XCom, for every kind of section."""
    made = run.task(task_ids.PLAN, plan.plan_run)
    stored = run.json(run.paths.plan)
    assert Pipeline.model_validate(stored.pop(PIPELINE_KEY)) == pipeline_files.load_pipeline_by_id("churn")
    assert set(stored.pop(REQUESTS_KEY)) == {"preprocess", "transform", "model"}
    assert stored == made
    for each in [pipeline(), pipeline(WITHOUT_PREPROCESS), example()]:
        dumped = json.loads(json.dumps(each.to_file_content()))
        assert Pipeline.model_validate(dumped) == each


def snapshot(storage: Storage) -> dict[str, str]:
    """All that lies in S3."""
    return {uri: str(storage.head(uri)["etag"]) for uri in storage.list_uris("s3://bucket/")}


def test_a_plan_that_is_cleared_alone_stands_and_stops_no_job(
    deployed: Pipelines, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the transform would be paid for twice, or the new plan be published with the rows of the old one."""
    before = run.task(task_ids.PLAN, plan.plan_run)
    run.prepare()
    deployed.upload(5, rows(30))
    monkeypatch.setattr(plan, "clean_up_earlier_plan", lambda *_: pytest.fail("a job was stopped"))
    there = snapshot(deployed.storage)
    run.states = {
        "plan": "running", "preprocess": "success", "await_preprocess": "success",
        "transform": "success", "await_transform": "deferred", "join": None, "clean_up": None,
    }  # fmt: skip
    del run.xcoms[task_ids.PLAN, "return_value"]  # as Airflow does when the task starts
    with pytest.raises(
        HandoffError,
        match=r"`plan` was cleared without `preprocess` \(success\).*`await_transform` \(deferred\)"
        r".*no job was stopped",
    ):
        run.task(task_ids.PLAN, plan.plan_run, try_number=2)
    assert run.xcoms[task_ids.PLAN, "return_value"] == before
    assert snapshot(deployed.storage) == there


@pytest.mark.parametrize("state", [None, "restarting", "removed", "up_for_retry"])
def test_a_plan_that_is_cleared_with_all_that_follows_is_made_anew(
    deployed: Pipelines, run: Run, monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    """What the first one started is stopped, and what was scored by it is left aside."""
    run.task(task_ids.PLAN, plan.plan_run)
    run.prepare()
    run.collect_shards()
    run.transform()
    stale = joined(run)
    stopped: list[str] = []
    monkeypatch.setattr(plan, "clean_up_earlier_plan", lambda *_: stopped.append("stopped"))
    deployed.upload(5, rows(30))
    run.states = {"plan": "running", "await_preprocess": state, "join_0": state, "clean_up": None}
    run.task(task_ids.PLAN, plan.plan_run, try_number=2)
    assert stopped == ["stopped"]
    run.prepare()
    run.collect_shards()
    run.transform()
    run.task(task_ids.CHECKS, checks.run_checks, joined=[*joined(run), *stale])
    run.task(task_ids.PUBLISH, publish.publish)
    run.task(task_ids.CLEAN_UP, report.write_report)
    frame, manifest = published(deployed.storage, OUT)
    listing = deployed.storage.read(manifest["input"]["listing_uri"]).decode()
    assert len(frame) == manifest["records"]["in"] == 30
    assert str(deployed.storage.head("s3://bucket/in/date=2026-01-05/a.csv")["etag"]) in listing


Step = tuple[str, Callable[[Run], Any]]
STEPS: list[Step] = [
    (task_ids.AWAIT_PREPROCESS, lambda run: run.collect_shards()),
    (task_ids.TRANSFORM, lambda run: rendered(run, task_ids.TRANSFORM)),
    (task_ids.JOIN, joined),
    (
        task_ids.CHECKS,
        lambda run: run.task(task_ids.CHECKS, checks.run_checks, joined=run.xcoms["parts", ""]),
    ),
    (task_ids.PUBLISH, lambda run: run.task(task_ids.PUBLISH, publish.publish)),
    (task_ids.CLEAN_UP, lambda run: run.task(task_ids.CLEAN_UP, report.write_report)),
]


@pytest.mark.parametrize(("task_id", "step"), STEPS, ids=[task_id for task_id, _ in STEPS])
def test_nothing_is_made_of_what_two_plans_gave(
    deployed: Pipelines, run: Run, task_id: str, step: Callable[[Run], Any]
) -> None:
    """However it came to that: every task that takes something looks at whose it is."""
    run.run_all_tasks()
    run.xcoms["parts", ""] = joined(run)
    deployed.upload(5, rows(30))
    run.task(task_ids.PLAN, plan.plan_run)
    there = {uri: etag for uri, etag in snapshot(deployed.storage).items() if "/work/" not in uri}
    with pytest.raises((HandoffError, AirflowFailException)) as caught:
        step(run)
    said = str(caught.value)
    assert "`plan` has run again without all that follows it: `plan` belong" in said, task_id
    assert "clear `preprocess` with all that follows it" in said
    assert {uri: e for uri, e in snapshot(deployed.storage).items() if "/work/" not in uri} == there


def test_a_document_of_another_plan_is_refused_where_xcoms_agree(deployed: Pipelines, run: Run) -> None:
    """scored.json lies at one address for all plans of a run."""
    run.run_all_tasks()
    scored = run.json(run.paths.scored_run)
    deployed.storage.write_json(run.paths.scored_run, {**scored, "nonce": "f" * 16})
    for task_id, body in ((task_ids.PUBLISH, publish.publish), (task_ids.CLEAN_UP, report.write_report)):
        with pytest.raises(HandoffError, match=r"scored\.json belongs to another plan.*clear `checks`"):
            run.task(task_id, body)
    stored = run.json(run.paths.plan)
    deployed.storage.write_json(run.paths.plan, {**stored, "nonce": "f" * 16})
    with pytest.raises(HandoffError, match=r"plan\.json is another plan \(ffffff\) than this task's"):
        run.collect_shards()


def test_a_document_that_is_gone_is_named_and_final(deployed: Pipelines, run: Run) -> None:
    """As where a run is cleared whose files were deleted; and not by a NoSuchKey without the key, three times."""
    run.run_all_tasks()
    part = run.json(run.paths.scored_run)["parts"][0]["uri"]
    steps = (
        (
            part,
            rf"{part}, which the join wrote, no longer exists; not committed",
            task_ids.PUBLISH,
            publish.publish,
        ),
        (
            run.paths.scored_run,
            r"scored\.json, which `checks` wrote, no longer exists",
            task_ids.PUBLISH,
            publish.publish,
        ),
        (
            run.paths.plan,
            r"plan\.json, which `plan` wrote, no longer exists",
            task_ids.AWAIT_PREPROCESS,
            collect_shards.collect_shards,
        ),
    )
    for uri, message, task_id, body in steps:
        deployed.storage.delete([uri])
        with pytest.raises(AirflowFailException, match=message):
            run.task(task_id, no_retry(body))


BY_HAND = [
    (task_ids.PLAN, STEPS[0]),
    (task_ids.AWAIT_PREPROCESS, STEPS[1]),
    (
        task_ids.AWAIT_PREPROCESS,
        (
            task_ids.JOIN,
            lambda run: run.task(task_ids.JOIN, join_group.join_group, group={"first": 0, "last": 0}),
        ),
    ),
    (task_ids.AWAIT_TRANSFORM, STEPS[2]),
    (task_ids.AWAIT_TRANSFORM, STEPS[3]),
    (task_ids.JOIN, STEPS[3]),
    (task_ids.CHECKS, STEPS[4]),
    (task_ids.PUBLISH, STEPS[5]),
]


@pytest.mark.parametrize(
    ("task_id", "step"), BY_HAND, ids=[f"{task_id} before {step[0]}" for task_id, step in BY_HAND]
)
def test_a_task_that_was_marked_success_by_hand_is_told_in_one_sentence(
    run: Run, task_id: str, step: Step
) -> None:
    """And not by a TypeError, three times."""
    run.run_all_tasks()
    run.xcoms["parts", ""] = joined(run)
    for key in [each for each in run.xcoms if each[0] == task_id]:
        del run.xcoms[key]
    if task_id == task_ids.JOIN:
        run.xcoms["parts", ""] = None
    run.states[task_id] = "success"
    with pytest.raises(AirflowFailException, match=rf"`{task_id}`: it is success and pushed no value"):
        no_retry(step[1])(run)


def test_a_task_that_wakes_while_plan_runs_again_is_tried_again(run: Run) -> None:
    """Airflow deletes what `plan` has handed on when it starts; a job may end in just that moment."""
    run.states[task_ids.PLAN] = "running"
    with pytest.raises(handoffs.PlanNotReadyError) as caught:
        no_retry(handoffs.pull_plan)(FakeTaskInstance(run, task_ids.AWAIT_PREPROCESS))
    assert not isinstance(caught.value, AirflowFailException)


def test_every_value_of_several_is_looked_at() -> None:
    """Of mapped tasks: one that is missing, or another plan's, is as bad as all."""
    nonce = "0123456789abcdef"
    good, bad = (
        {"job_name": f"c-transform-{handoffs.build_name_token(each)}-0-1"} for each in (nonce, "f" * 16)
    )

    def instance(*values: Any) -> Any:
        def pull(task_id: str, *, key: str = "", map_indexes: Any = None) -> Any:
            return (
                build_plan("s3://bucket/run/", nonce=nonce)
                if task_id == task_ids.PLAN
                else list(values)
                if map_indexes and not key
                else None
            )

        states = {"run": {task_ids.AWAIT_TRANSFORM: "success"}}
        return SimpleNamespace(xcom_pull=pull, get_task_states=lambda **_: states, dag_id="c", run_id="run")

    assert handoffs.pull(instance(good, good), task_ids.AWAIT_TRANSFORM, map_indexes=range(2)) == [good, good]
    with pytest.raises(HandoffError, match="`await_transform` to another one"):
        handoffs.pull(instance(good, bad), task_ids.AWAIT_TRANSFORM, map_indexes=range(2))
    with pytest.raises(HandoffError, match="pushed no value"):
        handoffs.pull(instance(good, None), task_ids.AWAIT_TRANSFORM, map_indexes=range(2))
