"""`make bench-overhead`: the time of a run without its jobs: a pipeline's DAG against stock operators, the same jobs.

Airflow's own processes (api-server, scheduler with LocalExecutor, triggerer, dag-processor, SQLite) run on this machine
with the settings of `make up`, and the embedded AWS runs the jobs. Both DAGs look at a job first after two seconds, and
then every two seconds. They run in turns. A run's overhead is its time from trigger to end without the times from each
job's creation to its end. Printed are the median run of each DAG, task by task, and the ratio.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from batch_inference.cli.laptop.airflow_processes import AirflowProcesses, find_free_ports
from batch_inference.cli.laptop.environment import (
    LaptopError,
    build_airflow_environment,
    create_client,
    create_s3_client,
    run_embedded_aws,
    start_migration,
    wait_for_migration,
)
from batch_inference.cli.laptop.sample import (
    SAMPLE_PIPELINE,
    create_buckets_and_role,
    make_sample,
    upload_sample,
)
from batch_inference.common.names import RunPaths
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.config.pipeline import load_pipeline
from batch_inference.planning.plan import REQUESTS_KEY
from batch_inference.requests.sagemaker import JOB_NAME_TOKEN, build_config, replace_tokens
from tools.checkout import REPO

OURS, STOCK = SAMPLE_PIPELINE, "stock"
ROWS = 2_000
POLL_SECONDS = 2
PAUSE_SECONDS = 3  # between two runs, in which the machine gets idle
RUN_SECONDS = 300
OUR_DAG_FILE = f"""# Has Airflow look at a job as often as the stock DAG does.
from batch_inference import build_scoring_dag

dag = build_scoring_dag("{OURS}", folder="../include/pipelines")
for task in dag.tasks:
    if hasattr(task, "max_poll_seconds"):
        task.max_poll_seconds = {POLL_SECONDS}
"""
STOCK_DAG_FILE = Path(__file__).with_name("stock_dag.py")


@dataclass
class TaskTimes:
    """The events of a task, in turns that it runs and how it goes on, in seconds after the run was triggered."""

    name: str
    events: list[tuple[str, float]] = field(default_factory=list)

    @property
    def start(self) -> float:
        """When it began first."""
        return self.events[0][1]


@dataclass(frozen=True)
class RunTimes:
    """One run: seconds from trigger to end, creation and end of each job, its tasks in the order of their starts."""

    total: float
    jobs: dict[str, tuple[float, float]]
    tasks: list[TaskTimes]

    @property
    def overhead(self) -> float:
        """Seconds without a job."""
        return self.total - sum(end - start for start, end in self.jobs.values())

    def format_tasks(self) -> Iterator[str]:
        """A table: a line for each process of a task and each job, with the time since the latest end before it."""
        rows = [(f"job {name}", *times, "") for name, times in self.jobs.items()]
        for task in self.tasks:
            for (_, start), (event, end) in zip(task.events[::2], task.events[1::2], strict=True):
                rows.append((task.name, start, end, "" if event == "success" else event))
        rows.sort(key=lambda row: row[1])
        ends = [0.0, *(row[2] for row in rows)]
        yield f"    {'':<24}{'waits':>8}{'begins':>8}{'ends':>8}{'takes':>8}"
        for name, start, end, event in rows:
            waited = start - max(each for each in ends if each <= start)
            yield f"    {name:<24}{waited:>8.2f}{start:>8.2f}{end:>8.2f}{end - start:>8.2f}  {event}".rstrip()
        yield f"    {'end of the run':<24}{self.total - max(ends):>8.2f}{self.total:>8.2f}"


class Bench:
    """A running Airflow and the embedded AWS with both DAGs' folder."""

    def __init__(self, airflow: AirflowProcesses, endpoint: str, root: Path) -> None:
        self.airflow, self.root = airflow, root
        self.s3, self.sagemaker = create_s3_client(endpoint), create_client("sagemaker", endpoint)
        self.pipeline = load_pipeline(root / "include" / "pipelines" / f"{OURS}.yaml")

    def deploy(self, dag_id: str) -> None:
        """Have the scheduler run a DAG whose file is there."""
        self.airflow.wait_for_dag(dag_id)
        self.airflow.api.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def deploy_stock(self, run_id: str) -> None:
        """Write the stock DAG with the jobs that this run of the pipeline has planned."""
        paths = RunPaths.from_run_id(work=self.pipeline.work, pipeline=OURS, run_id=run_id)
        bucket, key = split_s3_uri(paths.plan)
        plan = json.loads(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        mine = f"s3://{bucket}/{{{{ ti.xcom_pull('plan') }}}}"
        values = {
            "base_name": "stock-{stage}", "model_name": "stock-model", "source_uri": f"{mine}preprocess/features/",
        }  # fmt: skip
        configs = {
            stage: replace_tokens(
                build_config(plan[REQUESTS_KEY], stage, values), {JOB_NAME_TOKEN: "{stage}", "{stage}": stage}
            )
            for stage in ("preprocess", "transform")
        }
        for given in configs["preprocess"]["ProcessingInputs"]:
            if given["S3Input"]["S3DataType"] == "ManifestFile":
                given["S3Input"]["S3Uri"] = f"{mine}input.manifest"
        configs["preprocess"]["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] = (
            f"{mine}preprocess/"
        )
        configs["transform"]["Transform"]["TransformOutput"]["S3OutputPath"] = f"{mine}predictions/"
        source = split_s3_uri(self.pipeline.input.uri)[1]
        requests = {"bucket": bucket, "input": source, "poll_seconds": POLL_SECONDS, **configs}
        (self.root / "dags" / "stock.json").write_text(json.dumps(requests))
        shutil.copy(STOCK_DAG_FILE, self.root / "dags" / "stock.py")
        self.deploy(STOCK)

    def run(self, dag_id: str) -> tuple[str, RunTimes]:
        """Trigger a run and wait for its end; its id and times. Raises LaptopError when it has not succeeded."""
        time.sleep(PAUSE_SECONDS)
        api = self.airflow.api
        run_id = api.call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None})["dag_run_id"]
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
        deadline = time.monotonic() + RUN_SECONDS
        while (run := api.call("GET", path))["state"] not in ("success", "failed"):
            self.airflow.raise_if_dead()
            if time.monotonic() > deadline:
                raise LaptopError(f"{dag_id} {run_id} has not ended after {RUN_SECONDS} s")
            time.sleep(1)
        if run["state"] != "success":
            raise LaptopError(
                f"{dag_id} {run_id} has failed; its logs are below {self.airflow.home / 'logs'}"
            )
        return run_id, self.read_times(dag_id, run)

    def read_times(self, dag_id: str, run: Mapping[str, Any]) -> RunTimes:
        """The times of a run that has ended."""
        began = datetime.fromisoformat(run["queued_at"])

        def count_seconds(moment: str | datetime) -> float:
            return (
                (datetime.fromisoformat(moment) if isinstance(moment, str) else moment) - began
            ).total_seconds()

        tasks: dict[tuple[str, int], TaskTimes] = {}
        query = (
            f"/eventLogs?dag_id={dag_id}&run_id={quote(run['dag_run_id'], safe='')}&limit=200&order_by=when"
        )
        for event in self.airflow.api.call("GET", query)["event_logs"]:
            if event["task_id"] is not None:
                key = event["task_id"], event["map_index"]
                tasks.setdefault(key, TaskTimes(event["task_id"]))
                tasks[key].events.append((event["event"], count_seconds(event["when"])))
        total = count_seconds(run["end_date"])
        jobs = {}
        for kind, started in (("processing", "ProcessingEndTime"), ("transform", "TransformEndTime")):
            answer = getattr(self.sagemaker, f"list_{kind}_jobs")(CreationTimeAfter=began)
            for job in answer[f"{kind.title()}JobSummaries"]:
                jobs[kind] = count_seconds(job["CreationTime"]), count_seconds(job[started])
        return RunTimes(total, jobs, sorted(tasks.values(), key=lambda task: task.start))


