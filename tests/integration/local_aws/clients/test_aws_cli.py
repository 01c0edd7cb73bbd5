"""The AWS CLI, unmodified: it finds the endpoint in its environment, and prints what people see."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.local_aws.clients import work
from tests.integration.local_aws.conftest import Aws
from tests.integration.local_aws.venvs import venv

pytestmark = pytest.mark.timeout(1800)  # the first run makes the environment

REFUSED = 255
TERMINAL = ("Completed", "Failed", "Stopped")
CLUSTER = {"InstanceType": work.INSTANCE, "InstanceCount": 1, "VolumeSizeInGB": 10}


class Cli:
    """`aws`, run as a command."""

    def __init__(self, aws: Aws, folder: Path) -> None:
        self.aws = aws
        self.folder = folder
        self.program = venv("awscli", "awscli==1.46.3") / "aws"

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run one command, whatever its end; dicts and lists are given as JSON."""
        given = [json.dumps(part) if isinstance(part, dict | list) else str(part) for part in arguments]
        return subprocess.run(
            [str(self.program), *given],
            cwd=self.folder,
            env=work.environment(self.aws),
            capture_output=True,
            text=True,
            check=False,
        )

    def __call__(self, *arguments: object) -> str:
        """Run one command that must succeed; returns what it prints."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def json(self, *arguments: object) -> Any:
        """Run one command that must succeed; returns its answer."""
        return json.loads(self(*arguments))

    def status(self, kind: str, name: str) -> str:
        """The job's status, as `describe` prints it."""
        query = f"{kind.title()}JobStatus"
        described = ("sagemaker", f"describe-{kind}-job", f"--{kind}-job-name", name)
        return self(*described, "--query", query, "--output", "text").strip()

    def until(self, kind: str, name: str, reached: Callable[[str], bool]) -> str:
        """Describe in a loop, because `wait` looks once a minute; returns the status reached."""
        deadline = time.monotonic() + work.get_timeout_seconds(self.aws)
        while not reached(status := self.status(kind, name)):
            assert time.monotonic() < deadline, f"{name} is still {status}"
        return status

    def create_model(self, name: str, prefix: str) -> dict[str, str]:
        """`s3 cp` of the artefact, and create-model over it."""
        (self.folder / "model.tar.gz").write_bytes(work.model_archive())
        self("s3", "cp", "model.tar.gz", f"{prefix}model/model.tar.gz")
        container = {
            "Image": work.IMAGE,
            "ModelDataUrl": f"{prefix}model/model.tar.gz",
            "Environment": work.MODEL_ENVIRONMENT,
        }
        command = ("sagemaker", "create-model", "--model-name", name, "--primary-container", container)
        return self.json(*command, "--execution-role-arn", self.aws.role_arn)

    def create_transform(self, name: str, model: str, prefix: str) -> tuple[object, ...]:
        """Arguments of create-transform-job from in/ to out/, in the CLI's shorthand where it is usual."""
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{prefix}in/"}}
        return (
            *("sagemaker", "create-transform-job", "--transform-job-name", name, "--model-name", model),
            *("--transform-input", {"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"}),
            *("--transform-output", f"S3OutputPath={prefix}out/,Accept=text/csv,AssembleWith=Line"),
            *("--transform-resources", f"InstanceType={work.INSTANCE},InstanceCount=1"),
        )

    def create_processing(self, name: str, *entrypoint: str) -> tuple[object, ...]:
        """Arguments of create-processing-job."""
        application = {"ImageUri": work.IMAGE, "ContainerEntrypoint": entrypoint}
        return (
            *("sagemaker", "create-processing-job", "--processing-job-name", name),
            *("--role-arn", self.aws.role_arn, "--app-specification", application),
            *("--processing-resources", {"ClusterConfig": CLUSTER}),
        )


@pytest.fixture
def cli(aws: Aws, tmp_path: Path) -> Cli:
    return Cli(aws, tmp_path)


def ended(status: str) -> bool:
    return status in TERMINAL


def test_a_transform_from_upload_to_download(cli: Cli, s3_prefix: str, name: str) -> None:
    """create-model, create-transform-job, describe, wait, list with filters; files go and come by `s3 cp`."""
    (cli.folder / "in").mkdir()
    for key, body in work.objects().items():
        (cli.folder / "in" / key).write_bytes(body)
    cli("s3", "cp", "in", f"{s3_prefix}in/", "--recursive")
    model_arn = cli.create_model(name, s3_prefix)["ModelArn"]
    assert model_arn.endswith(f":model/{name}")
    arn = cli.json(*cli.create_transform(name, name, s3_prefix))["TransformJobArn"]
    assert cli.until("transform", name, ended) == "Completed"
    waited = cli("sagemaker", "wait", "transform-job-completed-or-stopped", "--transform-job-name", name)
    assert waited == ""

    described = cli.json("sagemaker", "describe-transform-job", "--transform-job-name", name)
    assert described["TransformJobArn"] == arn
    assert described["TransformOutput"]["S3OutputPath"] == f"{s3_prefix}out/"
    assert described["TransformStartTime"] <= described["TransformEndTime"]
    query = ("--query", "TransformJobSummaries[].[TransformJobName,TransformJobStatus]")
    listed = ("sagemaker", "list-transform-jobs", "--name-contains", name, *query)
    assert cli.json(*listed, "--status-equals", "Completed") == [[name, "Completed"]]
    assert cli.json(*listed, "--status-equals", "Failed") == []
    assert cli.json(*listed, "--creation-time-before", "2020-01-01") == []

    cli("s3", "cp", f"{s3_prefix}out/", "out", "--recursive")
    assert {
        path.name: path.read_bytes() for path in (cli.folder / "out").iterdir()
    } == work.expected_outputs()
    cli("sagemaker", "delete-model", "--model-name", name)


