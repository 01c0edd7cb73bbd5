"""Settings: file, flags, and what each does."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_aws.settings import Settings, SettingsError, load_settings
from tests.integration.local_aws.api.conftest import FAST
from tests.integration.local_aws.api.requests import (
    expect_client_error,
    model_request,
    processing_request,
    wait_until_ended,
    wait_until_started,
)
from tests.integration.local_aws.servers import REPOSITORY, Server, run_server

pytestmark = pytest.mark.local_only


def test_flags_come_after_the_file_and_dots_reach_into_groups(tmp_path: Path) -> None:
    """What is in neither keeps its default."""
    path = tmp_path / "aws.yaml"
    path.write_text(
        "provisioning_seconds: 5\nrunner: {assignment: hash}\ninstance_quotas: {a for b usage: 3}\n"
    )
    settings = load_settings(path, {"provisioning_seconds": 2, "runner.mb_bytes": 1000})
    assert (settings.provisioning_seconds, settings.runner.assignment, settings.runner.mb_bytes) == (
        2,
        "hash",
        1000,
    )
    assert settings.instance_quotas == {"a for b usage": 3}
    assert settings.transform_instances_quota == Settings.model_validate({}).transform_instances_quota


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("provisioning_second: 5", "provisioning_second: Extra inputs are not permitted, found 5"),
        (
            "provisioning_seconds: -1",
            "provisioning_seconds: Input should be greater than or equal to 0, found -1",
        ),
        (
            "runner: {assignment: x}",
            "runner.assignment: Input should be 'contiguous', 'round_robin' or 'hash'",
        ),
        ("[1]", "expected a mapping of settings, found list"),
        ("{", "cannot be read as YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_field_and_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    """The file is named, too."""
    path = tmp_path / "aws.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "nonsense=1"], "nonsense: Extra inputs are not permitted"),
        (["--set", "nonsense"], "expected NAME=VALUE"),
        (["--settings", "/no/such/file.yaml"], "/no/such/file.yaml: cannot be read"),
        (["--set", "account_id.x=1", "--set", "account_id=1"], "account_id"),
        (["--set", "images_file=/no/such.yaml"], "images_file is '/no/such.yaml', which is not a file"),
        (["--set", "faults=[{kind: meteor}]"], "kind: Input should be 'throttle'"),
    ],
)
def test_a_wrong_command_line_is_one_message_and_status_two(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    """No traceback."""
    command = [
        sys.executable,
        "-m",
        "local_aws",
        "--port",
        "0",
        "--data-dir",
        str(tmp_path),
        *arguments,
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_directory_belongs_to_one_server(start_server: Any, tmp_path: Path) -> None:
    """The second one says so, and what to do; the same for a port."""
    server = start_server(FAST)
    port = server.url.rsplit(":", 1)[1]
    for directory, number, said in (
        (server.data_dir, "0", "is in use by another embedded AWS; stop it or choose another --data-dir"),
        (tmp_path / "other", port, f"port {port} of 127.0.0.1 cannot be bound"),
    ):
        command = [sys.executable, "-m", "local_aws", "--port", number, "--data-dir", str(directory)]
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 2
        assert said in done.stderr


STRICT = {
    **FAST,
    "account_id": "210987654321",
    "provisioning_seconds": 0.6,
    "case_insensitive_names": False,
    "check_roles": True,
    "processing_instances_quota": 3,
    "default_instance_quota": 2,
    "instance_quotas": {
        "ml.m5.xlarge for processing job usage": 3,
        "ml.m5.large for processing job usage": 0,
    },
    "capacity": {"ml.m5.2xlarge": 1},
}
TRUST = (
    '{"Statement": {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, '
    '"Action": "sts:AssumeRole"}}'
)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the less lenient choice of several settings."""
    with run_server(tmp_path_factory.mktemp("strict") / "data", STRICT) as server:
        yield server


@pytest.fixture(scope="module")
def role(strict: Server) -> str:
    """A role that SageMaker may assume."""
    answer = strict.client("iam").create_role(RoleName="ours", AssumeRolePolicyDocument=TRUST)
    return str(answer["Role"]["Arn"])


def _process(strict: Server, role: str, job: str, kind: str, count: int, **environment: str) -> None:
    cluster = {"InstanceType": kind, "InstanceCount": count, "VolumeSizeInGB": 1}
    strict.client("sagemaker").create_processing_job(
        **processing_request(
            job, RoleArn=role, ProcessingResources={"ClusterConfig": cluster}, Environment=environment
        )
    )


