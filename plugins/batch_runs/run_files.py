"""Reads files of a run for its page, and hands them out as downloads: only those below the pipeline's run files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.common.formatting import format_bytes
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.run.task_ids import CHECKS, CLEAN_UP
from batch_inference.verification.rejects import collect_reject_details, list_resolutions
from batch_runs.airflow_state import PipelinePlace
from batch_runs.pipeline_storage import open_storage, require_run_file

#: The largest document that is read for a page, and the largest download.
MAX_DOCUMENT_BYTES, MAX_DOWNLOAD_BYTES = 5_000_000, 1_000_000_000
CHUNK_BYTES = 1 << 20
DETAILS_CACHE_SIZE = 16
#: All rejects files of the run's jobs, one after the other.
REJECTS_FILE = "rejects.jsonl"
#: Documents that can be downloaded: the task whose return value names the URI, and the member that does.
DOCUMENTS = {
    "report.html": (CLEAN_UP, "report_html"),
    "report.json": (CLEAN_UP, "report_json"),
    "checks.json": (CHECKS, "checks"),
}
#: Media types of all files that can be downloaded.
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


def open_document(place: PipelinePlace, uri: str) -> Download:
    """One file of a run.

    Raises:
        ValueError: it is elsewhere, or is too large.
        ClientError: S3 does not give it.
    """
    storage = open_storage(place)
    head = storage.head(require_run_file(place, uri))
    return _check_size(Download(storage, [(uri, head["etag"], head["size"])]), uri)


def open_rejects(place: PipelinePlace, reject_details: Mapping[str, Any]) -> Download:
    """The rejects files of a run, see `collect_reject_details`; raises as `open_document`.

    Raises ValueError also if they have values of sensitive columns.
    """
    storage, prefixes = open_storage(place), reject_details["prefixes"]
    if reject_details["withheld_columns"]:
        columns = ", ".join(reject_details["withheld_columns"])
        raise ValueError(
            f"the rejected records have values of the sensitive columns {columns}, so Airflow does not hand them out. "
            f"Who may read S3 finds them below {prefixes[0]}"
        )
    found = []
    for prefix in prefixes:
        bucket = split_s3_uri(require_run_file(place, prefix))[0]
        found += [
            (f"s3://{bucket}/{each.key}", each.etag, each.size) for each in storage.list_objects(prefix)
        ]
    return _check_size(Download(storage, found), prefixes[0])


def _check_size(download: Download, uri: str) -> Download:
    if download.size > MAX_DOWNLOAD_BYTES:
        raise ValueError(
            f"it has {format_bytes(download.size)}, and at most {format_bytes(MAX_DOWNLOAD_BYTES)} are handed out. "
            f"Copy it from S3: aws s3 cp --recursive {uri} ."
        )
    return download
