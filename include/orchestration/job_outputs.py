"""What a job wrote, as it was when the job ended: whatever is read of it is that, or the run ends.

The task that waited for the job keeps a listing of its output (`sagemaker_jobs.output_listing`). An object that was
changed or deleted afterwards would put records beside other answers without a sign: a CSV that was cut by two bytes
reads 99.0 where the model answered 99.5.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from botocore.exceptions import ClientError

from include.orchestration.storage import Storage, is_gone
from include.scoring.errors import ReconciliationError
from include.scoring.s3uri import split

#: Objects up to this size are read by one call, larger ones in parallel parts and then asked for their ETag.
ONE_CALL_BYTES = 8 << 20
_CHANGED = {"PreconditionFailed", "412"}
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One version of an object, and who wrote it."""

    uri: str
    size: int
    etag: str
    writer: str


class JobOutputs:
    """The objects that one job, with the attempts that it continued, had written when it ended."""

    def __init__(self, job_name: str, prefixes: Sequence[str], objects: Iterable[StoredObject]) -> None:
        self.job_name = job_name
        self.prefixes = list(prefixes)
        self._objects = {each.uri: each for each in objects}

    @classmethod
    def of(cls, storage: Storage, job: Mapping[str, Any]) -> Self:
        """By the account of the task that waited for the job.

        Raises:
            ReconciliationError: the listing is gone, or another one.
        """
        kept, name = job["listing"], str(job["job_name"])
        body = read_listing(storage, kept["uri"], kept["sha256"], name)
        lines = (json.loads(line) for line in body.splitlines())
        return cls(
            name, job["output_uris"], (StoredObject(uri, size, etag, name) for uri, size, etag in lines)
        )

    def below(self, prefix: str) -> list[StoredObject]:
        """The objects whose URIs begin so, in the order of their keys."""
        return [each for uri, each in self._objects.items() if uri.startswith(prefix)]

    def find(self, uri: str) -> StoredObject:
        """The object at `uri`; raises as `named`."""
        if uri not in self._objects:
            raise ReconciliationError(f"{self.job_name} has not written {uri}; {_advice()}")
        return self._objects[uri]

    def has(self, name: str) -> bool:
        """Whether there is an output of this name."""
        return any(f"{prefix}{name}" in self._objects for prefix in self.prefixes)

    def named(self, name: str) -> StoredObject:
        """The output of this name relative to the job's output.

        A transform that failed part-way is continued by a second job, for the objects that have no answer yet, so
        outputs may lie below several prefixes; an object's is below the first that has it.

        Raises:
            ReconciliationError: there is none.
        """
        found = (f"{prefix}{name}" for prefix in self.prefixes if f"{prefix}{name}" in self._objects)
        return self.find(next(found, f"{self.prefixes[-1]}{name}"))


def read_listing(storage: Storage, uri: str, sha256: str, writer: str) -> bytes:
    """A document whose digest was handed on.

    Raises:
        ReconciliationError: it is gone, or another one.
    """
    try:
        body = storage.read(uri)
    except ClientError as error:
        if is_gone(error):
            raise ReconciliationError(
                f"{uri} is gone, which lists what {writer} wrote; {_advice()}"
            ) from error
        raise
    if hashlib.sha256(body).hexdigest() != sha256:
        raise ReconciliationError(f"{uri}, which lists what {writer} wrote, was overwritten; {_advice()}")
    return body


def download(storage: Storage, stored: StoredObject, path: Path) -> Path:
    """The object as a local file.

    Raises:
        ReconciliationError: it is gone, or another one than was written.
    """
    bucket, key = split(stored.uri)
    version = {"Bucket": bucket, "Key": key, "IfMatch": f'"{stored.etag}"'}
    try:
        if stored.size <= ONE_CALL_BYTES:
            with path.open("wb") as file:
                for chunk in storage.client.get_object(**version)["Body"].iter_chunks(_CHUNK):
                    file.write(chunk)
        else:
            storage.download(stored.uri, path)
            storage.client.head_object(**version)
    except ClientError as error:
        raise _explained(error, stored) from error
    if path.stat().st_size != stored.size:
        raise _changed(stored)
    return path


def read_json(storage: Storage, stored: StoredObject) -> Any:
    """The object as JSON; raises as `download`."""
    bucket, key = split(stored.uri)
    try:
        answer = storage.client.get_object(Bucket=bucket, Key=key, IfMatch=f'"{stored.etag}"')
    except ClientError as error:
        raise _explained(error, stored) from error
    return json.loads(answer["Body"].read())


def check_unchanged(storage: Storage, objects: Iterable[StoredObject]) -> None:
    """Raise ReconciliationError unless S3 lists each of the objects as it was written: for what others read."""
    listed: dict[str, dict[str, tuple[int, str]]] = {}
    for stored in objects:
        folder = stored.uri[: stored.uri.rindex("/") + 1]
        if folder not in listed:
            bucket = split(folder)[0]
            listed[folder] = {
                f"s3://{bucket}/{each.key}": (each.size, each.etag) for each in storage.objects(folder)
            }
        now = listed[folder].get(stored.uri)
        if now is None:
            raise _gone(stored)
        if now != (stored.size, stored.etag):
            raise _changed(stored)


def _explained(error: ClientError, stored: StoredObject) -> Exception:
    if is_gone(error):
        return _gone(stored)
    return _changed(stored) if error.response["Error"]["Code"] in _CHANGED else error


def _gone(stored: StoredObject) -> ReconciliationError:
    return ReconciliationError(f"{stored.uri} is gone, which {stored.writer} wrote; {_advice()}")


def _changed(stored: StoredObject) -> ReconciliationError:
    return ReconciliationError(
        f"{stored.uri} is not what {stored.writer} wrote, which was {stored.size:,} bytes with ETag {stored.etag}: it "
        f"was overwritten since; {_advice()}"
    )


def _advice() -> str:
    return "nothing is published; clear the task that submits that job and all that follows it, or start a new run"