def test_the_account_is_in_every_arn(strict: Server, role: str, name: str) -> None:
    """moto's and ours."""
    assert role == "arn:aws:iam::210987654321:role/ours"
    arn = strict.client("sagemaker").create_model(**model_request(name, ExecutionRoleArn=role))["ModelArn"]
    assert arn == f"arn:aws:sagemaker:us-east-1:210987654321:model/{name}"


def test_a_role_must_exist_and_trust_sagemaker_when_roles_are_checked(
    strict: Server, role: str, name: str
) -> None:
    """For models and for processing jobs."""
    sagemaker, iam = strict.client("sagemaker"), strict.client("iam")
    other = iam.create_role(RoleName="other", AssumeRolePolicyDocument=TRUST.replace("sagemaker", "ec2"))
    for bad in ("arn:aws:iam::210987654321:role/none", other["Role"]["Arn"]):
        with expect_client_error("ValidationException") as message:
            sagemaker.create_model(**model_request(name, ExecutionRoleArn=bad))
        assert message[0].startswith(f"Could not assume role {bad}. ")
        with expect_client_error("ValidationException"):
            sagemaker.create_processing_job(**processing_request(name, RoleArn=bad))
    sagemaker.create_model(**model_request(name, ExecutionRoleArn=role))


def test_names_that_differ_in_case_are_two_names_when_case_counts(
    strict: Server, role: str, name: str
) -> None:
    """Each is described and deleted on its own."""
    sagemaker = strict.client("sagemaker")
    for one in (name, name.upper()):
        sagemaker.create_model(**model_request(one, ExecutionRoleArn=role))
    sagemaker.delete_model(ModelName=name)
    assert sagemaker.describe_model(ModelName=name.upper())["ModelName"] == name.upper()


def test_quotas_of_both_kinds_reject_at_once_and_are_free_again_after_the_end(
    strict: Server, role: str, name: str
) -> None:
    """Per instance type, and across all jobs; the provisioning delay lies before the start."""
    _process(strict, role, f"{name}-1", "ml.m5.xlarge", 2, SECONDS="600")
    with expect_client_error("ResourceLimitExceeded") as message:
        _process(strict, role, f"{name}-2", "ml.m5.xlarge", 2)
    assert message[0] == (
        "The account-level service limit 'ml.m5.xlarge for processing job usage' is 3 Instances, with current "
        "utilization of 2 Instances and a request delta of 2 Instances. Please use AWS Service Quotas to request "
        "an increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an "
        "increase for this quota."
    )
    with expect_client_error("ResourceLimitExceeded") as message:
        _process(strict, role, f"{name}-2", "ml.m5.4xlarge", 2)
    assert message[0].startswith(
        "The account-level service limit 'Number of instances across all processing jobs' is 3 Instances, with "
        "current utilization of 2 Instances and a request delta of 2 Instances."
    )
    with expect_client_error("ResourceLimitExceeded") as message:
        _process(strict, role, f"{name}-2", "ml.m5.large", 1)
    said = "'ml.m5.large for processing job usage' is 0 Instances, with current utilization of 0"
    assert said in message[0]
    sagemaker, job = strict.client("sagemaker"), {"ProcessingJobName": f"{name}-1"}
    first = wait_until_started(sagemaker.describe_processing_job, **job)
    assert (first["ProcessingStartTime"] - first["CreationTime"]).total_seconds() >= 0.6
    sagemaker.stop_processing_job(**job)
    wait_until_ended(sagemaker.describe_processing_job, **job)
    _process(strict, role, f"{name}-2", "ml.m5.xlarge", 2)
    wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=f"{name}-2")


def test_a_type_of_which_there_are_too_few_is_a_capacity_error(strict: Server, role: str, name: str) -> None:
    """Instances are given back at the end of the job that had them."""
    for number, count, status in ((1, 2, "Failed"), (2, 1, "Completed"), (3, 1, "Completed")):
        _process(strict, role, f"{name}-{number}", "ml.m5.2xlarge", count)
        describe = strict.client("sagemaker").describe_processing_job
        last = wait_until_ended(describe, ProcessingJobName=f"{name}-{number}")
        assert last["ProcessingJobStatus"] == status
        assert last.get("FailureReason", "").startswith(
            "CapacityError: Unable to provision" if count == 2 else ""
        )


