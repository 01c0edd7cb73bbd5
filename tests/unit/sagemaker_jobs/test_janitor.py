"""The janitor's decisions: what belongs to a run that is over goes, whatever else stays."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_jobs.cleanup.janitor import Leftover, Resource, build_resource, find_leftovers
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM, JobKind

NOW = 1_000_000.0
ACTIVE = {("abalone", "run-active")}


def is_run_tag_active(dag_id: str, tag: str) -> bool:
    return (dag_id, tag) in ACTIVE


def resource(name: str = "job", run: str | None = "run-over", age: float = 7200, **changes: Any) -> Resource:
    tags = {} if run is None else {"airflow:dag-id": "abalone", "airflow:run": run}
    values = {"kind": TRANSFORM, "status": "InProgress", "created_at": NOW - age, "tags": tags, **changes}
    return Resource(name=name, **values)


def left_over(*resources: Resource, **options: Any) -> dict[str, JobKind | None]:
    """The kind of each, which decides what is done with it."""
    found = find_leftovers(resources, is_run_tag_active=is_run_tag_active, now=NOW, **options)
    return {leftover.resource.name: leftover.resource.kind for leftover in found}


def test_a_job_whose_run_is_over_is_stopped_with_a_reason():
    """The sentence names run, DAG and age."""
    job = resource(age=600)
    assert find_leftovers([job], is_run_tag_active=is_run_tag_active, now=NOW) == [
        Leftover(job, "run run-over of abalone is not active, and it is 600 s old")
    ]


@pytest.mark.parametrize(
    "job",
    [
        resource(run="run-active"),
        resource(run=None),
        resource(tags={"airflow:dag-id": "abalone"}),
        resource(tags={"airflow:dag-id": "abalone", "airflow:run": ""}),
        resource(status="Completed"),
        resource(status="Stopping"),
        resource(age=299),
    ],
    ids=["active", "untagged", "half tagged", "empty tag", "ended", "stopping", "young"],
)
def test_a_job_that_is_not_surely_left_over_is_left_alone(job: Resource):
    """Active, of somebody else, ended, ending, or so young that its own teardown may be at work."""
    assert left_over(job) == {}


def test_models_stay_for_their_time_and_while_a_job_may_read_them():
    """A job that is stopped now is still busy: its model goes the next time."""
    old_model = resource("model", kind=None, status=None)
    assert left_over(old_model) == {"model": None}
    assert left_over(resource("model", kind=None, status=None, age=3599)) == {}
    assert left_over(old_model, resource("job")) == {"job": TRANSFORM}
    assert left_over(old_model, resource("job", status="Stopping")) == {}
    assert left_over(old_model, resource("job", status="Failed")) == {"model": None}
    assert left_over(old_model, resource("other", run="run-active")) == {"model": None}


def test_dags_can_be_narrowed():
    """Several Airflows may share an account."""
    job = resource(tags={"airflow:dag-id": "theirs", "airflow:run": "run-over"})
    assert left_over(job) == {"job": TRANSFORM}
    assert left_over(job, is_own_dag=lambda dag_id: dag_id == "abalone") == {}


def test_each_run_is_asked_for_once():
    """A run of a hundred jobs costs one question."""
    asked: list[tuple[str, str]] = []

    def remember(dag_id: str, run_id: str) -> bool:
        asked.append((dag_id, run_id))
        return False

    find_leftovers([resource(str(number)) for number in range(100)], is_run_tag_active=remember, now=NOW)
    assert asked == [("abalone", "run-over")]


@given(
    st.lists(
        st.builds(
            resource,
            name=st.uuids().map(str),
            run=st.sampled_from(["run-active", "run-over", None]),
            age=st.floats(-100, 1e6),
            kind=st.sampled_from([TRANSFORM, PROCESSING, None]),
            status=st.sampled_from(["InProgress", "Stopping", "Completed", "Failed", "Stopped", None]),
        )
    )
)
def test_nothing_of_an_active_run_or_of_others_is_ever_touched(resources: list[Resource]):
    """Whatever there is."""
    for leftover in find_leftovers(resources, is_run_tag_active=is_run_tag_active, now=NOW):
        assert leftover.resource.tags["airflow:run"] == "run-over"
        assert leftover.resource.kind is None or leftover.resource.status == "InProgress"


def test_a_resource_is_read_from_awss_list():
    """Jobs of both kinds and models."""
    created = datetime.datetime.fromtimestamp(5, tz=datetime.UTC)
    summary = {"TransformJobName": "t", "TransformJobStatus": "InProgress", "CreationTime": created}
    assert build_resource(TRANSFORM, summary, {"a": "b"}) == Resource(
        name="t", kind=TRANSFORM, status="InProgress", created_at=5.0, tags={"a": "b"}
    )
    assert build_resource(None, {"ModelName": "m", "CreationTime": created}, {}).kind is None
