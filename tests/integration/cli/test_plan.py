"""`batch-inference plan` in a process of its own, without an Airflow database, against the embedded AWS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from batch_inference.cli.laptop.environment import build_aws_connection, create_client, run_embedded_aws
from batch_inference.cli.laptop.sample import create_buckets_and_role
from batch_inference.config.pipeline import Pipeline
from tests.integration.staged_runs import document

OBJECTS = {"in/date=2026-01-05/a.csv": b"1,m,30\n2,f,40\n", "model/a.tar.gz": b"an archive"}
TYPES = {"image": "registry/python:3", "instance_types": ["ml.m5.2xlarge"]}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An embedded AWS with what the pipeline needs."""
    with run_embedded_aws(tmp_path_factory.mktemp("aws")) as url:
        client = create_client("s3", url)
        create_buckets_and_role(client, Pipeline.model_validate(document()))
        for key, body in OBJECTS.items():
            client.put_object(Bucket="bucket", Key=key, Body=body)
        yield url


def run_plan(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a project with the pipeline, by a user who has no Airflow and no credentials."""
    folder = project / "dags" / "pipelines"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "churn.yaml").write_text(yaml.safe_dump(document(preprocess=TYPES)))
    home = project / "home"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))}
    done = subprocess.run(
        [sys.executable, "-m", "batch_inference.cli", "plan", "churn", *arguments],
        cwd=project,
        env={**kept, "HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert list(home.iterdir()) == []
    return done


def list_state(endpoint: str) -> dict[str, Any]:
    """The keys of the bucket, and the jobs and models."""
    sagemaker = create_client("sagemaker", endpoint)
    contents = create_client("s3", endpoint).list_objects_v2(Bucket="bucket")["Contents"]
    return {
        "keys": {entry["Key"] for entry in contents},
        "jobs": [
            *sagemaker.list_processing_jobs()["ProcessingJobSummaries"],
            *sagemaker.list_transform_jobs()["TransformJobSummaries"],
            *sagemaker.list_models()["Models"],
        ],
    }


def test_a_dry_run_prints_plan_and_types_and_writes_nothing(endpoint: str, tmp_path: Path) -> None:
    """Of the date asked for; by `--endpoint-url`, and by the connection in the environment alike."""
    done = run_plan(tmp_path, "--date", "2026-01-05", "--endpoint-url", endpoint)
    assert (done.returncode, done.stderr) == (0, "Planning churn: AWS is only read\n")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("churn: The run should take ")
    assert "- Of 2 sampled records in 1 object, none would be rejected." in lines
    assert [line.split()[:5] for line in lines if " × ml." in line and line[:2] in ("* ", "  ")][-3:] == [
        ["*", "preprocess", "1", "×", "ml.m5.xlarge"],
        ["preprocess", "1", "×", "ml.m5.2xlarge", line_of(lines, "ml.m5.2xlarge")],
        ["*", "transform", "1", "×", "ml.m5.xlarge"],
    ]
    asked = run_plan(
        tmp_path, "--date", "2026-01-05", "--requests", AIRFLOW_CONN_AWS_TEST=build_aws_connection(endpoint)
    )
    assert asked.returncode == 0, asked.stderr
    requests = json.loads(asked.stdout)
    assert requests["transform"]["TransformResources"] == {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1}
    assert list_state(endpoint) == {"keys": set(OBJECTS), "jobs": []}


def line_of(lines: list[str], instance_type: str) -> str:
    """The word after the type in its line: the beginning of its time."""
    return next(line.split(instance_type)[1].split()[0] for line in lines if f"× {instance_type}" in line)


def test_where_no_clusters_are_in_time_the_types_are_still_compared(endpoint: str, tmp_path: Path) -> None:
    """The table first, then what is wrong; not between the requests of a program."""
    arguments = ["--date", "2026-01-05", "--conf", '{"deadline": "1"}', "--endpoint-url", endpoint]
    done = run_plan(tmp_path, *arguments)
    assert done.returncode == 1
    assert "batch-inference plan: the run cannot be done by" in done.stderr
    assert "* transform  1 × ml.m5.xlarge" in done.stdout
    assert " no" in next(line for line in done.stdout.splitlines() if "× ml.m5.2xlarge" in line)
    assert "* is nearest to what is asked for" in done.stdout
    asked = run_plan(tmp_path, *arguments, "--requests")
    assert (asked.returncode, asked.stdout) == (1, "")


def test_what_is_wrong_is_said_without_a_traceback(endpoint: str, tmp_path: Path) -> None:
    """A bucket that does not exist, and a user without credentials."""
    wrong = run_plan(tmp_path, "--input", "s3://absent/in/", "--endpoint-url", endpoint)
    assert wrong.returncode == 1
    assert "plan: input.uri: found the bucket absent, which does not exist" in wrong.stderr
    nobody = run_plan(tmp_path)
    assert nobody.returncode == 1
    (said,) = nobody.stderr.splitlines()[1:]
    assert said.startswith("batch-inference plan: Unable to locate credentials; set AWS_PROFILE")
