"""`batch-inference model`: packs a model, uploads it to where a pipeline reads it, or registers it as a package."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from batch_inference.cli.aws.upload import create_client
from batch_inference.cli.models.model_archive import (
    MODULES,
    PICKLES,
    ModelArchiveError,
    build_model_archive,
    get_image_kind,
)
from batch_inference.cli.project import convert_path, find_project
from batch_inference.common.formatting import format_bytes
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.config.images import build_image_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.stages import ContainerDefinition
from batch_inference.jobs.common.cell_types import is_number_type

#: Prints the names, or null, and the number of the features that the model of a file was fitted on.
READ_FEATURES = """
import json, sys, joblib
model = joblib.load(sys.argv[1])
names, count = (getattr(model, name, None) for name in ("feature_names_in_", "n_features_in_"))
print(json.dumps([None if names is None else [str(name) for name in names], count]))
"""


def find_container(pipeline: Pipeline, number: int | None = None) -> ContainerDefinition:
    """The container that reads a model's archive: the one of this number from 1, or the only one that reads one.

    Raises click.UsageError where there is none, or several.
    """
    section = pipeline.model
    found = [container for container in section.containers if container.model_data]
    if (
        number is not None
        and 1 <= number <= len(section.containers)
        and section.containers[number - 1].model_data
    ):
        return section.containers[number - 1]
    if len(found) == 1 and number is None:
        return found[0]
    if not found:
        raise click.UsageError(
            f"{pipeline.name}: no container of its model has model_data, so it reads no archive of yours; write "
            "model: { containers: [{ image: sklearn 1.2-1, model_data: s3://…/model.tar.gz }] } in the pipeline file"
        )
    raise click.UsageError(
        f"{pipeline.name}: {len(found)} of its {len(section.containers)} containers read an archive; name one with "
        "--container, from 1"
    )


def check_modules(container: ContainerDefinition, python: str) -> None:
    """Refuse a model that the embedded AWS in the environment of `python` cannot serve.

    Raises click.ClickException that says what to install.
    """
    kind = get_image_kind(container.image)
    for module in MODULES.get(kind or "", ()):
        if subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode:
            what = "xgboost" if module == "xgboost" else "'airflow-sagemaker-batch-inference[local]'"
            raise click.ClickException(
                f"the image {container.image} is served on this machine with {module}, which {python} does not have: "
                f"{python} -m pip install {what}"
            )


def read_features(source: Path, python: str) -> tuple[list[str] | None, int | None]:
    """Names and number of the features that a model file of joblib was fitted on; None for what it does not say.

    The file is loaded with `python`. Raises ModelArchiveError where it cannot be.
    """
    done = subprocess.run([python, "-c", READ_FEATURES, source], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelArchiveError(f"{source} could not be loaded with {python}: {reason}")
    names, count = json.loads(done.stdout.splitlines()[-1])
    return names, count


def compare_features(
    pipeline: Pipeline, source: Path, container: ContainerDefinition, python: str
) -> str | None:
    """Compare the features that a model file of joblib was fitted on with those that the pipeline sends.

    The file is loaded with `python`. Returns a sentence where names differ or the file cannot be loaded; None
    otherwise, and for other models, whose script is their own.

    Raises click.ClickException where the number or the order differs: the default script takes cells by their position.
    """
    if get_image_kind(container.image) != "sklearn" or source.suffix.lower() not in PICKLES:
        return None
    try:
        names, count = read_features(source, python)
    except ModelArchiveError as error:
        return f"{error}; so its features were not compared"
    sent = list(pipeline.feature_columns)
    if count is None or names == sent:
        return None
    if names is None or sorted(names) != sorted(sent):
        expected = f"{count} features" + (f": {', '.join(names)}" if names else "")
        if count == len(sent):
            by_position = f"{source} was fitted on {expected}; it gets by position {', '.join(sent)}"
            return by_position if names else None
        found = f"{source} was fitted on {expected}; the pipeline sends {len(sent)}: {', '.join(sent)}"
    else:
        found = f"{source} was fitted on its features in another order than the pipeline sends them: {', '.join(sent)}"
    known = names and set(names) <= {column.name for column in pipeline.input.columns}
    write = (
        f"columns: {json.dumps(names, ensure_ascii=False)}"
        if known
        else "in columns those that the model expects"
    )
    raise click.ClickException(f"{found}; under features: in the pipeline file write {write}")


def find_text_features(pipeline: Pipeline) -> dict[int, str]:
    """Position and name of each feature whose cells are no numbers; those that a function returns are not known."""
    if pipeline.function is not None:
        return {}
    types = pipeline.column_types
    return {
        at: name
        for at, name in enumerate(pipeline.feature_columns)
        if types[name] != "boolean" and not is_number_type(types[name])
    }


def upload_model(client: Any, source: Path, container: ContainerDefinition, pipeline: Pipeline) -> str:
    """Pack the model and upload it to where the container reads it; a sentence on what was done."""
    archive, done = build_model_archive(source, container, find_text_features(pipeline))
    bucket, key = split_s3_uri(str(container.model_data))
    client.put_object(Bucket=bucket, Key=key, Body=archive)
    return f"{done}; uploaded {format_bytes(len(archive))} to {container.model_data}"


def register_model(client: Any, group: str, container: ContainerDefinition, region: str, status: str) -> str:
    """Create a version in a model package group, which is created where it is missing; the version's ARN."""
    try:
        client.describe_model_package_group(ModelPackageGroupName=group)
    except client.exceptions.ClientError:  # a ValidationException: AWS has no error of its own for it
        client.create_model_package_group(ModelPackageGroupName=group)
    definition = {
        "Image": build_image_uri(container.image, region),
        "ModelDataUrl": container.model_data,
        "Environment": container.environment,
    }
    answer = client.create_model_package(
        ModelPackageGroupName=group,
        ModelApprovalStatus=status,
        InferenceSpecification={
            "Containers": [definition],
            "SupportedContentTypes": ["text/csv", "application/jsonlines"],
            "SupportedResponseMIMETypes": ["text/csv", "application/jsonlines", "application/json"],
        },
    )
    return str(answer["ModelPackageArn"])


