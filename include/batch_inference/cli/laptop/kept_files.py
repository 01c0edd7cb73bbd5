"""Copies the report, the rejects and the published rows of a run to this machine: the embedded S3 ends with the run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batch_inference.common.names import RunPaths
from batch_inference.common.s3_uri import split_s3_uri

#: Runs whose files are kept, and the most bytes of all of them together; the last run is kept whatever its size.
KEPT_RUNS, KEPT_BYTES = 5, 2_000_000_000
#: Files below the run's prefix that are copied; records, features and parts of the join are not.
_COPIED = re.compile(
    r"(plan|checks|statistics|report)\.json|report\.html|[^/]+/(rejects|mended)\.json|[^/]+/rejects/[^/]+\.jsonl"
)
_URI = re.compile(r"s3://[^\s'\"]*[^\s'\".,;:)]")


@dataclass(frozen=True)
class KeptFiles:
    """The files of one run on this machine, each by the URI that it had."""

    folder: Path
    paths: dict[str, Path] = field(default_factory=dict)

    @property
    def report_html(self) -> Path | None:
        """The report; None if the run wrote none."""
        return next((path for path in self.paths.values() if path.name == "report.html"), None)

    def replace_uris(self, text: str) -> str:
        """The text with paths of this machine in place of the URIs of copied files and of their folders."""
        places: Mapping[str, str] = {
            **{uri: str(path) for uri, path in self.paths.items()},
            **{f"{uri.rpartition('/')[0]}/": f"{path.parent}/" for uri, path in self.paths.items()},
        }
        return _URI.sub(lambda found: places.get(found[0], found[0]), text)


def build_kept_files(paths: RunPaths, runs_folder: Path) -> KeptFiles:
    """The folder of a run below `runs_folder`, without a file yet."""
    return KeptFiles(runs_folder / paths.root.rstrip("/").rpartition("/")[2])


def keep_run_files(client: Any, paths: RunPaths, kept: KeptFiles) -> None:
    """Copy plan, checks, report and rejects of a run to its folder, in place of what is there."""
    shutil.rmtree(kept.folder, ignore_errors=True)
    copy_objects(client, paths.root, kept, kept.folder, wanted=_COPIED)


def copy_objects(
    client: Any, prefix: str, kept: KeptFiles, folder: Path, wanted: re.Pattern[str] | None = None
) -> None:
    """Copy the objects below a prefix to `folder`: all, or those whose names below it match `wanted` in full."""
    bucket, key_prefix = split_s3_uri(prefix)
    for key in _list_keys(client, bucket, key_prefix):
        name = key.removeprefix(key_prefix)
        target = folder / name
        if (wanted is not None and not wanted.fullmatch(name)) or not _is_below(target, folder):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(bucket, key, str(target))
        kept.paths[f"s3://{bucket}/{key}"] = target


def _list_keys(client: Any, bucket: str, prefix: str) -> Iterator[str]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (entry["Key"] for entry in page.get("Contents", ()) if not entry["Key"].endswith("/"))


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def delete_old_folders(newest: Path) -> None:
    """Delete the oldest folders beside `newest` until KEPT_RUNS and KEPT_BYTES are kept to."""
    folders = sorted(
        (path for path in newest.parent.glob("*") if path.is_dir() and path != newest),
        key=lambda path: path.stat().st_mtime,
        reverse=True,
    )
    size = _measure_bytes(newest)
    for number, folder in enumerate(folders, start=2):
        size += _measure_bytes(folder)
        if number > KEPT_RUNS or size > KEPT_BYTES:
            shutil.rmtree(folder, ignore_errors=True)


def _measure_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
