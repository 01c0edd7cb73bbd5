"""Prepares the embedded AWS: buckets of the pipelines, and the sample where the example pipeline reads it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from batch_inference.cli.laptop.environment import LaptopError, build_path_environment, create_client
from batch_inference.common.errors import PipelineError
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.pipeline_files import read_pipelines
from batch_inference.requests.iam import POLICY_VERSION, SAGEMAKER_SERVICE, build_role_request

SAMPLE_ROWS, SAMPLE_SEED = 200_000, 20
#: The pipeline of the sample; other pipelines have models of their own.
SAMPLE_PIPELINE = "abalone"


def make_sample(
    folder: Path, *, rows: int = SAMPLE_ROWS, seed: int = SAMPLE_SEED, python: str = sys.executable
) -> None:
    """Generate data and fit the model below `folder`; a part that is finished is not generated again.

    `python` is that of an environment with scikit-learn.

    Raises:
        LaptopError: when the generator or the fit fails.
    """
    folder = folder.resolve()
    steps = {"data": ["generate", "--rows", str(rows), "--seed", str(seed)], "model": ["fit"]}
    for part, (module, *arguments) in steps.items():
        finished, out = folder / f"{part}.finished", folder / part
        if finished.exists():
            continue
        out.mkdir(parents=True, exist_ok=True)
        command = [python, "-m", f"batch_inference.samples.{SAMPLE_PIPELINE}.{module}"]
        command += ["--out", str(out), *arguments]
        result = subprocess.run(
            command,
            cwd=folder,
            env=build_path_environment("batch_inference"),
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise LaptopError(f"generating the sample's {part} failed: {result.stderr[-800:]}")
        finished.touch()


def create_buckets_and_role(client: Any, pipeline: Pipeline) -> None:
    """Create the buckets of the pipeline's URIs and the role of its jobs where `client` has S3; on AWS they exist."""
    uris = (pipeline.work, pipeline.input.uri, pipeline.output.uri)
    for bucket in sorted({split_s3_uri(uri)[0] for uri in uris}):
        client.create_bucket(Bucket=bucket)
    trust = {"Effect": "Allow", "Principal": {"Service": SAGEMAKER_SERVICE}, "Action": ["sts:AssumeRole"]}
    request = build_role_request(pipeline, {"Version": POLICY_VERSION, "Statement": [trust]})
    # The boundary's policy is not there.
    request.pop("PermissionsBoundary", None)
    iam = create_client("iam", client.meta.endpoint_url)
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(**request)


def upload_files(client: Any, source: Path, uri_prefix: str) -> list[str]:
    """Upload a file, or the files of a folder, below `uri_prefix`; their URIs."""
    bucket, key = split_s3_uri(uri_prefix)
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    root = source.parent if source.is_file() else source
    keys = [f"{key}{path.relative_to(root).as_posix()}" for path in files]
    for path, each in zip(files, keys, strict=True):
        client.upload_file(str(path), bucket, each)
    return [f"s3://{bucket}/{each}" for each in keys]


def upload_sample(
    client: Any, pipeline: Pipeline, folder: Path, *, with_data: bool = True, python: str = sys.executable
) -> None:
    """Generate the sample if absent; upload its model and, with `with_data`, its data."""
    if pipeline.name != SAMPLE_PIPELINE:
        return
    make_sample(folder, python=python)
    if with_data:
        upload_files(client, folder / "data", pipeline.input.uri)
    for container in pipeline.model.containers or ():
        if container.model_data:
            bucket, key = split_s3_uri(container.model_data)
            client.upload_file(str(folder / "model" / Path(key).name), bucket, key)


def prepare_buckets(
    client: Any, sample_dir: Path, pipelines_folder: Path, *, python: str = sys.executable
) -> None:
    """Create the buckets of all valid pipelines and upload the sample of `sample_dir`, generated if absent."""
    for _, _, pipeline in read_pipelines(pipelines_folder):
        if isinstance(pipeline, PipelineError):
            print(f"pipeline skipped: {pipeline}", file=sys.stderr, flush=True)
            continue
        create_buckets_and_role(client, pipeline)
        upload_sample(client, pipeline, sample_dir, python=python)
