"""The SageMaker Python SDK 2, unmodified, as a program that knows the endpoint from its environment alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.local_aws.clients import work
from tests.integration.local_aws.conftest import Aws
from tests.integration.local_aws.venvs import venv

pytestmark = pytest.mark.timeout(1800)  # the first run makes the environment

PROGRAMS = Path(__file__).with_name("programs")


def run(aws: Aws, folder: Path, program: str, **given: object) -> tuple[str, Any]:
    """Run a program of the SDK's users; returns what the SDK printed, and what the program found out."""
    python = venv("sagemaker-sdk-2", "sagemaker==2.257.7") / "python"
    records = folder / "records"
    records.mkdir()
    for name, body in work.objects().items():
        (records / name).write_bytes(body)
    common = {"image": work.IMAGE, "role": aws.role_arn, "instance": work.INSTANCE, "input": str(records)}
    done = subprocess.run(
        [str(python), str(PROGRAMS / program), json.dumps({**common, **given})],
        cwd=folder,
        env={**work.environment(aws), "XDG_CONFIG_HOME": str(folder), "XDG_CONFIG_DIRS": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr, json.loads((folder / "found.json").read_text())


def test_a_model_transforms_with_logs_until_its_end(
    aws: Aws, s3_prefix: str, name: str, tmp_path: Path
) -> None:
    """Model.transformer().transform(wait=True, logs=True): every record comes back, and the container's words."""
    model_data = aws.put(f"{s3_prefix}model.tar.gz", work.model_archive())
    given = {"name": name, "prefix": s3_prefix, "model_data": model_data}
    printed, found = run(aws, tmp_path, "sdk_transform.py", environment=work.MODEL_ENVIRONMENT, **given)
    assert found["outputs"] == {f"out/{key}": body.decode() for key, body in work.expected_outputs().items()}
    assert sum(body.count("\n") for body in found["outputs"].values()) == 501
    assert found["output_path"] == f"{s3_prefix}out/"
    assert found["attached"] == [name, "MultiRecord", "text/csv", 1]
    assert "doubled 300" in printed
    assert found["failure"][0] == "Failed"
    assert f"Error for Transform job {name}-bad: Failed. Reason: AlgorithmError: " in found["failure"][1]
    assert aws.keys(f"{s3_prefix}bad-out/") == []
    assert found["stopped"] == "Stopped"


def test_a_script_is_processed_with_logs_until_its_end(
    aws: Aws, s3_prefix: str, name: str, tmp_path: Path
) -> None:
    """ScriptProcessor.run(wait=True, logs=True) with local files; Processor.run reports a failure on two hosts."""
    (tmp_path / "count.py").write_text(work.COUNT)
    bucket = s3_prefix.split("/")[2]
    printed, found = run(
        aws, tmp_path, "sdk_processing.py", code=str(tmp_path / "count.py"), name=name, bucket=bucket
    )
    assert found["status"] == "Completed"
    assert found["output_uri"] == f"s3://{bucket}/{name}/output/counts"
    assert found["counts"].encode() == work.COUNTS
    assert "counted 501 records" in printed
    assert found["failure"][0] == "Failed"
    assert f"Error for Processing job {name}-bad: Failed. Reason: AlgorithmError: " in found["failure"][1]


def test_models_are_registered_alone_and_in_groups(
    aws: Aws, s3_prefix: str, name: str, tmp_path: Path
) -> None:
    """Model.register, of whose requests each has an approval; a package without a group transforms at once."""
    model_data = aws.put(f"{s3_prefix}model.tar.gz", work.model_archive())
    bucket = f"{s3_prefix.split('/')[2]}-default"
    given = {"name": name, "prefix": s3_prefix, "bucket": bucket, "model_data": model_data}
    _, found = run(aws, tmp_path, "sdk_register.py", environment=work.MODEL_ENVIRONMENT, **given)
    assert found["made"] == bucket
    assert aws.client("s3").head_bucket(Bucket=bucket)
    assert found["group"] == f"{name}-group"
    assert found["alone"].endswith(f":model-package/{name}")
    sagemaker = aws.client("sagemaker")
    versions = [sagemaker.describe_model_package(ModelPackageName=arn) for arn in found["versions"]]
    assert [each["ModelPackageVersion"] for each in versions] == [1, 2]
    assert [each["ModelApprovalStatus"] for each in versions] == ["PendingManualApproval", "Approved"]
    assert [uri.rsplit("/", 1)[1] for uri in found["outputs"]] == ["a.csv.out", "b.csv.out", "c.csv.out"]
