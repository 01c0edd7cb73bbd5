"""The cases of the fault suite. The fault matrix of the documentation is made of them."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from datetime import timedelta

from tests.faults import data, interference, late
from tests.faults.case import Case
from tests.faults.scenario import Scenario, job_at_work
from tests.faults.suite import SCARCE_INSTANCE_TYPES

#: Shorter than the limits of a real pipeline, long enough for a task and its sensor to start beside much else.
LIMIT_SECONDS = 40
#: More than any run takes: the one that is to time out is changed to one that started so long ago.
RUN_SECONDS = 3600


def run(scenario: Scenario) -> None:
    """Nothing but a run: the fault is in the pipeline."""
    scenario.trigger()


def break_model(fault: str) -> Callable[[Scenario], None]:
    """The model's files make it misbehave, see deployed/inference.py, until the run has ended."""

    def act(scenario: Scenario) -> None:
        s3 = scenario.suite.aws.s3
        data.upload_model(s3, scenario.pipeline, fault)
        try:
            scenario.trigger()
            scenario.wait_for_end()
        finally:
            data.upload_model(s3, scenario.pipeline)

    return act


# The worker


def kill_worker_before(scenario: Scenario) -> None:
    """While it asks whether the job exists."""
    hold = scenario.hold("DescribeProcessingJob")
    kill_worker_at(scenario, hold)


def kill_worker_between(scenario: Scenario) -> None:
    """While AWS has the job, and has not answered."""
    hold = scenario.hold("CreateProcessingJob")
    kill_worker_at(scenario, hold)


def kill_worker_at(scenario: Scenario, hold: str) -> None:
    """While its request is held."""
    scenario.trigger()
    scenario.wait_for_hold(hold)
    scenario.kill_worker("preprocess")
    scenario.release_fault(hold)


def kill_worker_after(scenario: Scenario) -> None:
    """When it has AWS's answer, and looks at the job it has made."""
    create = scenario.hold("CreateProcessingJob")
    scenario.trigger()
    scenario.wait_for_hold(create)
    look = scenario.hold("DescribeProcessingJob")
    scenario.release_fault(create)
    scenario.wait_for_hold(look)
    scenario.kill_worker("preprocess")
    scenario.release_fault(look)


# Airflow's components


def kill_scheduler(scenario: Scenario) -> None:
    """With its workers, one of which waits for the answer to CreateProcessingJob."""
    hold = scenario.hold("CreateProcessingJob")
    scenario.trigger()
    scenario.wait_for_hold(hold)
    scenario.restart("scheduler")
    scenario.release_fault(hold)


def kill_triggerer(scenario: Scenario) -> None:
    """While it waits for a job."""
    killed = scenario.triggerer("await_transform")
    scenario.restart("triggerer")
    scenario.wait(
        lambda: scenario.triggerer("await_transform") not in (None, killed),
        "the next triggerer waits for the job",
    )


def hand_over(scenario: Scenario) -> None:
    """A second triggerer joins and takes over from one that hangs; that one comes to; the second one leaves."""
    airflow, second = scenario.suite.airflow, "triggerer-2"
    first_job = scenario.triggerer("await_transform")
    airflow.start_second_triggerer(second)
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: airflow.processes.get(second) and airflow.kill(second))
        scenario.wait(lambda: len(scenario.suite.triggerers()) == 2, "two triggerers are alive")
        airflow.send_signal("triggerer", signal.SIGSTOP)
        stack.callback(airflow.send_signal, "triggerer", signal.SIGCONT)
        scenario.wait(
            lambda: scenario.triggerer("await_transform") not in (None, first_job),
            "the second triggerer waits for the job",
        )
        airflow.send_signal("triggerer", signal.SIGCONT)
        airflow.kill(second, signal.SIGTERM)
    scenario.wait(
        lambda: scenario.triggerer("await_transform") == first_job, "the first triggerer waits again"
    )


def kill_api_server(scenario: Scenario) -> None:
    """While a job is waited for; the job ends while nobody can be told."""
    with job_at_work(scenario):
        scenario.suite.airflow.kill("api-server")
    scenario.wait(lambda: not scenario.active_jobs(), "the job has ended without an api-server")
    scenario.start("api-server")


# AWS


def throttle(scenario: Scenario) -> None:
    """Whatever is asked about the run's jobs."""
    scenario.arm("throttle", count=20)
    scenario.trigger()


def fail_describe(scenario: Scenario) -> None:
    """Before the job is made, after it, and while it is waited for."""
    scenario.arm("error", operation="DescribeTransformJob", status=500, count=10)
    scenario.trigger()