def list_versions(client: Any, group: str) -> list[str]:
    """A line for each version of the group, the latest first."""
    pages = client.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending"
    )
    return [
        f"{version['ModelPackageVersion']:>4}  {version['ModelApprovalStatus']:<22} "
        f"{version['CreationTime']:%Y-%m-%d %H:%M}  {version['ModelPackageArn']}"
        for page in pages
        for version in page["ModelPackageSummaryList"]
    ]


@click.command()
@click.argument("pipeline_id", metavar="PIPELINE")
@click.argument("source", metavar="[MODEL]", required=False, callback=convert_path)
@click.option(
    "--container", "number", type=int, help="which container reads it, from 1; default: the only one"
)
@click.option("--group", metavar="NAME", help="register it as a version of this model package group")
@click.option(
    "--approve", is_flag=True, help="with --group: the version is approved, and used by the next run"
)
@click.option(
    "--list", "lists", is_flag=True, help="list the versions of --group, or of the pipeline's group"
)
@click.option("--image", metavar="IMAGE", help="with --group: image of the version; default: the container's")
@click.option(
    "--endpoint-url", metavar="URL", help="of the embedded AWS; default: AWS, by boto3's credentials"
)
def command(
    pipeline_id: str,
    source: Path | None,
    number: int | None,
    group: str | None,
    approve: bool,
    lists: bool,
    image: str | None,
    endpoint_url: str | None,
) -> None:
    """Pack MODEL as PIPELINE's image finds it, and upload it to where the pipeline reads it (model_data).

    MODEL is a model.tar.gz, a folder with its content, or one file: of joblib for scikit-learn, or of XGBoost. With
    --group it becomes a version in the model registry.

    \b
    batch-inference model churn model.joblib
    batch-inference model churn model.tar.gz --group churn --approve
    batch-inference model churn --list --group churn
    """
    pipeline = find_project().load_pipeline(pipeline_id)
    group = group or pipeline.model.group
    sagemaker = create_client("sagemaker", endpoint_url, pipeline.region)
    if lists:
        if group is None:
            raise click.UsageError("--list needs --group NAME: the pipeline's model is in no group")
        click.echo("\n".join(list_versions(sagemaker, group)) or f"{group} has no version")
        return
    if source is None:
        raise click.UsageError("name the model: a model.tar.gz, a folder, or a file such as model.joblib")
    s3 = create_client("s3", endpoint_url, pipeline.region)
    container = _choose_container(pipeline, number, image, group)
    if endpoint_url is not None:
        s3.create_bucket(Bucket=split_s3_uri(str(container.model_data))[0])
    if note := compare_features(pipeline, source, container, sys.executable):
        click.echo(note)
    click.echo(upload_model(s3, source, container, pipeline))
    if group is not None:
        status = "Approved" if approve else "PendingManualApproval"
        arn = register_model(sagemaker, group, container, sagemaker.meta.region_name, status)
        click.echo(f"registered {arn} as {status}")


def _choose_container(
    pipeline: Pipeline, number: int | None, image: str | None, group: str | None
) -> ContainerDefinition:
    """Where the archive goes: the pipeline's container, or for a version of a group a key of its own."""
    if group is None:
        return find_container(pipeline, number)
    if image is None:
        container = find_container(pipeline, number)
    else:
        from batch_inference.cli.models.model_archive import SCRIPT_ENVIRONMENT

        environment = SCRIPT_ENVIRONMENT if get_image_kind(image) == "sklearn" else {}
        container = ContainerDefinition(image=image, environment=environment)
    uri = f"{pipeline.work.rstrip('/')}/_models/{pipeline.name}/{datetime.now(UTC):%Y%m%dT%H%M%S%f}/model.tar.gz"
    return container.model_copy(update={"model_data": uri})
