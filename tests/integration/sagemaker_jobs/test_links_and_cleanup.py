"""Links lead to the right console; clean-up finds what is the run's and nothing else."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.amazon.aws.links.sagemaker import SageMakerTransformJobLink

from sagemaker_jobs.cleanup.janitor import find_leftovers
from sagemaker_jobs.cleanup.run_cleanup import (
    clean_up_leftovers,
    delete_models,
    list_run_resources,
    stop_jobs,
)
from sagemaker_jobs.errors import RequestError
from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM
from sagemaker_jobs.links import SageMakerJobLogsLink, SageMakerProcessingJobLink, build_links, persist_links
from sagemaker_jobs.operators import ProcessingJobOperator, TransformJobOperator
from sagemaker_jobs.sensors import ProcessingJobSensor, TransformJobSensor
from tests.integration.sagemaker_jobs.builders import context_of
from tests.integration.sagemaker_jobs.specs import processing_spec, transform_spec

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from tests.integration.sagemaker_jobs.fake_sagemaker import FakeSageMaker


class Elsewhere:
    """A hook in another partition and region."""

    conn_region_name = "cn-north-1"
    conn_partition = "aws-cn"


def url_of(link: Any, context: dict[str, Any]) -> str:
    return link.format_link(**context["ti"].xcoms[link.key])


def test_links_respect_partition_and_region():
    """China's console is on another domain."""
    task = TransformJobSensor(task_id="t", job_name="score-1")
    context = context_of(task)
    persist_links(context, task, Elsewhere(), TRANSFORM, "score-1")
    assert url_of(SageMakerTransformJobLink(), context) == (
        "https://console.amazonaws.cn/sagemaker/home?region=cn-north-1#/transform-jobs/score-1"
    )
    assert url_of(SageMakerJobLogsLink(), context) == (
        "https://console.amazonaws.cn/cloudwatch/home?region=cn-north-1#logsV2:log-groups/log-group/"
        "$252Faws$252Fsagemaker$252FTransformJobs$3FlogStreamNameFilter$3Dscore-1$252F"
    )


def test_processing_has_links_too(hook: SageMakerHook):
    """The provider has none."""
    task = ProcessingJobSensor(task_id="p", job_name="work-1")
    context = context_of(task)
    persist_links(context, task, hook, PROCESSING, "work-1")
    assert url_of(SageMakerProcessingJobLink(), context) == (
        "https://console.aws.amazon.com/sagemaker/home?region=us-east-1#/processing-jobs/work-1"
    )
    assert url_of(SageMakerJobLogsLink(), context).endswith(
        "$252Faws$252Fsagemaker$252FProcessingJobs$3FlogStreamNameFilter$3Dwork-1$252F"
    )


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        (ProcessingJobOperator, PROCESSING),
        (ProcessingJobSensor, PROCESSING),
        (TransformJobOperator, TRANSFORM),
        (TransformJobSensor, TRANSFORM),
    ],
)
def test_operators_and_sensors_carry_both_links(task: Any, kind: Any):
    """A failed job shows in the sensor, so the sensor needs them as much."""
    assert [type(link) for link in task.operator_extra_links] == [type(link) for link in build_links(kind)]


def test_clean_up_stops_and_deletes_only_what_has_the_name_part(aws: FakeSageMaker, hook: SageMakerHook):
    """Running jobs of both kinds and models: nothing that has ended, nothing of others. Twice is as good as once."""
    for base_name in ("one-c0ffee7", "two-c0ffee7", "three-9999999"):
        ensure_job(hook, replace(processing_spec(), base_name=base_name))
    model = {**(transform_spec().model or {}), "ModelName": "four-c0ffee7"}
    ensure_job(hook, replace(transform_spec(), base_name="four-c0ffee7", model=model))
    ensure_job(hook, replace(transform_spec(), base_name="five-9999999"))
    aws.end("two-c0ffee7-1")
    assert stop_jobs(hook, name_contains="-c0ffee7") == ["one-c0ffee7-1", "four-c0ffee7-1"]
    assert delete_models(hook, name_contains="-c0ffee7") == ["four-c0ffee7"]
    assert {name: aws.status(name) for name in aws.jobs} == {
        "one-c0ffee7-1": "Stopping",
        "two-c0ffee7-1": "Completed",
        "three-9999999-1": "InProgress",
        "four-c0ffee7-1": "Stopping",
        "five-9999999-1": "InProgress",
    }
    assert list(aws.models) == ["abalone-transform-0123456789"]
    assert stop_jobs(hook, name_contains="-c0ffee7") == []
    assert delete_models(hook, name_contains="-c0ffee7") == []


def test_clean_up_reads_every_page(aws: FakeSageMaker, hook: SageMakerHook):
    """A run of many jobs is stopped whole."""
    for number in range(110):
        name = f"many-jobs-{number:03}"
        aws.jobs[name] = {
            "ProcessingJobName": name,
            "ProcessingJobArn": f"arn:{name}",
            "ProcessingJobStatus": "InProgress",
            "CreationTime": 1.0,
        }
    assert len(stop_jobs(hook, name_contains="many-jobs")) == 110


def test_clean_up_refuses_a_part_that_would_match_others(aws: FakeSageMaker, hook: SageMakerHook):
    """An empty or short part would stop the whole account."""
    for call in (stop_jobs, delete_models):
        with pytest.raises(RequestError, match="name_contains is 'ab'; allowed are 6 or more"):
            call(hook, name_contains="ab")
    assert aws.calls == []


def test_the_janitor_clears_away_what_it_judged(aws: FakeSageMaker, hook: SageMakerHook):
    """From AWS's lists and tags to stopped jobs and deleted models; untagged and active ones stay."""

    def tagged(base_name: str, run: str | None) -> None:
        spec = replace(transform_spec(), base_name=base_name)
        tags = [{"Key": "airflow:dag-id", "Value": "abalone"}, {"Key": "airflow:run", "Value": run}]
        spec.request["Tags"] = [] if run is None else tags
        assert spec.model is not None
        spec.model.update(ModelName=f"{base_name}-model", Tags=spec.request["Tags"])
        ensure_job(hook, spec)

    tagged("abalone-over", "run-over")
    tagged("abalone-ended", "run-ended")
    tagged("abalone-active", "run-active")
    tagged("abalone-foreign", None)
    tagged("my-abalone-over", "run-over")
    aws.end("abalone-ended-1")
    before = aws.count("ListTags")
    collected = list_run_resources(hook, name_prefix="abalone-")
    # Three jobs and four models: none of somebody else's pipeline whose name only holds ours.
    assert aws.count("ListTags") - before == len(collected) == 7
    found = find_leftovers(collected, is_active=lambda _, run: run == "run-active", now=time.time() + 7200)
    assert sorted(clean_up_leftovers(hook, found)) == ["abalone-ended-model", "abalone-over-1"]
    assert {name: aws.status(name) for name in aws.jobs} == {
        "abalone-over-1": "Stopping",
        "abalone-ended-1": "Completed",
        "abalone-active-1": "InProgress",
        "abalone-foreign-1": "InProgress",
        "my-abalone-over-1": "InProgress",
    }
    assert sorted(aws.models) == [
        "abalone-active-model",
        "abalone-foreign-model",
        "abalone-over-model",
        "my-abalone-over-model",
    ]