def reset_connections(scenario: Scenario) -> None:
    """Of whatever is asked about the run's transform."""
    scenario.arm("drop", count=10, job_name_contains=f"{scenario.job_name_prefix}transform-")
    scenario.trigger()


def have_no_instances(scenario: Scenario) -> None:
    """Twice, for the processing job."""
    scenario.arm("capacity", count=2, job_name_contains=f"{scenario.job_name_prefix}preprocess-")
    scenario.trigger()


def use_the_quota(scenario: Scenario) -> None:
    """Another job holds the only instance of its type until the run waits for it."""
    instance_type = next(iter(SCARCE_INSTANCE_TYPES))
    client, name = scenario.suite.aws.server.client("sagemaker"), f"occupies-the-quota-{id(scenario)}"
    cluster = {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 1}
    client.create_processing_job(
        ProcessingJobName=name,
        RoleArn=data.ROLE,
        AppSpecification={"ImageUri": data.IMAGE, "ContainerEntrypoint": ["sleep", "3600"]},
        ProcessingResources={"ClusterConfig": cluster},
    )
    scenario.trigger()
    scenario.wait_for_task("preprocess", "deferred")
    client.stop_processing_job(ProcessingJobName=name)


def restart_aws(scenario: Scenario) -> None:
    """While a job is at work, which fails with an internal error."""
    scenario.suite.aws.restart()


def fail_the_joins_put(scenario: Scenario) -> None:
    """Until the client's own repetitions are used up."""
    scenario.arm(
        "s3_error", operation="PutObject", status=500, count=5,
        key_contains=f"/work/{scenario.pipeline}/*/joined/",
    )  # fmt: skip
    scenario.trigger()


# Jobs that hang, and people


def hang(scenario: Scenario, count: int = 1) -> None:
    """Start a run whose first processing jobs hang; return once one is waited for."""
    scenario.arm("freeze_container", after_seconds=0, count=count)
    scenario.trigger()
    scenario.wait_for_hanging_job()


def hang_twice(scenario: Scenario) -> None:
    """The job of the next try hangs as well."""
    hang(scenario, count=2)


def stop_on_aws(scenario: Scenario) -> None:
    """A person does, on AWS's own page."""
    hang(scenario)
    (name,) = scenario.active_jobs()
    scenario.suite.aws.server.client("sagemaker").stop_processing_job(ProcessingJobName=name)
    scenario.unwanted_since[name] = time.time()


def mark_failed(scenario: Scenario) -> None:
    """The task that waits."""
    hang(scenario)
    scenario.mark_active_jobs_unwanted()
    scenario.mark_task("await_preprocess", "failed")


def mark_run_failed(scenario: Scenario) -> None:
    """While its job is at work."""
    hang(scenario)
    scenario.mark_active_jobs_unwanted()
    scenario.mark_run("failed")


def clear_while_running(scenario: Scenario) -> None:
    """The task that submitted the job, with all that follow."""
    hang(scenario)
    scenario.mark_active_jobs_unwanted()
    scenario.clear("preprocess", downstream=True)


def clear_the_plan(scenario: Scenario) -> None:
    """All of the run, whose jobs have other names then."""
    hang(scenario)
    scenario.mark_active_jobs_unwanted()
    scenario.clear("plan", downstream=True)


def clear_the_sensor(scenario: Scenario) -> None:
    """The task that waited, and no other; while it waits, it is a race whether its job is adopted or stopped."""
    scenario.trigger()
    scenario.wait_for_success()
    scenario.clear("await_preprocess", downstream=False)


def clear_after_success(scenario: Scenario) -> None:
    """The transform, with all that follow."""
    scenario.trigger()
    scenario.wait_for_success()
    scenario.clear("transform", downstream=True)


def delete_the_run(scenario: Scenario) -> None:
    """Right after it was marked failed, so that its own teardown goes with it."""
    hang(scenario)
    scenario.mark_run("failed")
    scenario.wait(scenario.delete_run, "the run may be deleted")
    scenario.have_janitor_stop_jobs()


def wait_for_the_runs_timeout(scenario: Scenario) -> None:
    """Which skips even teardowns."""
    hang(scenario)
    scenario.suite.start_run_earlier(scenario.pipeline, scenario.run_id, RUN_SECONDS)
    scenario.wait(
        lambda: scenario.suite.run_state(scenario.pipeline, scenario.run_id) == "failed", "the run timed out"
    )
    scenario.have_janitor_stop_jobs()


