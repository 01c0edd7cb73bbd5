"""Checks that the input, output and work prefixes of a pipeline do not overlap."""

from __future__ import annotations

from batch_inference.common import s3_uri
from batch_inference.common.names import build_runs_prefix


def find_overlap_with_input(input_uri: str, field: str, uri: str) -> str | None:
    """The problem when the next run would read what this run writes to `uri`; None when there is none."""
    if not s3_uri.prefix_includes(input_uri, uri):
        return None
    return (
        f"{field}: found {uri!r} below the input {input_uri!r}, so the next run would read what this one wrote; choose "
        f"another prefix"
    )


def find_overlap_with_run_files(work: str, pipeline: str, field: str, uri: str) -> str | None:
    """The problem when `uri` is among the files of the runs, which are deleted by age; None when there is none."""
    runs_root = build_runs_prefix(work=work, pipeline=pipeline)
    if not s3_uri.ensure_trailing_slash(uri).startswith(runs_root):
        return None
    return (
        f"{field}: found {uri!r} below {runs_root!r}, where each run keeps its own files, which are deleted after "
        f"keep_runs_days; choose another prefix"
    )
