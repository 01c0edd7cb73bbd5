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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from botocore.config import Config

from tools.laptop.environment import LaptopError, create_client, run_embedded_aws_process

ROLE = "arn:aws:iam::123456789012:role/service-role/bench"
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com/local"
BUCKET = "bench"
LINE = b"0.455,0.365,0.095,0.514,0.2245,0.101,0.15,15,0123456789\n"
MB = 1_000_000
PART = 16 * MB
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


class BenchError(Exception):
    """Nothing was measured; the message says why."""


@dataclass(frozen=True, slots=True)
class BenchSizes:
    """How much is measured: Describe calls, empty jobs of each kind, megabytes of the transform's object."""

    calls: int
    jobs: int
    mb: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `goal` is an upper limit in the same unit."""

    name: str
    value: float
    unit: str
    goal: float | None = None

    def format_cells(self) -> tuple[str, str, str]:
        """Texts for a terminal."""
        goal = "" if self.goal is None else f"< {self.goal:g} {self.unit}"
        if self.goal is not None and self.value >= self.goal:
            goal += ", missed"
        return self.name, f"{self.value:.2f} {self.unit}", goal


class Server:
    """A running embedded AWS and clients of it."""

    def __init__(self, pid: int, url: str, folder: Path) -> None:
        self.pid = pid
        self.folder = folder
        config = Config(retries={"total_max_attempts": 1}, read_timeout=120)
        self.sagemaker = create_client("sagemaker", url, config=config)
        self.s3 = create_client("s3", url, config=config)

    def wait_for_job(self, kind: str, name: str, expected_status: str = "Completed") -> dict[str, Any]:
        """Ask until the job has ended; raises BenchError when it ended otherwise."""
        describe = getattr(self.sagemaker, f"describe_{kind.lower()}_job")
        while True:
            answer: dict[str, Any] = describe(**{f"{kind}JobName": name})
            status = answer[f"{kind}JobStatus"]
            if status in TERMINAL:
                if status != expected_status:
                    raise BenchError(
                        f"{name} ended {status}, expected {expected_status}: {answer.get('FailureReason')}"
                    )
                return answer
            time.sleep(0.02)

    def create_model(self, name: str, image: str, **more: Any) -> None:
        """A model of one of the images of this machine."""
        container = {"Image": f"{REGISTRY}/{image}", **more}
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)

    def transform(self, name: str, model: str, *, instances: int = 1, **changes: Any) -> None:
        """Start a transform of `<name>/in/` to `<name>/out/`."""
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{name}/in/"}}
        self.sagemaker.create_transform_job(
            TransformJobName=name,
            ModelName=model,
            TransformInput={"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
            TransformOutput={
                "S3OutputPath": f"s3://{BUCKET}/{name}/out/",
                "Accept": "text/csv",
                "AssembleWith": "Line",
            },
            TransformResources={"InstanceType": "ml.m5.xlarge", "InstanceCount": instances},
            **changes,
        )

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)


@contextmanager
def run_server() -> Iterator[Server]:
    """A server on a port of the system's choice, ended and removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-local-aws-") as temporary:
        folder = Path(temporary)
        settings = {"provisioning_seconds": "0"}
        with run_embedded_aws_process(folder / "data", settings=settings) as (process, url):
            server = Server(process.pid, url, folder)
            server.s3.create_bucket(Bucket=BUCKET)
            yield server


class DescribeLatency(NamedTuple):
    """Milliseconds that a call takes: the median and the 99th percentile."""

    p50_ms: float
    p99_ms: float


def measure_describe(server: Server, name: str, calls: int) -> DescribeLatency:
    """DescribeTransformJob as a client sees it."""
    times = []
    for _ in range(calls):
        before = time.perf_counter()
        server.sagemaker.describe_transform_job(TransformJobName=name)
        times.append((time.perf_counter() - before) * 1000)
        time.sleep(0.005)  # a client that polls, not one that floods
    return DescribeLatency(
        statistics.median(times), statistics.quantiles(times, n=100, method="inclusive")[98]
    )