def publish_at_once(scenario: Scenario) -> None:
    """Two runs reach the commit of one output at the same time."""
    hold = scenario.arm(
        "s3_hold", operation="PutObject", count=2,
        key_contains=f"/output/{scenario.pipeline}/_manifest.json",
    )  # fmt: skip
    scenario.trigger()
    scenario.trigger()
    scenario.wait_for_hold(hold, requests=2)
    scenario.release_fault(hold)


#: The run ends in the middle, having paid for one job.
STOPS_EARLY = {"states": ("failed",), "transform": 0, "published": False}

CASES: tuple[Case, ...] = (
    Case(
        name="worker-before",
        fault="the worker is killed before it submits the job",
        ending="success: the next try submits it",
        act=kill_worker_before,
        tries={"preprocess": 2},
    ),
    Case(
        name="worker-between",
        fault="the worker is killed between CreateJob and its answer",
        ending="success: the next try finds the job and waits for it",
        act=kill_worker_between,
        tries={"preprocess": 2},
        on_sqlite=True,
    ),
    Case(
        name="worker-after",
        fault="the worker is killed after it submitted the job",
        ending="success: the next try finds the job and waits for it",
        act=kill_worker_after,
        tries={"preprocess": 2},
    ),
    Case(
        name="scheduler-killed",
        fault="the scheduler is killed, and with it a worker that is submitting a job",
        ending="success: the task is tried again and finds the job",
        act=kill_scheduler,
        tries={"preprocess": 2},
        alone=True,
    ),
    Case(
        name="triggerer-killed",
        fault="the triggerer is killed while it waits for a job",
        ending="success: the job goes on, the next triggerer waits for it",
        act=kill_triggerer,
        during=job_at_work,
        alone=True,
        on_sqlite=True,
    ),
    Case(
        name="api-server-killed",
        fault="the api-server is killed while a job is waited for, and the job ends meanwhile",
        ending="success: the end is seen once the api-server is back, if that is before the task's retries are used up",
        act=kill_api_server,
        alone=True,
        # Each try without an api-server ends after some ten seconds; a real pipeline waits a minute after it.
        tuning={"await_transform": {"retry_delay": timedelta(seconds=30), "retries": 20}},
    ),
    Case(
        name="hand-over",
        fault="a second triggerer joins, takes over from one that hangs, and leaves",
        ending="success: the job goes on, whichever triggerer waits for it",
        act=hand_over,
        during=job_at_work,
        alone=True,
        postgresql_only=True,
    ),
    Case(
        name="throttled",
        fault="AWS throttles twenty calls in a row",
        ending="success: they are repeated with growing pauses",
        act=throttle,
    ),
    Case(
        name="describe-fails",
        fault="Describe answers 500 ten times",
        ending="success: it is repeated with growing pauses",
        act=fail_describe,
    ),
    Case(
        name="resets",
        fault="ten connections to AWS are reset",
        ending="success: the calls are repeated",
        act=reset_connections,
    ),
    Case(
        name="no-capacity",
        fault="AWS has no instance twice (CapacityError), then one",
        ending="success: tried again after a pause that holds no worker; what got no instance costs nothing",
        act=have_no_instances,
        preprocess=3,
        on_sqlite=True,
    ),
    Case(
        name="quota",
        fault="the account's quota is in use",
        ending="success: the run waits, without holding a worker, until there is room",
        act=use_the_quota,
        pipeline={"preprocess.instance_type": next(iter(SCARCE_INSTANCE_TYPES))},
    ),
    Case(
        name="aws-restarted",
        fault="the service fails while a job is at work (the embedded AWS is restarted)",
        ending="success: the next attempt does what was left to do",
        act=restart_aws,
        during=job_at_work,
        transform=2,
        alone=True,
    ),
    Case(
        name="exit-1",
        fault="the model's container exits with 1",
        ending="failed at once, with the container's last log lines; a second job would end the same",
        act=break_model("exits"),
        states=("failed",),
        published=False,
    ),
    Case(
        name="hang",
        fault="the model's container hangs",
        ending="failed when the stage's time is up; the job is stopped",
        act=break_model("hangs"),
        states=("failed",),
        published=False,
        limit_seconds=LIMIT_SECONDS,
        tuning={"await_transform": {"max_runtime_seconds": LIMIT_SECONDS}},
    ),
    Case(
        name="no-ping",
        fault="the model never answers /ping",
        ending="failed once AWS gives it up, with the container's last log lines",
        act=break_model("never answers ping"),
        states=("failed",),
        published=False,
    ),
    Case(
        name="bad-object",
        fault="the model chokes on one record, so that one object of twenty has no answer (`on_bad_records: fail`)",
        ending="failed, names the object; nothing is published",
        act=run,
        states=("failed",),
        published=False,
        pipeline={"input.uri": data.INPUT_WITH_BAD_RECORD, "transform.on_bad_records": "fail"},
        conf={"transform_instance_count": 2},
    ),
    Case(
        name="bad-record",
        fault="the same with `on_bad_records: reject`, the default",
        ending="success: smaller and smaller jobs find the record, which is rejected; the rest is scored",
        act=run,
        # The job itself, the object once more, the object in pieces, the records of the piece.
        transform=4,
        bad_record=True,
        pipeline={"input.uri": data.INPUT_WITH_BAD_RECORD},
        conf={"transform_instance_count": 2},
    ),
    Case(
        name="stopped-on-aws",
        fault="somebody stops the job on AWS",
        ending="failed: it is not started again against their will",
        act=stop_on_aws,
        on_sqlite=True,
        **STOPS_EARLY,
    ),
    Case(
        name="marked-failed",
        fault="the waiting task is marked failed",
        ending="failed, the job is stopped",
        act=mark_failed,
        on_sqlite=True,
        **STOPS_EARLY,
    ),
    Case(
        name="run-marked-failed",
        fault="the run is marked failed",
        ending="failed, the job is stopped",
        act=mark_run_failed,
        **STOPS_EARLY,
    ),
    Case(
        name="cleared-at-work",
        fault="the submitting task is cleared while its job is at work",
        ending="success: the job is stopped, another one does the work",
        act=clear_while_running,
        tries={"preprocess": 2},
        preprocess=2,
    ),
    Case(
        name="plan-cleared",
        fault="`plan` is cleared, with all that follow, while a job is at work",
        ending="success: the job is stopped, those of the new plan do the work",
        act=clear_the_plan,
        tries={"preprocess": 2},
        preprocess=2,
    ),
    Case(
        name="cleared-afterwards",
        fault="a task is cleared after the run's success",
        ending="success: a new job, whose rows replace those of the first",
        act=clear_after_success,
        tries={"transform": 2, "publish": 2},
        transform=2,
    ),
    Case(
        name="sensor-cleared",
        fault="the waiting task alone is cleared after its job has completed",
        ending="success: the completed job is used, none is started",
        act=clear_the_sensor,
        tries={"await_preprocess": 2},
    ),
    Case(
        name="run-deleted",
        fault="the run is marked failed and deleted",
        ending="gone; the job is stopped, by its task or by the janitor",
        act=delete_the_run,
        **{**STOPS_EARLY, "states": (None,)},
    ),
    Case(
        name="run-timeout",
        fault="the run times out (dagrun_timeout), which skips its teardown too",
        ending="failed; the job is stopped, by its task or by the janitor",
        act=wait_for_the_runs_timeout,
        tuning={"dag": {"dagrun_timeout": timedelta(seconds=RUN_SECONDS)}},
        **STOPS_EARLY,
    ),
    Case(
        name="execution-timeout",
        fault="the waiting task's execution_timeout passes, on its second try too",
        ending="failed after the retries; each job is stopped as its time is up",
        act=hang_twice,
        preprocess=2,
        limit_seconds=LIMIT_SECONDS,
        tuning={"await_preprocess": {"execution_timeout": timedelta(seconds=LIMIT_SECONDS), "retries": 1}},
        **STOPS_EARLY,
    ),
    Case(
        name="deferral-timeout",
        fault="the sensor's timeout passes, on its second try too",
        ending="failed after the retries; each job is stopped as its time is up",
        act=hang_twice,
        preprocess=2,
        limit_seconds=LIMIT_SECONDS,
        tuning={"await_preprocess": {"timeout": LIMIT_SECONDS, "retries": 1}},
        **STOPS_EARLY,
    ),
    Case(
        name="join-put",
        fault="S3 refuses what the join wants to write",
        ending="success: the task is tried again; no job is",
        act=fail_the_joins_put,
        tries={"join": 2},
    ),
    Case(
        name="two-runs",
        fault="two runs publish to one output at once",
        ending="one is a success, the other failed: readers see one whole run",
        act=publish_at_once,
        states=("failed", "success"),
        preprocess=2,
        transform=2,
        # As if they were of two pipelines: a pipeline's own runs publish one after the other.
        tuning={"dag": {"max_active_runs": 2}, "publish": {"max_active_tis_per_dag": None}},
    ),
    *late.CASES,
    *interference.CASES,
)
