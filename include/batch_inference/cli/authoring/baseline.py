"""`batch-inference baseline`: the `baseline` of a pipeline file from a run's profile.

S3 is accessed with the default credentials, and with AWS_ENDPOINT_URL if it is set.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import click
import yaml

from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.jobs.common.profiles import build_baseline


@click.command()
@click.argument("profile")
def command(profile: str) -> None:
    """Print the `baseline` section of a pipeline file from a run's profile.

    PROFILE is profile.json of a run, an S3 URI or a file. S3 is accessed with the default credentials, and with
    AWS_ENDPOINT_URL if it is set.

    \b
    batch-inference baseline s3://my-bucket/work/churn/2026-11-01/…/profile.json
    """
    click.echo(render_baseline(read_profile(profile)), nl=False)


def read_profile(uri_or_path: str) -> dict[str, Any]:
    """The merged profile of a run."""
    if uri_or_path.startswith("s3://"):
        bucket, key = split_s3_uri(uri_or_path)
        client: Any = boto3.client("s3")
        content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    else:
        try:
            content = Path(uri_or_path).read_bytes()
        except OSError as error:
            raise click.ClickException(
                f"{uri_or_path}: {error.strerror}; name profile.json of a run"
            ) from error
    found: dict[str, Any] = json.loads(content)
    return found


def render_baseline(profile: dict[str, Any]) -> str:
    """The section as YAML; numbers are rounded to six digits, more than the accuracy of a profile's quantiles."""
    columns = {
        name: {
            key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in each.items()
        }
        for name, each in build_baseline(profile["columns"]).items()
    }
    return yaml.safe_dump({"baseline": columns}, sort_keys=False, allow_unicode=True)
