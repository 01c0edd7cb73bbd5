"""What the tests of the runner share: objects in, a job run by its command, objects and log lines out."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import yaml

from local_aws.runner.job_context import EventWriter
from local_aws.runner.processing import run_processing
from local_aws.runner.run_job import run_job
from local_aws.runner.runner_spec import read_spec
from local_aws.runner.stopping import StopFlag
from tests.archives import pack_tar_gz

REPOSITORY = Path(__file__).resolve().parents[4]
SCRIPT_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/local/script:1"
SKLEARN_IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
LINEAR_IMAGE = "382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1"

FAST_SETTINGS: dict[str, Any] = {
    "ping_interval_seconds": 0.05,
    "log_flush_seconds": 0.1,
    "progress_seconds": 0,
    "retry_backoff_seconds": 0.01,
    "transform_stop_grace_seconds": 3,
    "processing_stop_grace_seconds": 5,
}


def wait_until(is_so: Callable[[], Any], seconds: float = 120) -> None:
    """Looks until it is so; `seconds` only end a test that waits in vain."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"it is not so after {seconds} s"
        time.sleep(0.05)


def reach_time_limit_when(monkeypatch: pytest.MonkeyPatch, is_so: Callable[[], Any]) -> list[float]:
    """The time limit of a processing job in this process is reached when it is so; returns what the limits were."""
    limits: list[float] = []

    class Timer(threading.Timer):
        def run(self) -> None:
            limits.append(self.interval)
            while not is_so():
                if self.finished.wait(0.05):
                    return
            self.function(*self.args, **self.kwargs)

    monkeypatch.setattr(run_processing, "threading", SimpleNamespace(Timer=Timer))
    return limits


@dataclass(frozen=True)
class RunnerResult:
    """A finished runner: its events, and the last one's fields."""

    events: list[dict[str, Any]]
    log: str
    exit_code: int

    @property
    def last(self) -> dict[str, Any]:
        assert self.events, self.log
        assert self.events[-1]["event"] == "finished", self.log
        return self.events[-1]

    @property
    def outcome(self) -> tuple[str, str | None]:
        return self.last["status"], self.last["failure_reason"]

    @property
    def instances(self) -> list[dict[str, Any]]:
        return list(self.last["instances"])


