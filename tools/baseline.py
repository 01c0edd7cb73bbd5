"""Prints the `baseline` of a pipeline file from a run's profile: `make baseline PROFILE=s3://…/profile.json`.

S3 is accessed with the default credentials, and with AWS_ENDPOINT_URL if it is set.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
import yaml

from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.jobs.common.profiles import build_baseline


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the profile that the command line names, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", help="profile.json of a run: an S3 URI, or a file")
    print(render_baseline(read_profile(parser.parse_args(arguments).profile)), end="")


def read_profile(uri_or_path: str) -> dict[str, Any]:
    """The merged profile of a run."""
    if uri_or_path.startswith("s3://"):
        bucket, key = split_s3_uri(uri_or_path)
        client: Any = boto3.client("s3")
        content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    else:
        content = Path(uri_or_path).read_bytes()
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


if __name__ == "__main__":
    main()
