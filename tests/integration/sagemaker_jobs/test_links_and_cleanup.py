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
    clean_up_run,
    list_running_jobs_and_models,
)
from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM
from sagemaker_jobs.links import SageMakerJobLogsLink, SageMakerProcessingJobLink, build_links, persist_links
from sagemaker_jobs.operators import ProcessingJobOperator, TransformJobOperator
from sagemaker_jobs.sensors import ProcessingJobSensor, TransformJobSensor
from tests.integration.sagemaker_jobs.builders import clean_up, context_of
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


def test_clean_up_stops_and_deletes_only_what_is_of_the_run(aws: FakeSageMaker, hook: SageMakerHook):
    """Running jobs of both kinds and models: nothing that has ended, nothing of others. Twice is as good as once."""
    for base_name in ("our-one-c0ffee7", "our-two-c0ffee7", "our-three-9999999", "their-c0ffee7"):
        ensure_job(hook, replace(processing_spec(), base_name=base_name))
    model = {**(transform_spec().model or {}), "ModelName": "our-four-c0ffee7"}
    ensure_job(hook, replace(transform_spec(), base_name="our-four-c0ffee7", model=model))
    tagged = ensure_job(hook, replace(transform_spec(), base_name="our-five-9999999"))
    aws.tags[tagged.arn] |= {"run": "c0ffee7", "dag": "ours"}
    aws.end("our-two-c0ffee7-1")

    def clean_up_ours() -> list[str]:
        return clean_up_run(
            hook, name_prefix="our-", tags={"run": "c0ffee7"}, name_part="-c0ffee7", because="of the test"
        )

    assert clean_up_ours() == [
        "our-one-c0ffee7-1",
        "our-four-c0ffee7-1",
        "our-four-c0ffee7",
        "our-five-9999999-1",
    ]
    assert {name: aws.status(name) for name in aws.jobs} == {
        "our-one-c0ffee7-1": "Stopping",
        "our-two-c0ffee7-1": "Completed",
        "our-three-9999999-1": "InProgress",
        "their-c0ffee7-1": "InProgress",
        "our-four-c0ffee7-1": "Stopping",
        "our-five-9999999-1": "Stopping",
    }
    assert list(aws.models) == ["abalone-transform-0123456789"]
    assert clean_up_ours() == []


def test_clean_up_without_permission_to_read_tags_goes_by_name(aws: FakeSageMaker, hook: SageMakerHook):
    """Without a part of a name, nothing is known to be of the run."""
    ensure_job(hook, replace(processing_spec(), base_name="our-one-c0ffee7"))
    run = {"name_prefix": "our-", "tags": {"run": "c0ffee7"}, "because": "of the test"}
    aws.refuse("ListTags", "AccessDeniedException", "not authorized to perform ListTags", times=2)
    assert clean_up_run(hook, **run) == []
    assert clean_up_run(hook, **run, name_part="-c0ffee7") == ["our-one-c0ffee7-1"]


def test_clean_up_stops_what_it_knows_by_name_before_it_reads_a_tag(aws: FakeSageMaker, hook: SageMakerHook):
    """Jobs that are billed do not wait for an API that is throttled."""
    for base_name in ("our-one-c0ffee7", "our-two-9999999"):
        ensure_job(hook, replace(processing_spec(), base_name=base_name))
    aws.calls.clear()
    run = {"name_prefix": "our-", "tags": {"run": "c0ffee7"}, "because": "of the test"}
    assert clean_up_run(hook, **run, name_part="-c0ffee7") == ["our-one-c0ffee7-1"]
    operations = [operation for operation, _ in aws.calls]
    assert operations.index("StopProcessingJob") < operations.index("ListTags")
    assert aws.count("ListTags") == 1


def test_clean_up_refuses_a_part_that_would_match_others(aws: FakeSageMaker, hook: SageMakerHook):
    """An empty or short part would stop all runs of the pipeline."""
    with pytest.raises(ValueError, match="name_part is 'ab'; allowed are 6 or more"):
        clean_up_run(hook, name_prefix="our-", tags={"run": "c0ffee7"}, because="of the test", name_part="ab")
    assert aws.calls == []


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
    assert len(clean_up(hook, "many-jobs")) == 110


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
    collected = list_running_jobs_and_models(hook, name_prefix="abalone-")
    # Three jobs and four models: none of somebody else's pipeline whose name only holds ours.
    assert aws.count("ListTags") - before == len(collected) == 7
    found = find_leftovers(
        collected, is_run_tag_active=lambda _, run: run == "run-active", now=time.time() + 7200
    )
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
