"""What a run cost, of real jobs: completed, failed, stopped and repeated ones, trials, and those of a cleared plan."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import (
    CostPaths,
    build_job_base_name,
    build_name_token,
    generate_nonce,
    slugify_run_id,
)
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.tasks import run_costs
from batch_inference.dag.tasks.run_costs import record_run_costs
from batch_inference.dag.templates import build_run_tags
from batch_inference.planning.plan import Plan
from batch_inference.pricing.run_costs import CostMonth, CostSums, RunCost, add_up
from batch_inference.publishing.cost_records import rebuild_month
from batch_inference.requests.sagemaker import build_config, build_planned_requests
from batch_inference.run.outcomes import RunOutcome
from sagemaker_jobs.job.describe import describe_job, stop_job
from sagemaker_jobs.job.spec import JobSpec, Trial
from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.kinds import TRANSFORM
from tests.integration.local_aws.servers import Server, run_server
from tests.unit.builders import pipeline_without_preprocess, plan

pytestmark = [pytest.mark.local_only, pytest.mark.usefixtures("aws_connection")]

#: Dollars per hour: a second costs a cent and more, so that a second that is not counted is seen.
PRICES = {"ml.m5.xlarge": 36.0, "ml.c5.xlarge": 72.0}
SLEEPER = "local/sleeper:1"
RUN_ID = "scheduled__2026-01-01T02:00:00+00:00"
FAILED = RunOutcome(kind="failed", headline="it broke")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An embedded AWS that bills as exactly as Describe tells times."""
    settings = {
        "provisioning_seconds": 0,
        "billing_granularity_seconds": 0.001,
        "billing_minimum_seconds": 0,
        "runner.log_flush_seconds": 0.1,
    }
    with run_server(tmp_path_factory.mktemp("aws"), settings) as found:
        found.client("s3").create_bucket(Bucket="data")
        yield found


