"""Checks, splits and compares S3 URIs, exact about slashes: SageMaker's `S3Prefix` is a raw string prefix."""

from __future__ import annotations

import re
from collections.abc import Iterator

_URI = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\x00-\x1f]*)?")


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


def find_overlap_problems(
    input_uri: str, output_uri: str, work: str, runs_prefix: str
) -> Iterator[tuple[str, str]]:
    """`output` or `work`, and its problem, where the next run would read what this one writes to it.

    Or where the output is among the files of the runs, below `runs_prefix`, which are deleted by age.
    """
    for field, uri in (("output", output_uri), ("work", work)):
        if prefix_includes(input_uri, uri):
            below = f"found {uri!r} below the input {input_uri!r}"
            yield field, f"{below}, so the next run would read what this one wrote; choose another prefix"
    if prefix_includes(runs_prefix, output_uri):
        below = f"found {output_uri!r} below {runs_prefix!r}, where each run keeps its own files"
        yield "output", f"{below}, which are deleted after keep_runs_days; choose another prefix"


def get_folder_uri(input_uri: str) -> str:
    """`input_uri` up to and including its last slash: the part that SageMaker strips from the names of objects."""
    bucket, key = split_s3_uri(input_uri)
    return f"s3://{bucket}/{key[: key.rfind('/') + 1]}"