def test_a_preference_without_capacity_gives_way_to_the_next(strict: Server, role: str, name: str) -> None:
    """First by quota when the job is made, then by capacity when its instances are to be had."""
    sagemaker = strict.client("sagemaker")
    preferences = [
        {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        {"InstanceType": "ml.m5.2xlarge", "InstanceCount": 2},
        {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
    ]
    cluster = {"VolumeSizeInGB": 1, "InstancePreferences": preferences}
    request = processing_request(name, RoleArn=role, ProcessingResources={"ClusterConfig": cluster})
    sagemaker.create_processing_job(**request)
    last = wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)
    assert last["ProcessingJobStatus"] == "Completed"
    assert last["ProcessingResources"]["ClusterConfig"]["SelectedInstanceType"] == "ml.m5.xlarge"
    assert strict.local("GET", f"usage?name_contains={name}")["jobs"][0]["instance_type"] == "ml.m5.xlarge"


def test_a_job_that_is_stopped_while_it_waits_for_instances_was_never_started(
    start_server: Any, name: str
) -> None:
    sagemaker = start_server({**FAST, "provisioning_seconds": 600}).client("sagemaker")
    sagemaker.create_processing_job(**processing_request(name))
    sagemaker.stop_processing_job(ProcessingJobName=name)
    last = wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)
    assert last["ProcessingJobStatus"] == "Stopped"
    assert "ProcessingStartTime" not in last


def test_a_second_stop_is_refused_when_the_setting_says_so(start_server: Any, name: str) -> None:
    """While the job is Stopping, which a deaf one is for as long as stop_timeout_seconds."""
    settings = {"stop_while_stopping": "refuse", "stop_timeout_seconds": 600, "shutdown_grace_seconds": 0.5}
    sagemaker = start_server({**FAST, **settings}).client("sagemaker")
    deaf = processing_request(name, Environment={"SECONDS": "600", "DEAF": "1"})
    sagemaker.create_processing_job(**deaf)
    wait_until_started(sagemaker.describe_processing_job, ProcessingJobName=name)
    sagemaker.stop_processing_job(ProcessingJobName=name)
    with expect_client_error("ValidationException") as message:
        sagemaker.stop_processing_job(ProcessingJobName=name)
    assert message == ["The request was rejected because the processing job is in status Stopping"]


def _list_models(sagemaker: Any) -> str:
    try:
        sagemaker.list_models()
    except sagemaker.exceptions.ClientError as error:
        return str(error.response["Error"]["Code"])
    return "OK"


def test_throttling_by_rate_lets_a_burst_pass(start_server: Any) -> None:
    """request_burst calls at once, then Rate exceeded, as the next is due in 1,000 s; operations are apart."""
    server = start_server({**FAST, "requests_per_second": 0.001, "request_burst": 5})
    sagemaker = server.client("sagemaker")
    assert [_list_models(sagemaker) for _ in range(10)] == ["OK"] * 5 + ["ThrottlingException"] * 5
    sagemaker.list_transform_jobs()


def test_throttling_by_rate_lets_one_more_pass_as_time_goes_by(start_server: Any) -> None:
    sagemaker = start_server({**FAST, "requests_per_second": 1, "request_burst": 1}).client("sagemaker")
    deadline = time.monotonic() + 120
    for expected in ("OK", "ThrottlingException", "OK"):
        while _list_models(sagemaker) != expected:
            assert time.monotonic() < deadline, expected


def test_a_runner_deaf_to_stop_is_killed_after_the_timeout(start_server: Any, name: str) -> None:
    """And the job is Stopped."""
    server = start_server({**FAST, "stop_timeout_seconds": 0.3})
    sagemaker = server.client("sagemaker")
    request = processing_request(name, Environment={"SECONDS": "60", "DEAF": "1"})
    sagemaker.create_processing_job(**request)
    wait_until_started(sagemaker.describe_processing_job, ProcessingJobName=name)
    sagemaker.stop_processing_job(ProcessingJobName=name)
    assert (
        wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)["ProcessingJobStatus"]
        == "Stopped"
    )


def test_a_runner_that_cannot_be_started_fails_the_job(start_server: Any, name: str) -> None:
    """With AWS's text for the client, and the reason in the server's own log."""
    server = start_server({**FAST, "runner_command": ["/no/such/runner"]})
    sagemaker = server.client("sagemaker")
    sagemaker.create_processing_job(**processing_request(name))
    last = wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)
    assert (
        last["FailureReason"] == "InternalServerError: We encountered an internal error.  Please try again."
    )
    assert "ProcessingStartTime" not in last
    assert "/no/such/runner" in server.data_dir.with_suffix(".log").read_text()