@contextmanager
def open_bench(folder: Path) -> Iterator[Bench]:
    """Start Airflow and the embedded AWS with the sample, and with the pipeline's DAG alone."""
    root, sample = folder / "deployed", folder / "sample"
    make_sample(sample, rows=ROWS)
    for name in ("plugins", "include"):
        shutil.copytree(REPO / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "dags").mkdir()
    file = root / "include" / "pipelines" / f"{OURS}.yaml"
    document = {**yaml.safe_load(file.read_text()), "schedule": None}
    file.write_text(yaml.safe_dump(document))
    (root / "dags" / f"{OURS}.py").write_text(OUR_DAG_FILE)
    with run_embedded_aws(folder / "aws", settings={"provisioning_seconds": "0"}) as endpoint:
        environment = build_airflow_environment(folder / "airflow", endpoint, root=root)
        wait_for_migration(start_migration(environment), environment)
        airflow = AirflowProcesses(environment, api_port=find_free_ports(1)[0])
        bench = Bench(airflow, endpoint, root)
        create_buckets_and_role(bench.s3, bench.pipeline)
        upload_sample(bench.s3, bench.pipeline, sample)
        try:
            airflow.start()
            airflow.wait_until_healthy()
            bench.deploy(OURS)
            yield bench
        finally:
            airflow.stop()


def main() -> int:
    """Run both DAGs in turns and print their times; the exit status."""
    parser = argparse.ArgumentParser(prog="make bench-overhead", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each DAG (default: 5)")
    run_count = parser.parse_args().runs
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bench-overhead-") as folder,
            open_bench(Path(folder)) as bench,
        ):
            bench.deploy_stock(bench.run(OURS)[0])
            bench.run(STOCK)
            times: dict[str, list[RunTimes]] = {OURS: [], STOCK: []}
            for _ in range(run_count):
                for dag_id, runs in times.items():
                    runs.append(bench.run(dag_id)[1])
    except LaptopError as error:
        print(f"make bench-overhead: {error}", file=sys.stderr)
        return 1
    for dag_id, runs in times.items():
        median = sorted(runs, key=lambda run: run.overhead)[(len(runs) - 1) // 2]
        print(f"\n{dag_id}: median run of {len(runs)}, seconds after its trigger\n")
        print("\n".join(median.format_tasks()))
    print("\nrun minus its jobs, seconds")
    medians = {dag_id: statistics.median(run.overhead for run in runs) for dag_id, runs in times.items()}
    for dag_id, runs in times.items():
        each = ", ".join(f"{run.overhead:.1f}" for run in runs)
        print(f"    {dag_id:<12}{medians[dag_id]:>6.1f}   {len(runs[0].tasks)} tasks   ({each})")
    print(f"    {'ratio':<12}{medians[OURS] / medians[STOCK]:>6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