def test_a_processing_job_reads_and_writes(cli: Cli, s3_prefix: str, name: str) -> None:
    """Inputs and outputs as JSON arguments; the log comes with `logs filter-log-events`."""
    for key, body in work.objects().items():
        cli.aws.put(f"{s3_prefix}in/{key}", body)
    cli.aws.put(f"{s3_prefix}code/count.py", work.COUNT.encode())
    usual = {"S3DataType": "S3Prefix", "S3InputMode": "File"}
    inputs = [
        {
            "InputName": folder,
            "S3Input": {
                **usual,
                "S3Uri": f"{s3_prefix}{folder}/",
                "LocalPath": f"/opt/ml/processing/{path}",
            },
        }
        for folder, path in (("in", "input"), ("code", "code"))
    ]
    goes = {
        "S3Uri": f"{s3_prefix}out/",
        "LocalPath": "/opt/ml/processing/output",
        "S3UploadMode": "EndOfJob",
    }
    created = cli.json(
        *cli.create_processing(name, "python3", "/opt/ml/processing/code/count.py"),
        *("--processing-inputs", inputs),
        *("--processing-output-config", {"Outputs": [{"OutputName": "counts", "S3Output": goes}]}),
        *("--environment", "UNIT=records", "--stopping-condition", "MaxRuntimeInSeconds=600"),
    )
    assert created["ProcessingJobArn"].endswith(f":processing-job/{name}")
    assert cli.until("processing", name, ended) == "Completed"
    cli("sagemaker", "wait", "processing-job-completed-or-stopped", "--processing-job-name", name)
    cli("s3", "cp", f"{s3_prefix}out/counts.txt", "counts.txt")
    assert (cli.folder / "counts.txt").read_bytes() == work.COUNTS
    group = "/aws/sagemaker/ProcessingJobs"
    found = ("logs", "filter-log-events", "--log-group-name", group, "--log-stream-name-prefix", f"{name}/")
    # moto does not narrow this by the prefix: other tests' jobs log into the same group.
    mine = f"events[?starts_with(logStreamName, '{name}/')].message"
    assert cli.json(*found, "--query", mine) == ["counted 501 records"]


def test_a_transform_is_stopped(cli: Cli, s3_prefix: str, name: str) -> None:
    """stop-transform-job answers nothing, the job ends Stopped, `wait` takes that for an end."""
    cli.aws.put(f"{s3_prefix}in/a.csv", b"slow\n")
    cli.create_model(name, s3_prefix)
    cli(*cli.create_transform(name, name, s3_prefix))
    assert cli.until("transform", name, lambda status: status == "InProgress") == "InProgress"
    assert cli("sagemaker", "stop-transform-job", "--transform-job-name", name) == ""
    assert cli.until("transform", name, ended) == "Stopped"
    cli("sagemaker", "wait", "transform-job-completed-or-stopped", "--transform-job-name", name)
    assert cli.aws.keys(f"{s3_prefix}out/") == []


def test_a_failed_job_ends_the_wait_with_an_error(cli: Cli, name: str) -> None:
    """The waiter's path into the answer finds the status; the reason is in describe."""
    cli(*cli.create_processing(name, "python3", "-c", "raise SystemExit(3)"))
    assert cli.until("processing", name, ended) == "Failed"
    waited = cli.run(
        "sagemaker", "wait", "processing-job-completed-or-stopped", "--processing-job-name", name
    )
    assert waited.returncode == REFUSED
    assert "Waiter ProcessingJobCompletedOrStopped failed" in waited.stderr
    assert 'we matched expected path: "Failed"' in waited.stderr
    described = cli.json("sagemaker", "describe-processing-job", "--processing-job-name", name)
    assert described["FailureReason"].startswith("AlgorithmError: ")

    again = cli.run(*cli.create_processing(name, "true"))
    assert again.returncode == REFUSED
    assert (
        "An error occurred (ResourceInUse) when calling the CreateProcessingJob operation: "
        "Job name must be unique within an AWS account and region, and a job with this name already exists"
    ) in again.stderr


def test_refusals_are_printed_with_code_operation_and_text(cli: Cli, s3_prefix: str, name: str) -> None:
    """Not found, no such model, and a value that the service's model forbids and the CLI lets pass."""
    cli.aws.put(f"{s3_prefix}in/a.csv", b"1\n")
    no_model = cli.create_transform(name, name, s3_prefix)
    unknown = ("--transform-resources", "InstanceType=ml.none.large,InstanceCount=1")
    refusals: list[tuple[tuple[object, ...], str]] = [
        (
            ("sagemaker", "describe-transform-job", "--transform-job-name", name),
            (
                "An error occurred (ValidationException) when calling the DescribeTransformJob operation: "
                f"Could not find requested job with name: {name}"
            ),
        ),
        (
            no_model,
            (
                "An error occurred (ValidationException) when calling the CreateTransformJob operation: "
                f'Could not find model "arn:aws:sagemaker:us-east-1:{cli.aws.role_arn.split(":")[4]}:model/{name}"'
            ),
        ),
        (
            ("sagemaker", "stop-processing-job", "--processing-job-name", "no_such_name"),
            (
                "An error occurred (ValidationException) when calling the StopProcessingJob operation: "
                "1 validation error detected: Value 'no_such_name' at 'processingJobName' "
                "failed to satisfy constraint"
            ),
        ),
        ((*no_model, *unknown), "Member must satisfy enum value set"),
    ]
    for arguments, text in refusals:
        done = cli.run(*arguments)
        assert done.returncode == REFUSED, done.stdout
        assert text in done.stderr
