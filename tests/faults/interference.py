"""Cases in which somebody else's hand is in the run: on its files, its pipeline, its tasks, its dates and its keys."""

from __future__ import annotations

import time
from collections.abc import Callable

import yaml

from batch_inference.common.s3_uri import split_s3_uri
from tests.faults import data
from tests.faults.case import Case
from tests.faults.scenario import Scenario, job_at_work


def deny_the_commit(scenario: Scenario) -> None:
    """For good: in every try of `publish`."""
    scenario.arm(
        "s3_error", operation="PutObject", status=403, count=100,
        key_contains=f"/output/{scenario.pipeline}/_manifest.json",
    )  # fmt: skip
    scenario.trigger()


def publish_where_somebody_else_does(scenario: Scenario) -> None:
    """A document of this name that is not this package's."""
    bucket, prefix = split_s3_uri(scenario.output)
    scenario.suite.aws.s3.put_object(Bucket=bucket, Key=f"{prefix}_manifest.json", Body=b'{"hello": 1}')
    scenario.trigger()


def clear_the_plan_alone(scenario: Scenario) -> None:
    """While the transform waits for its input."""
    scenario.clear("plan", downstream=False)
    scenario.wait(lambda: scenario.task("plan")["state"] in ("success", "failed"), "plan has run again")


def edit_the_pipeline(scenario: Scenario) -> None:
    """Another model, between `plan` and `transform`."""
    hold = scenario.hold("CreateProcessingJob")
    scenario.trigger()
    scenario.wait_for_hold(hold)
    path = scenario.suite.root / "include" / "pipelines" / f"{scenario.pipeline}.yaml"
    document = yaml.safe_load(path.read_text())
    document["model"]["containers"][0]["environment"]["FAULT"] = "exits"
    path.write_text(yaml.safe_dump(document))
    scenario.release_fault(hold)


def run_for_an_early_date(scenario: Scenario) -> None:
    """As somebody does who scores what is years old."""
    scenario.trigger(logical_date="1999-12-31T00:00:00Z")


def expire_the_credentials(scenario: Scenario) -> None:
    """Once for each call that makes a job or model, or looks at one."""
    for operation in ("CreateProcessingJob", "DescribeProcessingJob", "CreateModel", "CreateTransformJob"):
        scenario.arm("credentials", operation=operation)
    scenario.trigger()


def hide_the_job(scenario: Scenario) -> None:
    """From the looks at it that come first."""
    scenario.arm("invisible", operation="DescribeTransformJob", count=3)
    scenario.trigger()


def run_with_an_odd_name(scenario: Scenario) -> None:
    """With a character that AWS's tags do not take; its plan is cleared while a job is at work."""
    scenario.arm("freeze_container", after_seconds=0)
    scenario.trigger(dag_run_id=f"odd~{time.time()}")
    scenario.wait_for_hanging_job()
    scenario.mark_active_jobs_unwanted()
    scenario.clear("plan", downstream=True)


def change_a_prediction(scenario: Scenario) -> None:
    """After the job has ended, before it is joined."""
    change_predictions(scenario, lambda body: body.replace(b"1", b"2", 1))


def delete_a_prediction(scenario: Scenario) -> None:
    """After the job has ended, before it is joined."""
    change_predictions(scenario, lambda _: None)


def change_predictions(scenario: Scenario, change: Callable[[bytes], bytes | None]) -> None:
    """Change the object that the transform has left last, while the join is about to read."""
    hold = scenario.arm(
        "s3_hold", operation="GetObject", key_contains=f"/work/{scenario.pipeline}/*/records/"
    )
    scenario.trigger()
    scenario.wait_for_hold(hold)
    s3 = scenario.suite.aws.s3
    listed = s3.list_objects_v2(Bucket=data.BUCKET, Prefix=f"work/{scenario.pipeline}/")["Contents"]
    predictions = [each for each in listed if each["Key"].endswith(".out")]
    key = max(predictions, key=lambda each: each["LastModified"])["Key"]
    body = change(s3.get_object(Bucket=data.BUCKET, Key=key)["Body"].read())
    if body is None:
        s3.delete_object(Bucket=data.BUCKET, Key=key)
    else:
        s3.put_object(Bucket=data.BUCKET, Key=key, Body=body)
    scenario.release_fault(hold)


def mark_the_wait_as_done(scenario: Scenario) -> None:
    """The button "mark success" on the task that waits, while its job is at work."""
    scenario.mark_active_jobs_unwanted()
    scenario.mark_task("await_transform", "success")
    # Its containers get their input afterwards, and would end by themselves.
    scenario.wait_for_stops()


CASES = (
    Case(
        name="commit-denied",
        fault="S3 refuses the commit for good (AccessDenied)",
        ending="failed; nothing is published, and no part of any try stays in the output",
        act=deny_the_commit,
        states=("failed",),
        published=False,
    ),
    Case(
        name="foreign-manifest",
        fault="the output has a `_manifest.json` that is not this package's",
        ending="failed in `plan`, unpaid; nothing there is touched",
        act=publish_where_somebody_else_does,
        states=("failed",),
        tries={"plan": 1},
        preprocess=0,
        transform=0,
        published=False,
        keeps=frozenset({"_manifest.json"}),
    ),
    Case(
        name="plan-alone",
        fault="`plan` is cleared, without what follows, while the transform is at work",
        ending="failed in `plan`, which says what else is to be cleared; the job goes on, none is paid twice, and what "
        "it was planned for is published",
        act=clear_the_plan_alone,
        during=job_at_work,
        states=("failed",),
    ),
    Case(
        name="file-edited",
        fault="the pipeline file is edited while the run is at work",
        ending="success: the run does what its plan says; the edit counts from the next run on",
        act=edit_the_pipeline,
        once=True,
    ),
    Case(
        name="early-date",
        fault="a run by hand has a logical date before the pipeline was written",
        ending="success: no date is special",
        act=run_for_an_early_date,
        once=True,
    ),
    Case(
        name="token-expired",
        fault="AWS says ExpiredToken to calls that make a job or a model, or look at one",
        ending="success: the call is repeated with fresh credentials",
        act=expire_the_credentials,
    ),
    Case(
        name="describe-lags",
        fault="AWS does not describe a job yet that it has taken",
        ending="success: that the name is taken proves that the job is there, so it is waited for",
        act=hide_the_job,
    ),
    Case(
        name="odd-run-id",
        fault="the run's id has a character that AWS's tags do not take, and `plan` is cleared with all that follow",
        ending="success: the job of the first plan is found and stopped",
        act=run_with_an_odd_name,
        tries={"preprocess": 2},
        preprocess=2,
    ),
    Case(
        name="prediction-changed",
        fault="a file of predictions is changed after the job has ended",
        ending="failed, names the object; nothing is published",
        act=change_a_prediction,
        states=("failed",),
        tries={"join": 1},
        published=False,
    ),
    Case(
        name="prediction-gone",
        fault="a file of predictions is deleted after the job has ended",
        ending="failed, names the object; nothing is published",
        act=delete_a_prediction,
        states=("failed",),
        tries={"join": 1},
        published=False,
    ),
    Case(
        name="wait-marked",
        fault="the waiting task is marked success by hand",
        ending="failed in one sentence, without a retry; the job is stopped",
        act=mark_the_wait_as_done,
        during=job_at_work,
        states=("failed",),
        tries={"join": 1},
        published=False,
    ),
)
