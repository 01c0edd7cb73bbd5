"""Prints the `baseline` of a pipeline file from a run's profile: `make baseline PROFILE=s3://…/profile.json`.

S3 is reached as `aws` reaches it: by the default credentials, and by AWS_ENDPOINT_URL for another one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
import yaml

from include.jobs.profiles import baseline_of
from include.scoring.s3uri import split


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the profile that the command line names, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", help="profile.json of a run: an S3 URI, or a file")
    print(render(read(parser.parse_args(arguments).profile)), end="")


def read(profile: str) -> dict[str, Any]:
    """The merged profile of a run."""
    if profile.startswith("s3://"):
        bucket, key = split(profile)
        client: Any = boto3.client("s3")
        content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    else:
        content = Path(profile).read_bytes()
    found: dict[str, Any] = json.loads(content)
    return found


def render(profile: dict[str, Any]) -> str:
    """The section as YAML; numbers are rounded to six digits, which is more than a profile knows of quantiles."""
    columns = {
        name: {
            key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in each.items()
        }
        for name, each in baseline_of(profile["columns"])["columns"].items()
    }
    return yaml.safe_dump({"baseline": columns}, sort_keys=False, allow_unicode=True)


if __name__ == "__main__":
    main()
