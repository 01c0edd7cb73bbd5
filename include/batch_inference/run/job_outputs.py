"""Reads a job's outputs as they were when the job ended, and checks that a job read its input as planned, or raises.

The task that waited for the job stores a listing of its output (`sagemaker_jobs.job.output_files`). An object that
was changed or deleted afterwards would give wrong predictions silently: a CSV that lost its last two bytes reads 99.0
where the model answered 99.5.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from botocore.exceptions import ClientError

from batch_inference.aws.s3 import Storage, is_changed, is_not_found
from batch_inference.common.errors import ReconciliationError
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.planning.inputs.input_listing import find_replaced_objects

log = logging.getLogger(__name__)

#: Objects up to this size are read by one call, larger ones in parallel parts and then asked for their ETag.
ONE_CALL_BYTES = 8 << 20
_ADVICE = (
    "nothing is published; clear the task that submits that job and all that follows it, or start a new run"
)
#: Greater than any URI.
AFTER_LAST_URI = chr(0x10FFFF)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One version of an object, and the job that wrote it."""

    uri: str
    size: int
    etag: str
    writer: str


class JobOutputs:
    """The objects that one job, with the attempts that it continued, had written by its end."""

    def __init__(self, job_name: str, prefixes: Sequence[str], objects: Iterable[StoredObject]) -> None:
        self.job_name = job_name
        self.prefixes = list(prefixes)
        self._objects = {each.uri: each for each in objects}

    @classmethod
    def read(cls, storage: Storage, job: Mapping[str, Any]) -> Self:
        """Read the listing that the task which waited for the job stored.

        Raises:
            ReconciliationError: the listing is missing or was changed.
        """
        kept, name = job["listing"], str(job["job_name"])
        body = read_verified(storage, kept["uri"], kept["sha256"], name)
        lines = map(json.loads, body.splitlines())
        objects = (StoredObject(uri, size, etag, name) for uri, size, etag in lines)
        return cls(name, job["output_uris"], objects)

    def list_below(self, prefix: str) -> list[StoredObject]:
        """The objects below a prefix, in key order."""
        return [each for uri, each in self._objects.items() if uri.startswith(prefix)]

    def find(self, uri: str) -> StoredObject:
        """The object at `uri`; raises as `find_output`."""
        if uri not in self._objects:
            raise ReconciliationError(f"{self.job_name} did not write {uri}; {_ADVICE}")
        return self._objects[uri]

    def has_output(self, name: str) -> bool:
        """Whether there is an output of this name."""
        return any(f"{prefix}{name}" in self._objects for prefix in self.prefixes)

    def find_output(self, name: str) -> StoredObject:
        """The output of this name relative to the job's output.

        A transform that failed part-way is continued by a second job, for the objects without an output, so the outputs
        may be below several prefixes; the first prefix that has the output is used.

        Raises:
            ReconciliationError: there is none.
        """
        found = (f"{prefix}{name}" for prefix in self.prefixes if f"{prefix}{name}" in self._objects)
        return self.find(next(found, f"{self.prefixes[-1]}{name}"))


def read_verified(storage: Storage, uri: str, sha256: str, writer: str) -> bytes:
    """Read a document that must have this digest.

    Raises:
        ReconciliationError: it is missing or was changed.
    """
    what = f"{uri}, the list of what {writer} wrote,"
    try:
        body = storage.read(uri)
    except ClientError as error:
        if is_not_found(error):
            raise ReconciliationError(f"{what} no longer exists; {_ADVICE}") from error
        raise
    if hashlib.sha256(body).hexdigest() != sha256:
        raise ReconciliationError(f"{what} was overwritten; {_ADVICE}")
    return body