@pytest.fixture
def aws_connection(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection `embedded`, to the server."""
    connection = {
        "conn_type": "aws",
        "login": "test",
        "password": "test",
        "extra": {"region_name": "us-east-1", "endpoint_url": server.url},
    }
    monkeypatch.setenv("AIRFLOW_CONN_EMBEDDED", json.dumps(connection))
    monkeypatch.setattr(run_costs, "STOP_POLL_SECONDS", 0.1)


class Night:
    """A run of a pipeline whose jobs are submitted one by one, as its tasks and their retries do."""

    def __init__(self, server: Server, name: str, run_id: str = RUN_ID) -> None:
        self.server, self.hook, self.storage = (
            server,
            SageMakerHook(aws_conn_id="embedded"),
            Storage("embedded"),
        )
        self.dag_run = SimpleNamespace(
            run_id=run_id, run_type="scheduled", start_date=datetime.now(UTC) - timedelta(seconds=5)
        )
        self.pipeline: Pipeline = pipeline_without_preprocess(
            {
                "name": name,
                "work": "s3://data/work",
                "model": {"containers": [{"image": SLEEPER}]},
                "transform": {"instance_types": list(PRICES), "max_instances": 2},
                "prices": PRICES,
                "tags": {"team": "risk"},
            }
        )
        self.pipeline = self.pipeline.model_copy(update={"aws_conn_id": "embedded"})
        self.paths = CostPaths(f"s3://data/work/{name}/")
        self.plan = self.make_plan()

    def make_plan(self) -> Plan:
        """A plan of the run, with a nonce of its own, in its plan.json."""
        of = plan(of=self.pipeline)
        prefix = f"{self.paths.root}{slugify_run_id(self.dag_run.run_id)}/"
        made = of.model_copy(
            update={
                "nonce": generate_nonce(),
                "run_prefix": prefix,
                "prices": PRICES,
                "aws_conn_id": "embedded",
            }
        )
        self.storage.write_json(f"{prefix}plan.json", made.to_plan_json(self.pipeline, {}))
        return made

    def submit(self, task_id: str, seconds: float, *, trial: Trial | None = None, **changes: Any) -> JobSpec:
        """The spec of a job of one instance, or as `changes` say, that takes so long; its first attempt runs."""
        name = build_job_base_name(
            pipeline=self.pipeline.name, step="transform", nonce=self.plan.nonce, task_id=task_id
        )
        source = f"{self.plan.run_prefix}{task_id}.csv"
        self.storage.write(source, "1\n")
        values = {"base_name": name, "model_name": name, "source_uri": source, "instance_count": 1}
        request = build_config(build_planned_requests(self.pipeline, self.plan), "transform", values)
        model, transform = request["Model"], request["Transform"]
        transform["TransformInput"]["DataSource"]["S3DataSource"]["S3DataType"] = "S3Prefix"
        transform["TransformResources"] |= {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, **changes}
        container = model.get("PrimaryContainer") or model["Containers"][0]
        container["Environment"] = {"SLEEPER_SECONDS_PER_REQUEST": str(seconds)}
        tags = build_run_tags(self.pipeline.name, self.dag_run.run_id, "model")
        transform["Tags"] = [
            *transform.get("Tags", []),
            *({"Key": key, "Value": value} for key, value in tags.items()),
        ]
        spec = JobSpec(kind=TRANSFORM, base_name=name, request=transform, model=model, trial=trial)
        ensure_job(self.hook, spec)
        return spec

    def wait(self, spec: JobSpec, attempt: int = 1, *, status: str | None = None) -> str:
        """The name of a job of the spec once it has ended, or is in the state `status`."""
        until = time.monotonic() + 120
        while True:
            job = describe_job(self.hook, TRANSFORM, spec.build_job_name(attempt))
            assert job is not None
            if (
                job.has_ended
                if status is None
                else job.status == status and "TransformStartTime" in job.description
            ):
                return job.name
            assert time.monotonic() < until, job
            time.sleep(0.1)

    def record(self, outcome: RunOutcome = FAILED, *, is_plan_known: bool = True) -> RunOutcome:
        """What `clean_up` does."""
        return record_run_costs(
            outcome, self.pipeline.name, self.plan if is_plan_known else None, aws_conn_id="embedded", region=None,
            runs_prefix=self.paths.root, dag_id=self.pipeline.name, dag_run=self.dag_run,
        )  # fmt: skip

    @property
    def bill(self) -> float:
        """Dollars for all jobs of the pipeline, by the server's own record."""
        return sum(
            row["billed_instance_seconds"] * PRICES[row["instance_type"]] / 3600
            for row in self.server.local("GET", "usage")["jobs"]
            if row["name"].startswith(f"{self.pipeline.name}--")
        )

    def sum_months(self) -> CostSums:
        """The sums of all months of the pipeline."""
        months = [
            CostMonth.from_document(self.storage.read_json(uri))
            for uri in self.storage.list_uris(self.paths.months)
        ]
        return add_up(day.sums for month in months if month for day in month.days)


def test_a_month_agrees_with_the_bill_to_the_cent(server: Server) -> None:
    """A failed run: a completed job, one that was killed and then stopped, and a trial; another run beside it."""
    night = Night(server, "bill")
    usual = night.submit("transform", 1.0, InstanceCount=2)
    tried = night.submit(
        "transform_trial", 0.5,
        trial=Trial(request={"TransformResources": {"InstanceType": "ml.c5.xlarge"}}, max_runtime_seconds=60),
    )  # fmt: skip
    long = night.submit("transform_2", 600.0)
    night.wait(usual), night.wait(tried)
    running = night.wait(long, status="InProgress")
    server.client("sagemaker").stop_transform_job(TransformJobName=running)
    stopped = night.record()
    assert stopped.dollars == pytest.approx(night.bill, abs=0.005)
    assert night.sum_months().dollars == pytest.approx(night.bill, abs=0.005)
    assert night.bill > 0.05
    assert (night.sum_months().runs, night.sum_months().unpublished_runs, night.sum_months().jobs) == (
        1,
        1,
        3,
    )
    assert night.sum_months().unpublished_dollars == night.sum_months().dollars
    # The work of the two jobs that answered is known from their logs.
    assert stopped.billed_seconds is not None
    assert stopped.idle_seconds is not None
    assert 0 < stopped.idle_seconds < stopped.billed_seconds

    # `clean_up` is cleared: nothing counts twice.
    assert night.record() == stopped
    # The next run of the same pipeline, which publishes.
    following = Night(server, "bill", "scheduled__2026-01-02T02:00:00+00:00")
    following.wait(following.submit("transform", 0.5))
    following.record(RunOutcome(kind="published", headline="done", records={"scored": 1000}))
    sums = night.sum_months()
    assert (sums.runs, sums.unpublished_runs, sums.records) == (2, 1, 1000)
    assert sums.dollars == pytest.approx(night.bill, abs=0.005)
    for uri in night.storage.list_uris(night.paths.months):
        assert rebuild_month(night.storage, night.paths, "bill", uri[-12:-5]).days
    assert night.sum_months() == sums


def test_a_retried_job_and_those_of_a_cleared_plan_count(server: Server) -> None:
    """The plan ran again in the same run, and then failed: jobs are found by their tags."""
    night = Night(server, "again")
    spec = night.submit("transform", 600.0)
    stop_job(
        night.hook, TRANSFORM, night.wait(spec, status="InProgress"), because="its Airflow worker was lost"
    )
    night.wait(spec)
    assert ensure_job(night.hook, spec).name == spec.build_job_name(2)
    stop_job(night.hook, TRANSFORM, night.wait(spec, 2, status="InProgress"), because="its task was cleared")
    night.plan = night.make_plan()
    night.wait(night.submit("transform", 0.2))
    assert night.record().dollars == pytest.approx(night.bill, abs=0.005)
    assert night.sum_months().jobs == 3
    night.plan = night.make_plan()
    assert night.record(is_plan_known=False).dollars == pytest.approx(night.bill, abs=0.005)
    assert night.sum_months().dollars == pytest.approx(night.bill, abs=0.005)


def test_a_job_that_is_still_stopping_is_counted_to_its_end_by_the_next_run(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS bills it until it ends, and no run waits for ever."""
    monkeypatch.setattr(run_costs, "STOP_TIMEOUT_SECONDS", 0.0)
    night = Night(server, "slow")
    name = night.wait(night.submit("transform", 600.0), status="InProgress")
    first = night.record().dollars
    token = build_name_token(night.plan.nonce)
    (uri,) = night.storage.list_uris(night.paths.records)
    assert token in uri
    assert RunCost.model_validate(night.storage.read_json(uri)).jobs[0].ended_at is None
    stop_job(night.hook, TRANSFORM, name, because="its run has ended")
    night.wait(JobSpec(kind=TRANSFORM, base_name=name.rpartition("-")[0], request={"TransformJobName": name}))
    following = Night(server, "slow", "scheduled__2026-01-02T02:00:00+00:00")
    following.wait(following.submit("transform", 0.2))
    following.record()
    assert first is not None
    assert first < night.sum_months().dollars == pytest.approx(night.bill, abs=0.005)


def test_a_run_without_a_job_costs_nothing_and_has_no_record(server: Server) -> None:
    """It failed in its plan."""
    night = Night(server, "none")
    outcome = night.record()
    assert (outcome.dollars, outcome.billed_seconds) == (0.0, 0.0)
    assert night.storage.list_uris(night.paths.months) == []
