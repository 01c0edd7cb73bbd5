"""Reads files of a run for its page, and hands them out as downloads: only those below the pipeline's run files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.common.formatting import format_bytes
from batch_inference.common.names import RunPaths
from batch_inference.verification.rejects import collect_reject_details, list_resolutions
from batch_runs.airflow_state import PipelinePlace
from batch_runs.pipeline_storage import open_storage, require_run_file

#: The largest document that is read for a page, and the largest download.
MAX_DOCUMENT_BYTES, MAX_DOWNLOAD_BYTES = 5_000_000, 1_000_000_000
CHUNK_BYTES = 1 << 20
DETAILS_CACHE_SIZE = 16
#: Names of the files that can be downloaded, with their media types: documents below the run's prefix, and all rejects
#: files of its jobs, one after the other.
REJECTS_FILE = "rejects.jsonl"
MEDIA_TYPES = {
    "report.html": "text/html; charset=utf-8",
    "report.json": "application/json",
    "checks.json": "application/json",
    REJECTS_FILE: "application/x-ndjson",
}


@dataclass(frozen=True, slots=True)
class Download:
    """Objects of S3 that are sent one after the other: for each its URI, its ETag and its bytes."""

    storage: Storage
    objects: Sequence[tuple[str, str, int]]

    @property
    def size(self) -> int:
        """Bytes of all objects."""
        return sum(size for _, _, size in self.objects)

    def iter_chunks(self) -> Iterator[bytes]:
        """The content in parts of at most CHUNK_BYTES; raises ClientError if an object was changed meanwhile."""
        for uri, etag, size in self.objects:
            if size:
                yield from self.storage.get(uri, etag=etag)["Body"].iter_chunks(CHUNK_BYTES)


def load_reject_details(
    place: PipelinePlace, shard_stats: Mapping[str, Any], transform_jobs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """See `collect_reject_details`; `transform_jobs` are the finished jobs of the run.

    Raises the errors in `READ_ERRORS`.
    """
    summary_uri = shard_stats.get("reject_summary")
    resolutions = [(each["document"], each["rejects"]) for each in list_resolutions(transform_jobs)]
    # Each is written once: a job that runs again has another name.
    return _load_reject_details(place, summary_uri, tuple(resolutions))


@lru_cache(maxsize=DETAILS_CACHE_SIZE)
def _load_reject_details(
    place: PipelinePlace, summary_uri: str | None, resolutions: tuple[tuple[str, str | None], ...]
) -> dict[str, Any]:
    storage = open_storage(place)

    def read_json(uri: str) -> Any:
        size = storage.head(require_run_file(place, uri))["size"]
        if size > MAX_DOCUMENT_BYTES:
            raise ValueError(
                f"{uri} has {format_bytes(size)}; allowed are at most {format_bytes(MAX_DOCUMENT_BYTES)}"
            )
        return storage.read_json(uri)

    stats = {"reject_summary": summary_uri}
    return collect_reject_details(
        read_json, stats, [{"document": document, "rejects": rejects} for document, rejects in resolutions]
    )


def open_download(
    place: PipelinePlace, name: str, run_prefix: str, reject_details: Mapping[str, Any] | None
) -> Download:
    """The file of this name, one of MEDIA_TYPES, of the run with this prefix.

    Raises:
        ValueError: there is no such file, it is elsewhere, is too large, or has values of sensitive columns.
        ClientError: S3 does not give it.
    """
    storage, paths = open_storage(place), RunPaths(require_run_file(place, run_prefix))
    if name != REJECTS_FILE:
        uri = f"{paths.root}{name}"
        head = storage.head(uri)
        download = Download(storage, [(uri, head["etag"], head["size"])])
    elif reject_details is None or not reject_details["prefixes"]:
        raise ValueError("no rejected records are stored for this run")
    elif reject_details["withheld_columns"]:
        columns = ", ".join(reject_details["withheld_columns"])
        raise ValueError(
            f"the rejected records have values of the sensitive columns {columns}, so Airflow does not hand them "
            f"out. Who may read S3 finds them below {reject_details['prefixes'][0]}"
        )
    else:
        found = []
        for prefix in reject_details["prefixes"]:
            bucket = prefix.split("/")[2]
            listed = storage.list_objects(require_run_file(place, prefix))
            found += [(f"s3://{bucket}/{each.key}", each.etag, each.size) for each in listed]
        download = Download(storage, found)
    if download.size > MAX_DOWNLOAD_BYTES:
        where = reject_details["prefixes"][0] if name == REJECTS_FILE and reject_details else paths.root
        raise ValueError(
            f"{name} has {format_bytes(download.size)}; at most {format_bytes(MAX_DOWNLOAD_BYTES)} are handed out. "
            f"Copy it from S3: aws s3 cp --recursive {where} ."
        )
    return download
