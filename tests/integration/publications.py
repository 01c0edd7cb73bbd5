"""Tries to publish a run on a real S3, without the rest of a run; and processes that are stopped in the middle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.publishing.output_cleanup import delete_obsolete_parts
from batch_inference.publishing.protocol import Publication
from tests.unit.builders import pipeline

OUT, JOURNAL = "s3://bucket/scored/", "s3://bucket/work/churn/_publishing/"
RUN, OTHER = "nightly-1", "nightly-2"


def publication(storage: Storage, run_id: str = RUN, try_number: int = 1) -> Publication:
    """A try of a run to publish."""
    return Publication(
        storage=storage, output=OUT, pipeline="churn", run_id=run_id, nonce="0123456789abcdef",
        publishing_run_id=run_id, attempt_id=str(try_number), journal_prefix=JOURNAL, delimiter=",",
    )  # fmt: skip


def build_joined_parts(*numbers: int) -> list[dict[str, Any]]:
    """Parts as the join hands them on."""
    return [{"uri": f"s3://bucket/joined/part-{number}.parquet"} for number in numbers]


def copy_parts_and_build_manifest(run: Publication, *numbers: int, rows: int = 1) -> dict[str, Any]:
    """Copies parts of a try, and gives the manifest that names them."""
    uris = [run.build_part_uri(part["uri"]) for part in build_joined_parts(*numbers)]
    for uri in uris:
        run.storage.write(uri, "x" * rows)
    return {
        "version": 1, "pipeline": run.pipeline, "run_id": run.run_id, "nonce": run.nonce,
        "files": [{"uri": uri, "rows": rows, "sha256": str(rows)} for uri in uris],
        "replaces": run.list_replaced_parts(),
    }  # fmt: skip


def publish(
    run: Publication, *numbers: int, rows: int = 1, meanwhile: Callable[[], Any] = lambda: None
) -> dict[str, Any]:
    """All of a try; the manifest that stands. What is done `meanwhile` is done right before it commits."""
    with run.begin_attempt(build_joined_parts(*numbers)):
        manifest = copy_parts_and_build_manifest(run, *numbers, rows=rows)
        meanwhile()
        manifest = run.commit(manifest)
    run.mark_success()
    return manifest


def clean(
    storage: Storage, *, minutes: float = 0, active: Iterable[str] = (), published_in: str | None = None
) -> list[str]:
    """What goes so many minutes later, by a grace time of ten; names of parts."""
    changes = {"work": "s3://bucket/work", "output.grace_minutes": 10}
    removed = delete_obsolete_parts(
        storage,
        pipeline(changes),
        is_active=lambda dag_id, run_id: dag_id == "churn" and run_id in active,
        now=time.time() + minutes * 60,
        publishing_run_id=published_in,
    )
    return [uri.removeprefix(OUT) for uri in removed]


def list_output_names(storage: Storage) -> set[str]:
    """What a listing of the output shows."""
    return {uri.removeprefix(OUT) for uri in storage.list_uris(OUT)}


def get_part_name(number: int, run_id: str = RUN, try_number: int = 1) -> str:
    """Name of a published part."""
    return f"part-{number}-{run_id}-012345-{try_number}.parquet"


#: The client's methods that change what lies in S3.
MUTATIONS = ("put_object", "delete_objects", "copy", "upload_file", "upload_fileobj")
Call = Callable[[], Any]


class InterposedClient:
    """A client of S3 whose changes go through `around(name, arguments, call)`, which may do what it likes besides."""

    def __init__(self, client: Any, around: Callable[[str, Mapping[str, Any], Call], Any]) -> None:
        self._client, self._around = client, around

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name not in MUTATIONS:
            return method
        return lambda *args, **kwargs: self._around(name, kwargs, lambda: method(*args, **kwargs))


def interpose(
    storage: Storage, body: Callable[[], Any], around: Callable[[str, Mapping[str, Any], Call], Any]
) -> None:
    """Do `body` with every change it makes going `around`; what is done in there uses the client itself."""
    client = storage.client

    def alone(name: str, arguments: Mapping[str, Any], call: Call) -> Any:
        storage.client = client
        try:
            return around(name, arguments, call)
        finally:
            storage.client = interposed

    storage.client = interposed = InterposedClient(client, alone)
    try:
        body()
    finally:
        storage.client = client


def run_until_change(number: int, storage: Storage, body: Call, meanwhile: Call) -> bool:
    """Do `body` as a process that is stopped before its `number`-th change until `meanwhile` is done; whether it has
    so many."""
    count = 0

    def around(_name: str, _arguments: Mapping[str, Any], call: Call) -> Any:
        nonlocal count
        count += 1
        if count == number:
            meanwhile()
        return call()

    try:
        interpose(storage, body, around)
    finally:
        stopped = count >= number
    return stopped
