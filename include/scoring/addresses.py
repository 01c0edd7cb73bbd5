"""Addresses of one run that may not lie inside each other."""

from __future__ import annotations

from include.scoring import s3uri
from include.scoring.naming import runs_prefix


def below_input(input_uri: str, name: str, uri: str) -> str | None:
    """What is wrong when what a run writes to `uri` would be read by the next one; None when nothing is."""
    if not s3uri.covers(input_uri, uri):
        return None
    return (
        f"{name}: found {uri!r} below the input {input_uri!r}, so the next run would read what this one wrote; choose "
        f"another prefix"
    )


def among_run_files(work: str, pipeline: str, name: str, uri: str) -> str | None:
    """What is wrong when what is published to `uri` would be deleted with the files of its run; None if nothing."""
    runs = runs_prefix(work=work, pipeline=pipeline)
    if not s3uri.as_folder(uri).startswith(runs):
        return None
    return (
        f"{name}: found {uri!r} below {runs!r}, where each run keeps its own files, which are deleted after "
        f"keep_runs_days; choose another prefix"
    )
