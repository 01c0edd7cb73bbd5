"""Checks, splits and compares S3 URIs, exact about slashes: SageMaker's `S3Prefix` is a raw string prefix."""

from __future__ import annotations

import re

URI_PATTERN = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\x00-\x1f]*)?$"
_URI = re.compile(URI_PATTERN)


def is_s3_uri(text: str) -> bool:
    """Whether `text` is `s3://bucket` or `s3://bucket/key`."""
    return _URI.fullmatch(text) is not None


def split_s3_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/a/b` as `("bucket", "a/b")`. Raises ValueError for anything else."""
    if not is_s3_uri(uri):
        raise ValueError(f"found {uri!r}; an S3 URI looks like s3://bucket/prefix/")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def ensure_trailing_slash(uri: str) -> str:
    """`uri` with exactly one slash at its end."""
    return uri.rstrip("/") + "/"


def prefix_includes(prefix: str, uri: str) -> bool:
    """Whether S3 lists the objects at or under `uri` for `prefix`, which it reads as a raw string prefix."""
    return ensure_trailing_slash(uri).startswith(prefix)


def get_folder_uri(input_uri: str) -> str:
    """`input_uri` up to and including its last slash: the part that SageMaker strips from the names of objects."""
    bucket, key = split_s3_uri(input_uri)
    return f"s3://{bucket}/{key[: key.rfind('/') + 1]}"