def bench_describe(server: Server, calls: int) -> Iterator[Row]:
    """Idle, about a job that has ended; then while four instances are at work, about that job."""
    server.create_model("sleeper", "sleeper:1", Environment={"SLEEPER_SECONDS_PER_RECORD": "0.5"})
    server.put("idle/in/a.csv", LINE)
    server.transform("idle", "sleeper")
    server.wait_for_job("Transform", "idle")
    p50, p99 = measure_describe(server, "idle", calls)
    yield Row("DescribeTransformJob, idle, p50", p50, "ms", 20)
    yield Row("DescribeTransformJob, idle, p99", p99, "ms", 20)

    for number in range(4):
        server.put(f"busy/in/{number}.csv", LINE * 4000)
    server.transform("busy", "sleeper", instances=4, BatchStrategy="SingleRecord", MaxConcurrentTransforms=4)
    while "TransformStartTime" not in server.sagemaker.describe_transform_job(TransformJobName="busy"):
        time.sleep(0.02)
    time.sleep(2)  # containers start and answer /ping
    p50, p99 = measure_describe(server, "busy", calls)
    if server.sagemaker.describe_transform_job(TransformJobName="busy")["TransformJobStatus"] != "InProgress":
        raise BenchError("the job of four instances ended before Describe was measured")
    server.sagemaker.stop_transform_job(TransformJobName="busy")
    server.wait_for_job("Transform", "busy", "Stopped")
    yield Row("DescribeTransformJob, four busy instances, p50", p50, "ms", 20)
    yield Row("DescribeTransformJob, four busy instances, p99", p99, "ms", 20)


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
    yield Row(
        "processing job, empty container, create to completed", statistics.median(seconds["Processing"]), "s"
    )
    yield Row("transform job, one record, create to completed", statistics.median(seconds["Transform"]), "s")


def bench_throughput(server: Server, mb: int) -> Iterator[Row]:
    """One object of lines through a container that gives them back; both directions through this server's S3."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("code/inference.py")
        member.size = len(ECHO)
        archive.addfile(member, io.BytesIO(ECHO.encode()))
    server.put("model.tar.gz", packed.getvalue())
    server.create_model("echo", "script:1", ModelDataUrl=f"s3://{BUCKET}/model.tar.gz")
    size = put_line_bytes(server, "echo/in/lines.csv", mb * MB)
    watch = PeakMemoryWatcher(server.folder)
    watch.start()
    server.transform("echo", "echo", BatchStrategy="MultiRecord", MaxPayloadInMB=6, MaxConcurrentTransforms=2)
    job = server.wait_for_job("Transform", "echo")
    watch.done.set()
    watch.join()
    written = server.s3.head_object(Bucket=BUCKET, Key="echo/out/lines.csv.out")["ContentLength"]
    if written != size:
        raise BenchError(f"the echo model returned {written} bytes for {size} bytes of input")
    seconds = (job["TransformEndTime"] - job["TransformStartTime"]).total_seconds()
    yield Row(f"transform of one object of {mb} MB", size / MB / seconds, "MB/s")
    yield Row("runner memory, peak", watch.peak_bytes / MB, "MB", 300)
    yield Row("server memory after the transform", read_memory_bytes(server.pid, "VmRSS") / MB, "MB")
    yield Row("server memory, peak", read_memory_bytes(server.pid, "VmHWM") / MB, "MB")


def put_line_bytes(server: Server, key: str, max_bytes: int) -> int:
    """Put an object of whole lines, in parts; returns its bytes."""
    target = {"Bucket": BUCKET, "Key": key}
    upload = server.s3.create_multipart_upload(**target)["UploadId"]
    parts: list[dict[str, Any]] = []
    left = max_bytes // len(LINE)
    while left:
        lines = min(left, PART // len(LINE))
        number = len(parts) + 1
        done = server.s3.upload_part(**target, UploadId=upload, PartNumber=number, Body=LINE * lines)
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
        left -= lines
    server.s3.complete_multipart_upload(**target, UploadId=upload, MultipartUpload={"Parts": parts})
    return max_bytes // len(LINE) * len(LINE)


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


def measure_all(sizes: BenchSizes) -> Iterator[Row]:
    """Every row, as it is known."""
    with run_server() as server:
        yield Row("server memory, idle", read_memory_bytes(server.pid, "VmRSS") / MB, "MB")
        yield from bench_describe(server, sizes.calls)
        yield from bench_empty_jobs(server, sizes.jobs)
        yield from bench_throughput(server, sizes.mb)


def main() -> int:
    """Print the table; the exit status is 1 if a measurement failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer calls and jobs, 10 MB")
    parser.add_argument("--mb", type=int, help="megabytes of the transform's object (default 200)")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    arguments = parser.parse_args()
    sizes = (
        BenchSizes(calls=100, jobs=2, mb=arguments.mb or 10)
        if arguments.quick
        else BenchSizes(500, 5, arguments.mb or 200)
    )
    try:
        for row in measure_all(sizes):
            what, value, goal = row.format_cells()
            if arguments.json:
                row_json = {"what": row.name, "value": row.value, "unit": row.unit, "goal": row.goal}
                print(json.dumps(row_json), flush=True)
            else:
                print(f"{what:<52}{value:>14}   {goal}".rstrip(), flush=True)
    except (BenchError, LaptopError) as error:
        print(f"bench-local-aws: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
