"""A journal of the attempts to publish: each lists its part files before it copies any, so that none is forgotten.

The entry of an attempt is below `<work>/<pipeline>/_publishing/` for as long as part files may have to be deleted for
it. Its state changes by conditional PUTs only: either an attempt commits, or another process abandons it, never both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from batch_inference.aws.s3 import Storage
from batch_inference.config.sections.record_rules import FrozenModel

State = Literal["copying", "committing", "abandoned"]


class PublishAttempt(FrozenModel):
    """One attempt to publish.

    Attributes:
        dag_id, run_id: its DAG run, which need not be the run whose rows it publishes.
        output: the prefix that it publishes to, ending in `/`.
        parts: URIs of all part files that it writes there, unique to this attempt.
        replacing: the ETag of the manifest before the first copy, the only one that it replaces; None: there was none.
        state: copying, about to send its manifest (or has sent it), or abandoned before that.
    """

    version: Literal[1] = 1
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
    storage.write_json(uri, attempt.model_dump(mode="json"))
    found = read_entry(storage, uri)
    if found is None:
        raise FileNotFoundError(f"{uri} was written, but no longer exists; clear `publish`")
    return found


def change_state(storage: Storage, entry: JournalEntry, state: State) -> JournalEntry | None:
    """The entry in its new state; None when another process has changed or removed it since it was read."""
    changed = entry.attempt.model_copy(update={"state": state})
    document = changed.model_dump(mode="json")
    etag = storage.write_json_conditionally(entry.uri, document, expected_etag=entry.etag)
    return None if etag is None else replace(entry, etag=etag, attempt=changed)


def read_entry(storage: Storage, uri: str) -> JournalEntry | None:
    """The entry of an attempt; None when it was removed."""
    stored = storage.read_snapshot(uri)
    if stored is None:
        return None
    attempt = PublishAttempt.model_validate_json(stored.content)
    return JournalEntry(uri, stored.etag, stored.last_modified, attempt)


def read_entries(storage: Storage, prefix: str) -> Iterator[JournalEntry]:
    """All entries below a prefix, without those that are removed meanwhile."""
    uris = [uri for uri, _ in storage.list_write_times(prefix)]
    return filter(None, (read_entry(storage, uri) for uri in uris))
