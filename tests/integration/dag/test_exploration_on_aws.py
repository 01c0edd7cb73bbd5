"""Nights of `calibrate: explore` with real jobs, on an AWS whose instance types differ in speed and memory.

Runs here last seconds, not hours: a trial is shorter, and may cost a larger share of them.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from batch_inference.aws.transform_logs import read_instance_activity
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.planning.clusters import exploration
from batch_inference.planning.clusters.rate_history import HistoryRow, build_history_rows
from batch_inference.planning.plan import Plan
from batch_inference.planning.planner import make_plan
from batch_inference.pricing.costs import StageUsage, load_prices
from batch_inference.reporting.trials import build_trials
from batch_inference.requests.sagemaker import build_config, build_manifest_file, build_planned_requests
from sagemaker_jobs.job.compare import is_trial
from sagemaker_jobs.job.describe import Job
from sagemaker_jobs.job.result import build_job_result
from sagemaker_jobs.job.spec import JobSpec, Trial
from sagemaker_jobs.job.submit import ensure_job, list_attempts
from sagemaker_jobs.kinds import TRANSFORM
from tests.integration.local_aws.servers import Server, run_server
from tests.unit.builders import context, objects, pipeline_without_preprocess, run_info

pytestmark = [pytest.mark.local_only, pytest.mark.usefixtures("aws_connection")]

SLEEPER = "local/sleeper:1"
TYPES = {
    # The faster type has vCPUs for more requests at a time, and less memory.
    "ml.m5.xlarge": {"vcpus": 6, "speed": 0.4, "memory_mb": 260},
    "ml.c5.xlarge": {"vcpus": 16, "speed": 1.0, "memory_mb": 130},
}
PRICES = {"ml.m5.xlarge": 0.23, "ml.c5.xlarge": 0.23}
OBJECTS, OBJECT_BYTES = 64, 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An embedded AWS with these types."""
    settings = {
        "provisioning_seconds": 0,
        "runner.log_flush_seconds": 0.1,
        "runner.instance_types": TYPES,
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
    monkeypatch.setattr(exploration, "TRIAL_WORK_SECONDS", 2.0)
    monkeypatch.setattr(exploration, "MAX_TRIAL_SHARE", 0.35)
    monkeypatch.setattr(exploration, "REQUESTS_PER_SLOT", 2)
    monkeypatch.setattr(exploration, "MAX_TRIAL_SLOWDOWN", 10.0)


@dataclass
class Nights:
    """The nights of one model: what they measured, and what each trial came to."""

    server: Server
    name: str
    environment: dict[str, str]
    history: list[HistoryRow] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    @property
    def pipeline(self) -> Pipeline:
        of = pipeline_without_preprocess(
            {
                "name": self.name,
                "work": "s3://data/work",
                # Neither split nor merged: a request is an object.
                "input.compression": "gzip",
                "model": {"containers": [{"image": SLEEPER, "environment": self.environment}]},
                "transform": {"instance_types": ["ml.c5.xlarge"], "max_instances": 4, "max_payload_mb": 6},
                "goals": {"calibrate": "explore"},
                "prices": PRICES,
            }
        )
        goals = of.goals.model_copy(update={"explore_share": 5.0})
        return of.model_copy(update={"goals": goals, "aws_conn_id": "embedded"})

    def plan(self) -> Plan:
        """The next night's, for objects that it takes to have a megabyte each."""
        of = self.pipeline
        return make_plan(
            of,
            RunParams(),
            objects([OBJECT_BYTES] * OBJECTS),
            run_info(region="us-east-1"),
            context(of, history=tuple(self.history)),
        )

    def run(self) -> Plan:
        """A night: the transform and its trials at the same time, each object once."""
        night, made = len({row.run_id for row in self.history}) + 1, self.plan()
        folder = f"s3://data/{self.name}/{night}/"
        picked = exploration.pick_for_trials([OBJECT_BYTES] * OBJECTS, made.trials, made.input.text_bytes)
        tried = {position for positions in picked for position in positions}
        usual = [each for each in range(OBJECTS) if each not in tried]
        lists = [(-1, usual), *((trial, positions) for trial, positions in enumerate(picked) if positions)]
        client = self.server.client("s3")
        for position in range(OBJECTS):
            key = f"{self.name}/{night}/{position}.csv.gz"
            client.put_object(Bucket="data", Key=key, Body=gzip.compress(b"1\n"))
        for at, (_, positions) in enumerate(lists):
            manifest = build_manifest_file(folder, [f"{folder}{each}.csv.gz" for each in positions])
            client.put_object(
                Bucket="data", Key=f"{self.name}/{night}-{at}.manifest", Body=json.dumps(manifest).encode()
            )
        hook = SageMakerHook(aws_conn_id="embedded")
        specs = [
            self._build_spec(
                made, f"{self.name}-{night}-{at}", f"s3://data/{self.name}/{night}-{at}.manifest", trial
            )
            for at, (trial, _) in enumerate(lists)
        ]
        for spec in specs:
            ensure_job(hook, spec)
        main, *trials = [self._wait(hook, spec) for spec in specs]
        answered = sorted(
            key.rsplit("/", 1)[1]
            for job in (main, *trials)
            for uri in job["output_uris"]
            for key in self._list(uri)
        )
        assert answered == sorted(f"{number}.csv.gz.out" for number in range(OBJECTS))
        self._keep(made, night, main, [(*each, job) for each, job in zip(lists[1:], trials, strict=True)])
        return made

    def _build_spec(self, made: Plan, name: str, source: str, trial: int) -> JobSpec:
        values = {"base_name": name, "model_name": name, "source_uri": source, "instance_count": 1}
        config = build_config(build_planned_requests(self.pipeline, made), "transform", values)
        spec = JobSpec(kind=TRANSFORM, base_name=name, request=config["Transform"], model=config["Model"])
        if trial < 0:
            return spec
        settings = made.trials[trial]
        request = {
            "MaxConcurrentTransforms": settings.max_concurrent_transforms,
            "MaxPayloadInMB": settings.max_payload_mb,
            "TransformResources": {"InstanceType": settings.instance_type},
        }
        return replace(spec, trial=Trial(request=request, max_runtime_seconds=settings.max_runtime_seconds))

    def _wait(self, hook: SageMakerHook, spec: JobSpec) -> dict[str, Any]:
        """The result once a job has completed; after a trial that failed, that of the job after it."""
        until = time.monotonic() + 120
        while True:
            job: Job = ensure_job(hook, spec)
            if job.has_ended:
                break
            assert time.monotonic() < until, job
            time.sleep(0.2)
        earlier = [each for each in list_attempts(hook, spec) if each.name != job.name]
        result = build_job_result(job, frozenset(), earlier_jobs=earlier, is_trial=is_trial(spec, job))
        return {**result, **read_instance_activity("embedded", None, result)}

    def _list(self, uri: str) -> list[str]:
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        found = self.server.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [each["Key"] for each in found["Contents"]]

    def _keep(self, made: Plan, night: int, main: Any, tried: list[tuple[int, list[int], Any]]) -> None:
        prices = load_prices().override_prices(PRICES)
        usage = StageUsage.from_job("transform", main, busy_seconds=main["busy_seconds"])
        trials = build_trials(
            made,
            [
                {"trial": trial, "share": len(each) / OBJECTS, "objects": len(each), "job": job}
                for trial, each, job in tried
            ],
            usage,
            prices,
            scored_count=OBJECTS,
        )
        self.outcomes += [each["outcome"] for each in trials]
        stage = {
            **usage.build_figures(prices, scored_count=OBJECTS),
            **made.transform.model_dump(
                include={"max_concurrent_transforms", "max_payload_mb", "batch_strategy"}
            ),
        }
        begin = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=night)
        self.history += build_history_rows(
            {
                "pipeline": self.name,
                "run_id": f"r{night}",
                "data_time": begin.isoformat(),
                "model": {"key": made.model.key},
                "input": {"text_bytes": made.input.text_bytes, "objects": OBJECTS},
                "records": {"in": OBJECTS, "scored": OBJECTS},
                "shards": OBJECTS,
                "estimate": {"transform": {"seconds": 1.0, "runs": 0}},
                "stages": [stage],
                "trials": trials,
            }
        )


