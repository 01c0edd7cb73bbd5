"""The environment of runner processes: the server's, with AWS settings that fit the endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
# What would lead boto3 to another account or another endpoint than SPEC.json names.
MISLEADING = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_LOGS",
)
PLACEHOLDERS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}


def runner_environment(environ: Mapping[str, str], *, own_s3: bool) -> dict[str, str]:
    """`environ` for runners; with our own S3 any credentials do, with another the user's are kept."""
    result = dict(environ)
    if own_s3:
        for name in MISLEADING:
            result.pop(name, None)
        result.update(PLACEHOLDERS)
    else:
        for name, value in PLACEHOLDERS.items():
            result.setdefault(name, value)
        for name in MISLEADING[-3:]:
            result.pop(name, None)
    path = result.get("PYTHONPATH", "")
    result["PYTHONPATH"] = f"{REPOSITORY}:{path}" if path else str(REPOSITORY)
    result["PYTHONUNBUFFERED"] = "1"
    return result
