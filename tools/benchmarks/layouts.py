"""`make bench-layouts`: bills jobs planned without preprocessing, and naive ones, on the embedded AWS.

The model sleeps for a fixed time per record, so that instances run in parallel on any machine. Each of four inputs is
planned, cut and listed by the tasks' own code and transformed; a naive job transforms the same input unsplit, on the
maximum number of instances. The billed seconds come from the embedded AWS's usage record.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import random
import sys
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from urllib.request import urlopen

import yaml

from batch_inference.cli.laptop.environment import LaptopError, build_airflow_environment
from tools.benchmarks.embedded_aws import BUCKET, ROLE, Server, run_server
from tools.checkout import REPO

MAX_INSTANCES = 4
RECORD_BYTES = 20_000  # bytes
SECONDS_PER_REQUEST = 0.05  # seconds that each request takes besides its records


@dataclass(frozen=True, slots=True)
class Input:
    """Records in each object, by key, and whether objects are packed by gzip."""

    name: str
    records: Mapping[str, int]
    is_gzip: bool = False


def build_inputs(record_count: int) -> list[Input]:
    """Four inputs of about so many records each."""
    draw = random.Random(20)  # noqa: S311 - sizes of a benchmark
    weights = [draw.lognormvariate(0, 1.2) for _ in range(24)]
    skewed = [max(1, round(record_count * weight / sum(weights))) for weight in weights]
    day = [max(1, round(record_count * (1.2 + abs(12 - hour) / -12) / 17)) for hour in range(24)]
    return [
        Input("one large object", {"all.csv": max(record_count, 5 * 2**20 // RECORD_BYTES + 50)}),
        Input("tiny objects", {f"{at:04d}.csv": 1 for at in range(record_count)}),
        Input("log-normal, gzip", {f"{at:02d}.csv.gz": count for at, count in enumerate(skewed)}, is_gzip=True),
        Input("hours of a day, gzip", {f"hour={at:02d}/a.csv.gz": count for at, count in enumerate(day)}, is_gzip=True),
    ]  # fmt: skip


class FakeTaskInstance:
    """As much of a task instance as the tasks' bodies take: one XCom for each key, and no state in Airflow."""

    dag_id, run_id, task_id, try_number = "bench", "bench", "plan", 1

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_pull(self, _task_id: str, key: str = "return_value") -> Any:
        return self.xcoms.get(key)

    def xcom_push(self, *, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def get_task_states(self, **_: Any) -> dict[str, dict[str, str | None]]:
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where it runs, and how long the model takes."""

    server: Server
    seconds_per_record: float
    start_seconds: float

    def prepare_pipeline(self, number: int, bench_input: Input) -> str:
        """Upload the objects, make the model, write the pipeline and what earlier runs of it measured; its name."""
        from batch_inference.aws.s3 import Storage
        from batch_inference.config.pipeline_files import load_pipeline_by_id
        from batch_inference.planning.clusters.rate_history import HistoryRow
        from batch_inference.publishing.measured_rates import add_run_to_rate_history

        name, s3, draw = f"bench-{number}", self.server.s3, random.Random(number)  # noqa: S311 - contents
        at = 0
        for key, count in bench_input.records.items():
            # Digits at random shrink to about half, whatever is beside them, so packed sizes tell of records too.
            lines = "".join(
                f"{at + each:09d},{draw.randbytes((RECORD_BYTES - 11) // 2).hex()}\n" for each in range(count)
            ).encode()
            at += count
            self.server.put(f"{name}/in/{key}", gzip.compress(lines) if bench_input.is_gzip else lines)
        environment = {
            "SLEEPER_SECONDS_PER_RECORD": str(self.seconds_per_record),
            "SLEEPER_SECONDS_PER_REQUEST": str(SECONDS_PER_REQUEST),
            "SLEEPER_START_SECONDS": str(self.start_seconds),
        }
        self.server.create_model(name, "sleeper:1", Environment=environment)
        document = {
            "name": name,
            "role": ROLE,
            "work": f"s3://{BUCKET}/work",
            "input": {
                "uri": f"s3://{BUCKET}/{name}/in/",
                "columns": [{"name": "id"}, {"name": "text"}],
                "compression": "gzip" if bench_input.is_gzip else "none",
            },
            "output": {"uri": f"s3://{BUCKET}/{name}/out/"},
            "model": {"name": name},
            "transform": {
                "max_instances": MAX_INSTANCES, "max_concurrent_transforms": 1, "max_payload_mb": 1,
                "accept": "text/csv",
            },
            "predictions": {"format": "csv", "fields": {"0": "length"}},
            "goals": {"prefer": "speed"},
        }  # fmt: skip
        (self.server.folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
        # Three runs that agree, of the bytes that the plan takes packed objects to hold.
        objects = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{name}/in/")["Contents"]
        stored = sum(each["Size"] for each in objects)
        size = stored * 4 if bench_input.is_gzip else stored
        busy = self.seconds_per_record * sum(bench_input.records.values())
        rows = [
            HistoryRow(
                pipeline=name, run_id=f"earlier-{day}", data_time=(datetime.now(UTC) - timedelta(days=day)).isoformat(),
                stage="transform", instance_type="ml.m5.xlarge", instance_count=1, model=name, bytes=size,
                records=1, objects=1, provisioning_seconds=1.0, running_seconds=busy + self.start_seconds,
                busy_seconds=busy, start_seconds=self.start_seconds, predicted_seconds=None, dollars=None,
            )
            for day in (1, 2, 3)
        ]  # fmt: skip
        add_run_to_rate_history(Storage("aws_default"), load_pipeline_by_id(name), "0" * 16, rows)
        return name

    def plan_and_cut(self, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The plan and the jobs' lists, by the tasks' own code."""
        from batch_inference.dag.tasks.cut_input import cut_input, write_manifests
        from batch_inference.dag.tasks.plan import plan_run

        ti, now = FakeTaskInstance(), datetime.now(UTC)
        run: Any = SimpleNamespace(conf={}, run_id="bench", data_interval_start=now)
        made: Any = plan_run(name, params={}, dag_run=run, ti=ti)
        ti.xcom_push(key="return_value", value=made)
        cut_input(name, ti=ti)
        return made, write_manifests(name, ti=ti)

    def transform(self, name: str, job: str, source: Mapping[str, str], instances: int, packed: bool) -> None:
        """One transform job, to its end."""
        self.server.transform(
            job, name, instances=instances, source=source, compression="Gzip" if packed else "None",
            MaxConcurrentTransforms=1, MaxPayloadInMB=1, BatchStrategy="MultiRecord",
        )  # fmt: skip
        self.server.wait_for_job("Transform", job, pause=0.3)

    def count_predictions(self, jobs: list[str]) -> int:
        """Lines that these jobs wrote."""
        s3, lines = self.server.s3, 0
        for job in jobs:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{job}/out/")
            for entry in (each for page in pages for each in page.get("Contents", ())):
                lines += s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read().count(b"\n")
        return lines

    def get_billed_instance_seconds(self, jobs: list[str]) -> float:
        """Their billed seconds in all, by the embedded AWS's record."""
        with urlopen(f"{self.server.url}/_local/usage?kind=transform") as answer:
            used = {job["name"]: job["billed_instance_seconds"] for job in json.load(answer)["jobs"]}
        return float(sum(used[job] for job in jobs))


@dataclass(frozen=True, slots=True)
class Measured:
    """Billed instance-seconds of one input; `lower_bound_instance_seconds` counts start-ups and records only."""

    name: str
    layout_mode: str
    jobs: int
    instances: int
    planned_instance_seconds: float
    naive_instance_seconds: float
    lower_bound_instance_seconds: float


def measure(bench: Bench, number: int, bench_input: Input) -> Measured:
    """Both runs of one input, side by side: what the model does costs this machine nothing."""
    name = bench.prepare_pipeline(number, bench_input)
    plan, jobs = bench.plan_and_cut(name)
    ours = [f"{name}-ours-{at}" for at in range(len(jobs))]
    naive = f"{name}-naive"
    sources = [{"S3DataType": "ManifestFile", "S3Uri": job["manifest"]} for job in jobs]
    unsplit_source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{name}/in/"}
    with ThreadPoolExecutor(MAX_INSTANCES + 1) as pool:
        asked = [
            (job, source, int(listed["instance_count"]))
            for job, source, listed in zip(ours, sources, jobs, strict=True)
        ]
        asked.append((naive, unsplit_source, MAX_INSTANCES))
        running = [pool.submit(bench.transform, name, *each, bench_input.is_gzip) for each in asked]
        for each in running:
            each.result()
    records = sum(bench_input.records.values())
    for run in (ours, [naive]):
        if (lines := bench.count_predictions(run)) != records:
            raise LaptopError(f"{', '.join(run)} returned {lines} predictions for {records} records")
    instances = sum(job["instance_count"] for job in jobs)
    return Measured(
        bench_input.name, plan["layout"]["mode"], len(jobs), instances,
        bench.get_billed_instance_seconds(ours), bench.get_billed_instance_seconds([naive]),
        instances * bench.start_seconds + bench.seconds_per_record * records,
    )  # fmt: skip


def render_table(rows: list[Measured]) -> str:
    """The rows as Markdown."""
    lines = [
        "| input | layout | jobs | instances | planned | naive | bound | planned ÷ bound | naive ÷ planned |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row.name} | {row.layout_mode} | {row.jobs} | {row.instances} | {row.planned_instance_seconds:,.0f} | "
        f"{row.naive_instance_seconds:,.0f} | {row.lower_bound_instance_seconds:,.0f} | "
        f"{row.planned_instance_seconds / row.lower_bound_instance_seconds:.2f} | "
        f"{row.naive_instance_seconds / row.planned_instance_seconds:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def run_bench(
    record_count: int, seconds_per_record: float, start_seconds: float, positions: list[int] | None = None
) -> list[Measured]:
    """All inputs, or those at these positions, one after the other on one embedded AWS."""
    with run_server() as server:
        environment = build_airflow_environment(server.folder / "airflow", server.url, root=REPO)
        environment["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"
        logging.disable(logging.INFO)
        try:
            with (
                patch.dict(os.environ, environment),
                patch("batch_inference.config.pipeline_files._FOLDERS", defaultdict(lambda: server.folder)),
            ):
                bench = Bench(
                    server=server, seconds_per_record=seconds_per_record, start_seconds=start_seconds
                )
                rows = []
                for number, given in enumerate(build_inputs(record_count)):
                    if positions is None or number in positions:
                        rows.append(measure(bench, number, given))
                        print(f"{given.name}: done", file=sys.stderr)
                return rows
        finally:
            logging.disable(logging.NOTSET)


def main() -> int:
    """Print the table; the exit status is 0 if every planned run was billed less than the naive one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=400, help="records per input")
    parser.add_argument("--per-record", type=float, default=0.25, help="seconds the model takes per record")
    parser.add_argument("--start", type=float, default=3.0, help="seconds the model takes to start")
    arguments = parser.parse_args()
    rows = run_bench(arguments.records, arguments.per_record, arguments.start)
    print(render_table(rows))
    return 0 if all(row.planned_instance_seconds < row.naive_instance_seconds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
