"""`batch-inference upload`: a file or folder to S3, without the AWS CLI."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from batch_inference.cli.laptop.environment import CREDENTIALS
from batch_inference.cli.laptop.sample import upload_files
from batch_inference.cli.project import convert_path, find_project
from batch_inference.common.formatting import format_count
from batch_inference.common.s3_uri import ensure_trailing_slash, is_s3_uri, split_s3_uri
from batch_inference.config.placeholders import fill_placeholders


def create_client(service: str, endpoint_url: str | None, region: str | None = None) -> Any:
    """A client of AWS, with boto3's own chain of credentials, or of the embedded AWS at `endpoint_url`."""
    boto3: Any = import_module("boto3")

    embedded = (
        {}
        if endpoint_url is None
        else {
            "endpoint_url": endpoint_url,
            "aws_access_key_id": CREDENTIALS["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        }
    )
    region = region or (CREDENTIALS["AWS_DEFAULT_REGION"] if endpoint_url else None)
    return boto3.client(service, region_name=region, **embedded)


def parse_date(text: str | None) -> datetime:
    """The data time that `--date` names, in UTC; now without it. Raises click.UsageError for what is no date."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else datetime.now(UTC)
    except ValueError:
        raise click.UsageError(f"found --date {text!r}; allowed is a date such as 2026-01-31") from None


@click.command()
@click.argument("source", callback=convert_path)
@click.argument("target", required=False)
@click.option(
    "--pipeline", "pipeline_id", metavar="ID", help="its input.uri is the target; default: the only one"
)
@click.option(
    "--date", "date", metavar="YYYY-MM-DD", help="what {date} of input.uri is; default: today in UTC"
)
@click.option(
    "--endpoint-url", metavar="URL", help="of the embedded AWS; default: AWS, by boto3's credentials"
)
def command(
    source: Path, target: str | None, pipeline_id: str | None, date: str | None, endpoint_url: str | None
) -> None:
    """Upload the file or folder SOURCE below the S3 prefix TARGET, by default to where a pipeline reads its input.

    \b
    batch-inference upload customers.csv --pipeline churn
    batch-inference upload customers/ s3://my-bucket/customers/ --endpoint-url http://127.0.0.1:5600
    """
    if target is not None and not is_s3_uri(target):
        raise click.UsageError(
            f"found the target {target!r}; allowed is an S3 URI such as s3://bucket/prefix/"
        )
    region = None
    if target is None:
        pipeline = find_project().load_pipeline(pipeline_id)
        region = pipeline.region
        target = fill_placeholders(pipeline.input.uri, data_time=parse_date(date), run_id="upload")
    client = create_client("s3", endpoint_url, region)
    if endpoint_url is not None:
        client.create_bucket(Bucket=split_s3_uri(target)[0])
    uris = upload_files(client, source, ensure_trailing_slash(target))
    click.echo("\n".join([*uris, f"uploaded {format_count(len(uris), 'file')}"]))