class Aws:
    """One test's bucket (s3://<bucket>/…) and the jobs it runs."""

    def __init__(self, url: str, folder: Path, name: str) -> None:
        self.url = url
        self.folder = folder
        options = {
            "endpoint_url": url,
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
        self.s3 = boto3.client("s3", **options)
        self.logs = boto3.client("logs", **options)
        self.bucket = f"{re.sub('[^a-z0-9]+', '-', name.lower())[:40].strip('-')}-{uuid.uuid4().hex[:8]}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.job = f"job-{uuid.uuid4().hex[:8]}"
        self.processes: list[subprocess.Popen[str]] = []

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def put(self, **objects: bytes | str) -> None:
        self.put_all(objects)

    def put_all(self, objects: dict[str, bytes | str]) -> None:
        for key, body in objects.items():
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def keys(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def tree(self, prefix: str) -> dict[str, bytes]:
        return {key[len(prefix) :]: self.get(key) for key in self.keys(prefix)}

    def model(self, key: str, files: dict[str, bytes | str]) -> str:
        """Packs a model.tar.gz, uploads it, returns its address."""
        self.put_all({key: pack_tar_gz(files)})
        return self.uri(key)

    def script(
        self, source: str, *, environment: dict[str, str] | None = None, **more: str
    ) -> dict[str, Any]:
        """A ContainerDefinition of the script image that serves `source`."""
        key = f"models/{uuid.uuid4().hex}.tar.gz"
        return {
            "Image": SCRIPT_IMAGE,
            "ModelDataUrl": self.model(key, {"code/inference.py": source}),
            "Environment": environment or {},
            **more,
        }

    def images_file(self, *images: dict[str, Any]) -> str:
        path = self.folder / "images.yaml"
        path.write_text(yaml.safe_dump({"images": list(images)}))
        return str(path)

    def spec(self, kind: str, request: dict[str, Any], **more: Any) -> Path:
        name = request["TransformJobName" if kind == "transform" else "ProcessingJobName"]
        work = self.folder / f"work-{uuid.uuid4().hex[:8]}"
        work.mkdir()
        settings = {**FAST_SETTINGS, **more.pop("settings", {})}
        spec = {
            "kind": kind,
            "name": name,
            "arn": f"arn:aws:sagemaker:us-east-1:123456789012:{kind}-job/{name}",
            "region": "us-east-1",
            "request": request,
            "containers": more.pop("containers", []),
            "network_isolation": False,
            "s3_endpoint_url": self.url,
            "logs_endpoint_url": self.url,
            "settings": settings,
            "images_file": None,
            "faults": [],
            "work_dir": str(work),
            **more,
        }
        path = work / "spec.json"
        path.write_text(json.dumps(spec))
        return path

    def start(self, spec: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "local_aws.runner", str(spec)],
            cwd=spec.parent,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def finish(self, process: subprocess.Popen[str], seconds: float = 60) -> RunnerResult:
        out, log = process.communicate(timeout=seconds)
        return RunnerResult([json.loads(line) for line in out.splitlines()], log, process.returncode)

    def run(self, kind: str, request: dict[str, Any], **more: Any) -> RunnerResult:
        """Runs the job in this process, which spares a second of imports; `start` runs the command itself."""
        spec = read_spec(self.spec(kind, request, **more))
        out = io.StringIO()
        run_job(spec, EventWriter(out, spec.settings.progress_seconds), StopFlag())
        return RunnerResult([json.loads(line) for line in out.getvalue().splitlines()], "", 0)

    def transform(
        self, containers: list[dict[str, Any]], *, name: str | None = None, **changes: Any
    ) -> RunnerResult:
        """Runs a transform of in/ to out/; `changes` as `transform_request` and `spec` take them."""
        more = {key: changes.pop(key) for key in ("settings", "images_file", "faults") if key in changes}
        return self.run("transform", self.transform_request(name, **changes), containers=containers, **more)

    def transform_request(
        self,
        name: str | None = None,
        *,
        source: str = "in/",
        data_type: str = "S3Prefix",
        transform_input: dict[str, Any] | None = None,
        transform_output: dict[str, Any] | None = None,
        instances: int = 1,
        **rest: Any,
    ) -> dict[str, Any]:
        return {
            "TransformJobName": name or self.job,
            "ModelName": "model",
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": data_type, "S3Uri": self.uri(source)}},
                **(transform_input or {}),
            },
            "TransformOutput": {"S3OutputPath": self.uri("out"), **(transform_output or {})},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": instances},
            **rest,
        }

    def processing(self, entrypoint: list[str] | None, **changes: Any) -> RunnerResult:
        """Runs a processing job; `changes` as `processing_request` and `spec` take them."""
        names = ("settings", "images_file", "faults", "network_isolation")
        more = {key: changes.pop(key) for key in names if key in changes}
        return self.run("processing", self.processing_request(entrypoint, **changes), **more)

    def processing_request(
        self,
        entrypoint: list[str] | None,
        *,
        name: str | None = None,
        image: str = SKLEARN_IMAGE,
        inputs: list[dict[str, Any]] | None = None,
        outputs: list[dict[str, Any]] | None = None,
        instances: int = 1,
        arguments: list[str] | None = None,
        **rest: Any,
    ) -> dict[str, Any]:
        app: dict[str, Any] = {"ImageUri": image}
        if entrypoint is not None:
            app["ContainerEntrypoint"] = entrypoint
        if arguments is not None:
            app["ContainerArguments"] = arguments
        cluster = {"InstanceCount": instances, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
        return {
            "ProcessingJobName": name or self.job,
            "ProcessingResources": {"ClusterConfig": cluster},
            "AppSpecification": app,
            "RoleArn": "arn:aws:iam::123456789012:role/sagemaker",
            "ProcessingInputs": inputs or [],
            "ProcessingOutputConfig": {"Outputs": outputs or []},
            **rest,
        }

    def build_processing_input(self, name: str, key: str, **s3: Any) -> dict[str, Any]:
        """A ProcessingInput below /opt/ml/processing/input/<name>."""
        return {
            "InputName": name,
            "S3Input": {
                "S3Uri": self.uri(key),
                "LocalPath": f"/opt/ml/processing/input/{name}",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
                **s3,
            },
        }

    def build_processing_output(self, name: str, key: str, mode: str = "EndOfJob") -> dict[str, Any]:
        """A ProcessingOutput of /opt/ml/processing/<name>."""
        return {
            "OutputName": name,
            "S3Output": {
                "S3Uri": self.uri(key),
                "LocalPath": f"/opt/ml/processing/{name}",
                "S3UploadMode": mode,
            },
        }

    def log_lines(self, kind: str, job: str | None = None) -> dict[str, list[str]]:
        """Messages by stream name, of the test's own job unless named; none before the first job made the group."""
        group = f"/aws/sagemaker/{kind.capitalize()}Jobs"
        found: dict[str, list[str]] = {}
        if not self.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            return found
        pages = self.logs.get_paginator("describe_log_streams").paginate(
            logGroupName=group, logStreamNamePrefix=f"{job or self.job}/"
        )
        for page in pages:
            for stream in page["logStreams"]:
                name = stream["logStreamName"]
                events = self.logs.get_log_events(
                    logGroupName=group, logStreamName=name, startFromHead=True, limit=10_000
                )["events"]
                found[name] = [event["message"] for event in events]
        return found

    def data_log(self) -> list[str]:
        """The service's lines of a transform without their time, the first (the parameters) left out."""
        streams = self.log_lines("transform").items()
        lines = [line for name, found in streams if name.endswith("/data-log") for line in found]
        texts = [line.partition("[sagemaker logs]: ")[2] for line in lines]
        return [text for text in texts if not text.startswith("MaxConcurrentTransforms=")]