def download_unchanged(storage: Storage, stored: StoredObject, path: Path) -> Path:
    """Download the object.

    Raises:
        ReconciliationError: it is missing, or was changed since the job wrote it.
    """
    try:
        if stored.size <= ONE_CALL_BYTES:
            storage.download_in_one_call(stored.uri, path, etag=stored.etag)
        else:
            storage.download(stored.uri, path)
            if storage.head(stored.uri)["etag"] != stored.etag:
                raise _changed_error(stored)
    except ClientError as error:
        raise _translate_error(error, stored) from error
    if path.stat().st_size != stored.size:
        raise _changed_error(stored)
    return path


def read_unchanged_json(storage: Storage, stored: StoredObject) -> Any:
    """The object as JSON; raises as `download_unchanged`."""
    try:
        answer = storage.get(stored.uri, etag=stored.etag)
    except ClientError as error:
        raise _translate_error(error, stored) from error
    return json.loads(answer["Body"].read())


def check_unchanged(storage: Storage, objects: Iterable[StoredObject]) -> None:
    """Raise ReconciliationError unless S3 lists each object as it was written: for objects that a job reads."""
    listed: dict[str, dict[str, tuple[int, str]]] = {}
    for stored in objects:
        folder = stored.uri[: stored.uri.rindex("/") + 1]
        if folder not in listed:
            bucket = split_s3_uri(folder)[0]
            listed[folder] = {
                f"s3://{bucket}/{each.key}": (each.size, each.etag) for each in storage.list_objects(folder)
            }
        now = listed[folder].get(stored.uri)
        if now is None:
            raise _missing_error(stored)
        if now != (stored.size, stored.etag):
            raise _changed_error(stored)


def _translate_error(error: ClientError, stored: StoredObject) -> Exception:
    if is_not_found(error):
        return _missing_error(stored)
    return _changed_error(stored) if is_changed(error) else error


def _missing_error(stored: StoredObject) -> ReconciliationError:
    return ReconciliationError(f"{stored.uri}, which {stored.writer} wrote, no longer exists; {_ADVICE}")


def _changed_error(stored: StoredObject) -> ReconciliationError:
    return ReconciliationError(
        f"{stored.uri} is not what {stored.writer} wrote, which was {stored.size:,} bytes with ETag {stored.etag}: it "
        f"was overwritten since; {_ADVICE}"
    )


def check_not_overwritten(storage: Storage, input_uri: str, listing_uri: str, *, read_until: float) -> None:
    """List the input again and compare it with the plan's listing, in constant memory.

    `read_until` is the end of the job that read the input, in epoch seconds. Objects that were overwritten later are
    for the next run; deleted objects were either read before or are found missing when objects are counted. S3 has only
    the time of the last write: an object that was overwritten while it was read, and again afterwards, is not noticed.

    Raises:
        ReconciliationError: an object may have been read in another version than the plan's.
    """
    bucket, overwritten_later = split_s3_uri(input_uri)[0], 0
    # Consumed only if an object differs; in the same order as the other listings.
    write_times = storage.list_write_times(input_uri)
    listed_uri, written = "", datetime.min.replace(tzinfo=UTC)
    with tempfile.TemporaryDirectory(prefix="listing-") as folder:
        listing = storage.download(listing_uri, Path(folder) / "input.listing")
        with listing.open(encoding="utf-8") as lines:
            for planned, current in find_replaced_objects(lines, storage.list_objects(input_uri)):
                uri = f"s3://{bucket}/{current.key}"
                while listed_uri < uri:
                    listed_uri, written = next(write_times, (AFTER_LAST_URI, written))
                if listed_uri != uri or written.timestamp() > read_until:
                    overwritten_later += 1
                    continue
                raise ReconciliationError(
                    f"{uri} was overwritten at {written:%Y-%m-%d %H:%M:%S} UTC, before this run had read it: its "
                    f"etag is {current.etag}, and the plan has {planned.etag}. Nothing is published. Clear the "
                    f"run's `plan` to score what is there now; input must be complete before a run begins"
                )
    if overwritten_later:
        log.info(
            "objects overwritten after this run had read them, left for the next run: %s", overwritten_later
        )
