"""What each try of `publish` copies, written down before it copies anything, so that nothing of it can be forgotten.

A document for each try lies below `<work>/<pipeline>/_publishing/` as long as part files may have to go because of it.
Its state is changed by conditional PUTs alone: of a try that is about to commit and somebody who gives it up as dead,
one succeeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Literal

from include.orchestration.storage import Storage

State = Literal["copying", "committing", "abandoned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One process that publishes, or did.

    Attributes:
        dag_id, run_id: the DAG run that it belongs to, which need not be the run whose rows it publishes.
        output: the prefix that it publishes to, ending in `/`.
        parts: URIs of all part files that it writes there; no other try, of this or another process, has such names.
        replacing: the ETag of the manifest that it found before it copied, and alone replaces; None: there was none.
        state: it copies, it has sent its manifest or is about to, or it was given up as dead before that.
    """

    dag_id: str
    run_id: str
    output: str
    parts: tuple[str, ...]
    replacing: str | None
    state: State = "copying"


@dataclass(frozen=True, slots=True)
class Entry:
    """The document of a try, as it was when it was read: its URI, its ETag, and when S3 took it."""

    uri: str
    etag: str
    written: datetime
    publisher: Try


def add_entry(storage: Storage, uri: str, publisher: Try) -> Entry:
    """Write the document of a new try, at a `uri` that no other has."""
    storage.write_json(uri, {"version": 1, **asdict(publisher)})
    found = read_entry(storage, uri)
    if found is None:
        raise FileNotFoundError(f"{uri} was written and is gone again; publish anew")
    return found


def change_state(storage: Storage, entry: Entry, state: State) -> Entry | None:
    """The entry in its new state; None when somebody else has changed or removed it since it was read."""
    changed = replace(entry.publisher, state=state)
    etag = storage.commit_json(entry.uri, {"version": 1, **asdict(changed)}, replacing=entry.etag)
    return None if etag is None else replace(entry, etag=etag, publisher=changed)


def read_entry(storage: Storage, uri: str) -> Entry | None:
    """The document of a try, or None when its last part is settled."""
    stored = storage.read_stored(uri)
    if stored is None:
        return None
    document = json.loads(stored.content)
    del document["version"]
    return Entry(uri, stored.etag, stored.written, Try(**{**document, "parts": tuple(document["parts"])}))


def read_entries(storage: Storage, prefix: str) -> Iterator[Entry]:
    """The documents of all tries below a prefix, but of those that are removed meanwhile."""
    uris: Sequence[str] = [uri for uri, _ in storage.written(prefix)]
    for uri in uris:
        entry = read_entry(storage, uri)
        if entry is not None:
            yield entry


def remove_entry(storage: Storage, entry: Entry) -> None:
    """Forget a try of which nothing is left to do."""
    storage.delete([entry.uri])
