"""A journal of the attempts to publish: each lists its part files before it copies any, so that none is forgotten.

The entry of an attempt is below `<work>/<pipeline>/_publishing/` for as long as part files may have to be deleted for
it. Its state changes by conditional PUTs only: either an attempt commits, or another process abandons it, never both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Literal

from batch_inference.aws.s3 import Storage

State = Literal["copying", "committing", "abandoned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishAttempt:
    """One attempt to publish.

    Attributes:
        dag_id, run_id: its DAG run, which need not be the run whose rows it publishes.
        output: the prefix that it publishes to, ending in `/`.
        parts: URIs of all part files that it writes there, unique to this attempt.
        replacing: the ETag of the manifest before the first copy, the only one that it replaces; None: there was none.
        state: copying, about to send its manifest (or has sent it), or abandoned before that.
    """

    dag_id: str
    run_id: str
    output: str
    parts: tuple[str, ...]
    replacing: str | None
    state: State = "copying"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """The stored entry of an attempt as it was read, with its URI, ETag and LastModified."""

    uri: str
    etag: str
    written_at: datetime
    attempt: PublishAttempt


def add_entry(storage: Storage, uri: str, attempt: PublishAttempt) -> JournalEntry:
    """Write the entry of a new attempt at a unique `uri`."""
    storage.write_json(uri, {"version": 1, **asdict(attempt)})
    found = read_entry(storage, uri)
    if found is None:
        raise FileNotFoundError(f"{uri} was written, but no longer exists; clear `publish`")
    return found


def change_state(storage: Storage, entry: JournalEntry, state: State) -> JournalEntry | None:
    """The entry in its new state; None when another process has changed or removed it since it was read."""
    changed = replace(entry.attempt, state=state)
    etag = storage.write_json_conditionally(
        entry.uri, {"version": 1, **asdict(changed)}, expected_etag=entry.etag
    )
    return None if etag is None else replace(entry, etag=etag, attempt=changed)


def read_entry(storage: Storage, uri: str) -> JournalEntry | None:
    """The entry of an attempt; None when it was removed."""
    stored = storage.read_snapshot(uri)
    if stored is None:
        return None
    document = json.loads(stored.content)
    del document["version"]
    return JournalEntry(
        uri,
        stored.etag,
        stored.last_modified,
        PublishAttempt(**{**document, "parts": tuple(document["parts"])}),
    )


def read_entries(storage: Storage, prefix: str) -> Iterator[JournalEntry]:
    """All entries below a prefix, without those that are removed meanwhile."""
    uris: Sequence[str] = [uri for uri, _ in storage.list_write_times(prefix)]
    for uri in uris:
        entry = read_entry(storage, uri)
        if entry is not None:
            yield entry


def remove_entry(storage: Storage, entry: JournalEntry) -> None:
    """Remove the entry of an attempt that needs no further clean-up."""
    storage.delete([entry.uri])
