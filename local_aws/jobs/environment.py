"""Builds the environment of runner processes: the server's, with AWS settings that fit the endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# Variables that would point boto3 at another account or endpoint than SPEC.json names.
CONFLICTING_VARIABLES = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_LOGS",
)
PLACEHOLDER_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}


def build_runner_environment(environ: Mapping[str, str], *, uses_built_in_s3: bool) -> dict[str, str]:
    """`environ` for runners: placeholder credentials for the built-in S3, the user's own for another S3."""
    result = dict(environ)
    if uses_built_in_s3:
        for name in CONFLICTING_VARIABLES:
            result.pop(name, None)
        result.update(PLACEHOLDER_CREDENTIALS)
    else:
        for name, value in PLACEHOLDER_CREDENTIALS.items():
            result.setdefault(name, value)
        for name in CONFLICTING_VARIABLES[-3:]:
            result.pop(name, None)
    path = result.get("PYTHONPATH", "")
    result["PYTHONPATH"] = f"{REPOSITORY}:{path}" if path else str(REPOSITORY)
    result["PYTHONUNBUFFERED"] = "1"
    return result