def test_a_model_that_waits_gets_more_requests_at_a_time(server: Server) -> None:
    """Half a second for each request, however many there are, and longer on the slower type."""
    nights = Nights(server, "waits", {"SLEEPER_SECONDS_PER_REQUEST": "0.5"})
    first = nights.run()
    assert first.transform.max_concurrent_transforms == 4
    last = nights.plan()
    # Which night is certain enough, and whether the slower type has its eight requests first, depends on what the ones
    # before measured.
    for _ in range(10):
        if last.transform.max_concurrent_transforms > 4 and last.transform.instance_type == "ml.c5.xlarge":
            break
        nights.run()
        last = nights.plan()
    assert last.transform.max_concurrent_transforms > 4, (nights.outcomes, last.sentences)
    assert last.transform.instance_type == "ml.c5.xlarge", nights.outcomes
    assert any("less than ml.m5.xlarge with 4" in text for text in last.sentences), last.sentences


def test_a_model_that_needs_memory_keeps_to_what_is_not_killed(server: Server) -> None:
    """20 MB a request: on the faster type four at a time fit, and eight do not."""
    nights = Nights(server, "needs", {"SLEEPER_SECONDS_PER_REQUEST": "0.4", "SLEEPER_MB_PER_RECORD": "20"})
    killed: list[str] = []
    # Which night tries eight depends on what the ones before measured.
    for _ in range(10):
        nights.run()
        killed = [text for text in nights.outcomes if "more memory" in text]
        if killed:
            break
    last = nights.plan()
    assert killed, nights.outcomes
    assert all("records were scored as all others" in text for text in killed)
    used = (last.transform.instance_type, last.transform.max_concurrent_transforms)
    # Both were measured, and are about as cheap.
    assert used in (("ml.c5.xlarge", 4), ("ml.m5.xlarge", 8)), nights.outcomes
