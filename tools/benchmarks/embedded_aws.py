"""`make bench-local-aws`: measures latency, throughput and memory of the embedded AWS on this machine.

It starts a server in a temporary directory, without provisioning delay, and calls it over HTTP with plain boto3. The
four busy instances run the sleeper image, which uses no CPU. `--quick` takes less than half a minute and is less
precise; `--mb` sets the size of the transform's one object.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import statistics
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from batch_inference.cli.laptop.environment import LaptopError, create_client, run_embedded_aws_process

ROLE = "arn:aws:iam::123456789012:role/service-role/bench"
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com/local"
BUCKET = "bench"
LINE = b"0.455,0.365,0.095,0.514,0.2245,0.101,0.15,15,0123456789\n"
MB = 1_000_000
TERMINAL = ("Completed", "Failed", "Stopped")
ECHO = """
def model_fn(folder):
    return None

def input_fn(body, content_type):
    return body

def predict_fn(data, model):
    return data

def output_fn(data, accept):
    return data, accept
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `goal` is an upper limit in the same unit."""

    name: str
    value: float
    unit: str
    goal: float | None = None

    def __str__(self) -> str:
        goal = ""
        if self.goal is not None:
            goal = f"< {self.goal:g} {self.unit}{', missed' if self.value >= self.goal else ''}"
        return f"{self.name:<52}{f'{self.value:.2f} {self.unit}':>14}   {goal}".rstrip()


class Server:
    """A running embedded AWS with a bucket, clients of it, and the folder of all that belongs to the bench."""

    def __init__(self, pid: int, url: str, folder: Path) -> None:
        self.pid, self.url, self.folder = pid, url, folder
        config = Config(retries={"total_max_attempts": 1}, read_timeout=120)
        self.sagemaker = create_client("sagemaker", url, config=config)
        self.s3 = create_client("s3", url, config=config)
        self.s3.create_bucket(Bucket=BUCKET)

    def wait_for_job(
        self, kind: str, name: str, expected_status: str = "Completed", *, pause: float = 0.02
    ) -> dict[str, Any]:
        """Ask until the job has ended; raises LaptopError when it ended otherwise."""
        describe = getattr(self.sagemaker, f"describe_{kind.lower()}_job")
        while True:
            job: dict[str, Any] = describe(**{f"{kind}JobName": name})
            status = job[f"{kind}JobStatus"]
            if status == expected_status:
                return job
            if status in TERMINAL:
                raise LaptopError(
                    f"{name} ended {status}, expected {expected_status}: {job.get('FailureReason')}"
                )
            time.sleep(pause)

    def create_model(self, name: str, image: str, **more: Any) -> None:
        """A model of one of the images of this machine."""
        container = {"Image": f"{REGISTRY}/{image}", **more}
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)

    def transform(
        self,
        name: str,
        model: str,
        *,
        instances: int = 1,
        source: Mapping[str, str] | None = None,
        compression: str = "None",
        **changes: Any,
    ) -> None:
        """Start a transform of `source`, an S3DataSource, or else of `<name>/in/`, to `<name>/out/`."""
        default_source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{name}/in/"}
        self.sagemaker.create_transform_job(
            TransformJobName=name, ModelName=model,
            TransformInput={
                "DataSource": {"S3DataSource": source or default_source}, "ContentType": "text/csv",
                "SplitType": "Line", "CompressionType": compression,
            },
            TransformOutput={
                "S3OutputPath": f"s3://{BUCKET}/{name}/out/", "Accept": "text/csv", "AssembleWith": "Line",
            },
            TransformResources={"InstanceType": "ml.m5.xlarge", "InstanceCount": instances},
            **changes,
        )  # fmt: skip

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)


@contextmanager
def run_server(settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server on a port of the system's choice, ended and removed afterwards, with the folder."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data_dir = Path(folder, "aws")
        with run_embedded_aws_process(data_dir, settings=settings) as (process, url):
            yield Server(process.pid, url, data_dir.parent)


def measure_describe(server: Server, name: str, calls: int, state: str) -> list[Row]:
    """p50 and p99 of DescribeTransformJob, as a client sees them."""
    times = []
    for _ in range(calls):
        before = time.perf_counter()
        server.sagemaker.describe_transform_job(TransformJobName=name)
        times.append((time.perf_counter() - before) * 1000)
        time.sleep(0.005)  # a client that polls, not one that floods
    p99 = statistics.quantiles(times, n=100, method="inclusive")[98]
    return [
        Row(f"DescribeTransformJob, {state}, {percentile}", value, "ms", 20)
        for percentile, value in (("p50", statistics.median(times)), ("p99", p99))
    ]


def bench_describe(server: Server, calls: int) -> Iterator[Row]:
    """Idle, about a job that has ended; then while four instances are at work, about that job."""
    server.create_model("sleeper", "sleeper:1", Environment={"SLEEPER_SECONDS_PER_RECORD": "0.5"})
    server.put("idle/in/a.csv", LINE)
    server.transform("idle", "sleeper")
    server.wait_for_job("Transform", "idle")
    yield from measure_describe(server, "idle", calls, "idle")

    for number in range(4):
        server.put(f"busy/in/{number}.csv", LINE * 4000)
    server.transform("busy", "sleeper", instances=4, BatchStrategy="SingleRecord", MaxConcurrentTransforms=4)
    while "TransformStartTime" not in server.sagemaker.describe_transform_job(TransformJobName="busy"):
        time.sleep(0.02)
    time.sleep(2)  # containers start and answer /ping
    rows = measure_describe(server, "busy", calls, "four busy instances")
    if server.sagemaker.describe_transform_job(TransformJobName="busy")["TransformJobStatus"] != "InProgress":
        raise LaptopError("the job of four instances ended before Describe was measured")
    server.sagemaker.stop_transform_job(TransformJobName="busy")
    server.wait_for_job("Transform", "busy", "Stopped")
    yield from rows


def bench_empty_jobs(server: Server, count: int) -> Iterator[Row]:
    """From the call of Create to the first Describe that says Completed; medians."""
    server.create_model("empty", "sleeper:1")
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    seconds: dict[str, list[float]] = {"Processing": [], "Transform": []}
    for number in range(count):
        name = f"empty-{number}"
        server.put(f"{name}/in/a.csv", LINE)
        before = time.perf_counter()
        server.sagemaker.create_processing_job(
            ProcessingJobName=name,
            RoleArn=ROLE,
            AppSpecification={"ImageUri": f"{REGISTRY}/script:1", "ContainerEntrypoint": ["true"]},
            ProcessingResources={"ClusterConfig": cluster},
        )
        server.wait_for_job("Processing", name)
        between = time.perf_counter()
        server.transform(name, "empty")
        server.wait_for_job("Transform", name)
        seconds["Processing"].append(between - before)
        seconds["Transform"].append(time.perf_counter() - between)
    processing, transform = map(statistics.median, seconds.values())
    yield Row("processing job, empty container, create to completed", processing, "s")
    yield Row("transform job, one record, create to completed", transform, "s")


def bench_throughput(server: Server, mb: int) -> Iterator[Row]:
    """One object of lines through a container that gives them back; both directions through this server's S3."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("code/inference.py")
        member.size = len(ECHO)
        archive.addfile(member, io.BytesIO(ECHO.encode()))
    server.put("model.tar.gz", packed.getvalue())
    server.create_model("echo", "script:1", ModelDataUrl=f"s3://{BUCKET}/model.tar.gz")
    lines = LINE * (mb * MB // len(LINE))
    transfer = TransferConfig(multipart_chunksize=16 * MB, use_threads=False)
    server.s3.upload_fileobj(io.BytesIO(lines), BUCKET, "echo/in/lines.csv", Config=transfer)
    watch = PeakMemoryWatcher(server.folder)
    watch.start()
    server.transform("echo", "echo", BatchStrategy="MultiRecord", MaxPayloadInMB=6, MaxConcurrentTransforms=2)
    job = server.wait_for_job("Transform", "echo")
    watch.done.set()
    watch.join()
    written = server.s3.head_object(Bucket=BUCKET, Key="echo/out/lines.csv.out")["ContentLength"]
    if written != len(lines):
        raise LaptopError(f"the echo model returned {written} bytes for {len(lines)} bytes of input")
    seconds = (job["TransformEndTime"] - job["TransformStartTime"]).total_seconds()
    yield Row(f"transform of one object of {mb} MB", len(lines) / MB / seconds, "MB/s")
    yield Row("runner memory, peak", watch.peak_bytes / MB, "MB", 300)
    yield Row("server memory after the transform", read_memory_bytes(server.pid, "VmRSS") / MB, "MB")
    yield Row("server memory, peak", read_memory_bytes(server.pid, "VmHWM") / MB, "MB")


class PeakMemoryWatcher(threading.Thread):
    """Polls the runners of one server until `done`; `peak_bytes` is the most resident memory of any."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = str(folder).encode()
        self.done = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        while not self.done.wait(0.05):
            for pid in self.iter_runner_pids():
                # The kernel keeps the peak, so that what happens between two looks is not missed.
                self.peak_bytes = max(self.peak_bytes, read_memory_bytes(pid, "VmHWM"))

    def iter_runner_pids(self) -> Iterator[int]:
        """Runner processes whose specification lies in this server's directory."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"\0local_aws.runner\0" in command and self.folder in command:
                yield int(path.parent.name)


def read_memory_bytes(pid: int, status_field: str) -> int:
    """VmRSS or VmHWM of a process in bytes; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(rf"^{status_field}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def measure_all(call_count: int, job_count: int, mb: int) -> Iterator[Row]:
    """Every row, as it is known: Describe calls, empty jobs of each kind, megabytes of the transform's object."""
    with run_server({"provisioning_seconds": "0"}) as server:
        yield Row("server memory, idle", read_memory_bytes(server.pid, "VmRSS") / MB, "MB")
        yield from bench_describe(server, call_count)
        yield from bench_empty_jobs(server, job_count)
        yield from bench_throughput(server, mb)


def main() -> int:
    """Print the table; the exit status is 1 if a measurement failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer calls and jobs, 10 MB")
    parser.add_argument("--mb", type=int, help="megabytes of the transform's object (default 200)")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    arguments = parser.parse_args()
    call_count, job_count, mb = (100, 2, 10) if arguments.quick else (500, 5, 200)
    try:
        for row in measure_all(call_count, job_count, arguments.mb or mb):
            print(json.dumps(asdict(row)) if arguments.json else row, flush=True)
    except LaptopError as error:
        print(f"bench-local-aws: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
