"""`batch-inference iam`: the IAM policies that a pipeline needs, as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import click

from batch_inference.cli.project import find_project
from batch_inference.common.s3_uri import is_s3_uri
from batch_inference.requests.iam import build_policies, build_role_request

REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


ROLES = ("airflow", "sagemaker", "sagemaker_trust", "sagemaker_role", "janitor")


def check_s3_uris(_ctx: click.Context, _param: click.Parameter, uris: Sequence[str]) -> Sequence[str]:
    """The S3 URIs of an option. Raises click.BadParameter for what is none."""
    for uri in uris:
        if not is_s3_uri(uri):
            raise click.BadParameter(f"found {uri!r}; an S3 URI looks like s3://bucket/prefix/")
    return uris


def check_region(_ctx: click.Context, _param: click.Parameter, region: str | None) -> str | None:
    """The region of an option. Raises click.BadParameter for what is none."""
    if region is not None and REGION.fullmatch(region) is None:
        raise click.BadParameter(f"found {region!r}; a region looks like eu-central-1")
    return region


@click.command()
@click.argument("pipeline_id", metavar="[PIPELINE]", required=False)
@click.option("--role", type=click.Choice(ROLES), help="print only this document")
@click.option(
    "--region",
    metavar="REGION",
    callback=check_region,
    help="region of the jobs; default: the pipeline's",
)
@click.option(
    "--input",
    "inputs",
    metavar="URI",
    callback=check_s3_uris,
    multiple=True,
    help="an additional input URI that manual runs may use; repeatable",
)
@click.option(
    "--output",
    "outputs",
    metavar="URI",
    callback=check_s3_uris,
    multiple=True,
    help="an additional output URI that manual runs may use; repeatable",
)
@click.option(
    "--image",
    "images",
    metavar="URI",
    multiple=True,
    help="a container image of the model package versions in the registry; repeatable",
)
@click.option(
    "--model-data",
    metavar="URI",
    callback=check_s3_uris,
    multiple=True,
    help="a prefix of artefacts of the model package versions in the registry; repeatable",
)
def command(
    pipeline_id: str | None,
    role: str | None,
    region: str | None,
    inputs: Sequence[str],
    outputs: Sequence[str],
    images: Sequence[str],
    model_data: Sequence[str],
) -> None:
    """Print the IAM policies that a pipeline needs, as JSON.

    \b
    batch-inference iam risk.churn
    batch-inference iam churn --role airflow --region eu-central-1
    """
    pipeline = find_project().load_pipeline(pipeline_id)
    documents = build_policies(
        pipeline, region=region, inputs=inputs, outputs=outputs, images=images, model_data=model_data
    )
    documents["sagemaker_role"] = build_role_request(pipeline, documents["sagemaker_trust"])
    click.echo(json.dumps(documents[role] if role else documents, indent=2))
