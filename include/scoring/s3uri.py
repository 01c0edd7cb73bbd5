"""S3 addresses as text, exact about slashes, since SageMaker's `S3Prefix` is a raw string prefix."""

from __future__ import annotations

import re

URI_PATTERN = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\x00-\x1f]*)?$"
_URI = re.compile(URI_PATTERN)


def is_uri(text: str) -> bool:
    """Whether `text` is `s3://bucket` or `s3://bucket/key`."""
    return _URI.fullmatch(text) is not None


def split(uri: str) -> tuple[str, str]:
    """`s3://bucket/a/b` as `("bucket", "a/b")`. Raises ValueError for anything else."""
    if not is_uri(uri):
        raise ValueError(f"found {uri!r}; an S3 URI looks like s3://bucket/prefix/")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def as_folder(uri: str) -> str:
    """`uri` with exactly one slash at its end."""
    return uri.rstrip("/") + "/"


def covers(prefix: str, uri: str) -> bool:
    """Whether a listing of `prefix`, read as S3 reads it, would hold what lies at or under `uri`."""
    return as_folder(uri).startswith(prefix)
