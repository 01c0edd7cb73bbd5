"""Publishes a run: copies its part files, commits by one conditional PUT of `_manifest.json`, writes `_SUCCESS`.

Readers that follow the manifest see complete runs only. The names of part files contain run, nonce and try, and are
unique to one process: a file that a reader may have open is never overwritten, and a process deletes only its own
parts, while they are not committed. `batch_inference.publishing.output_cleanup` later deletes the parts that a run
replaced.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from batch_inference.aws.readback import read_part_content
from batch_inference.aws.s3 import Storage, is_not_found
from batch_inference.common.errors import OutputConflictError, ReconciliationError
from batch_inference.common.names import slugify_run_id
from batch_inference.publishing.journal import JournalEntry, PublishAttempt, add_entry, change_state
from batch_inference.publishing.output import (
    PART_PREFIX,
    PublishedOutput,
    build_manifest_uri,
    delete_parts,
    read_published,
)

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Publication:
    """One attempt of one run to publish.

    Attributes:
        output: the prefix, ending in `/`.
        pipeline: its name, which is that of its DAG.
        run_id, nonce: of the plan whose rows these are.
        publishing_run_id: the DAG run that publishes them, which is another one when a person releases a held run.
        attempt_id: unique to this attempt.
        journal_prefix: where `batch_inference.publishing.journal` writes.
        delimiter: the delimiter of CSV.
        previous: the manifest that this attempt replaces, as it was before the first copy.
    """

    storage: Storage
    output: str
    pipeline: str
    run_id: str
    nonce: str
    publishing_run_id: str
    attempt_id: str
    journal_prefix: str
    delimiter: str
    previous: PublishedOutput | None = field(default=None, init=False)
    _entry: JournalEntry | None = field(default=None, init=False)
    _is_refused: bool = field(default=False, init=False)

    @property
    def manifest_uri(self) -> str:
        """The URI of the output's manifest."""
        return build_manifest_uri(self.output)

    def build_part_uri(self, uri: str) -> str:
        """The published URI of the joined `…/part-00000.parquet`."""
        stem, suffix = uri.rsplit("/", 1)[1].rsplit(".", 1)
        return (
            f"{self.output}{stem}-{slugify_run_id(self.run_id)}-{self.nonce[:6]}-{self.attempt_id}.{suffix}"
        )

    @contextmanager
    def begin_attempt(self, parts: Iterable[Mapping[str, Any]]) -> Iterator[None]:
        """Context manager: write the journal entry first; if the block fails, delete the copies that are not committed.

        Raises:
            OutputConflictError: the manifest at the output is not this pipeline's.
        """
        self.previous = self.read_current()
        publisher = PublishAttempt(
            dag_id=self.pipeline,
            run_id=self.publishing_run_id,
            output=self.output,
            parts=tuple(self.build_part_uri(part["uri"]) for part in parts),
            replacing=None if self.previous is None else self.previous.etag,
        )
        uri = f"{self.journal_prefix}{slugify_run_id(self.run_id)}-{self.nonce[:6]}-{self.attempt_id}.json"
        self._entry = add_entry(self.storage, uri, publisher)
        try:
            yield
        except BaseException:
            try:
                self.withdraw()
            except Exception:
                log.exception(
                    "%s: part files of this attempt remain for the next publish or the janitor", uri
                )
            raise

    def copy_part(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """Copy one part to the output, read the copy back, and return its entry in the manifest.

        Raises:
            ReconciliationError: the joined part no longer exists, or the copy differs from it.
        """
        target = self.build_part_uri(part["uri"])
        try:
            self.storage.copy(part["uri"], target)
        except ClientError as error:
            if not is_not_found(error):
                raise
            raise ReconciliationError(
                f"{part['uri']}, which the join wrote, no longer exists; not committed. Clear the task that joins, "
                f"with all that follows it"
            ) from error
        found = read_part_content(self.storage, target, self.delimiter)
        if found.rows != part["rows"]:
            raise ReconciliationError(
                f"{target}: {found.rows:,} rows were read back, {part['rows']:,} were written; not committed"
            )
        if found.sha256 != part["sha256"]:
            raise ReconciliationError(
                f"{target}: the bytes that were read back differ from those that were written (SHA-256 {found.sha256}, "
                f"not {part['sha256']}); not committed"
            )
        return {"uri": target, "rows": found.rows, "sha256": found.sha256, **self.storage.head(target)}

    def read_current(self) -> PublishedOutput | None:
        """The manifest that is current now; None when nothing is published.

        Raises:
            OutputConflictError: the manifest at the output is not this pipeline's.
        """
        return read_published(self.storage, self.output, self.pipeline)

    def list_replaced_parts(self) -> list[dict[str, str | None]]:
        """For the manifest: the part files that are obsolete once this run is published, and since when.

        The parts of the previous manifest, which this one replaces (None), and the parts that it, or manifests before
        it, had replaced and that still exist, so that none is forgotten.
        """
        if self.previous is None:
            return []
        there = set(self.storage.list_uris(f"{self.output}{PART_PREFIX}"))
        since = {uri: moment.isoformat() for uri, moment in self.previous.replaced_since.items()}
        parts: dict[str, str | None] = {**since, **dict.fromkeys(self.previous.part_uris)}
        return [{"uri": uri, "replaced_at": moment} for uri, moment in parts.items() if uri in there]

    def commit(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the `previous` manifest by this one; returns the manifest that is current afterwards.

        That is this one, or that of an earlier attempt of the same plan with the same rows, whose PUT arrived late.

        Raises:
            OutputConflictError: the current manifest is not this pipeline's.
            ReconciliationError: another run was published since and stays; or this attempt was abandoned.
            ClientError, BotoCoreError: it was not committed, or that is not known yet.
        """
        entry = self._require_entry()
        self._entry = change_state(self.storage, entry, "committing")
        if self._entry is None:
            self._entry, self._is_refused = entry, True
            raise ReconciliationError(
                f"this attempt was abandoned, because Airflow said that the run {self.publishing_run_id} is over, and "
                f"its part files were deleted from {self.output}; not committed. Clear `publish` to publish this run"
            )
        try:
            if self.storage.write_json_conditionally(
                self.manifest_uri, manifest, expected_etag=entry.attempt.replacing
            ):
                return dict(manifest)
        except (BotoCoreError, ClientError) as error:
            self._is_refused = _is_definite_refusal(error)
            if self._is_refused or not self.is_current(manifest):
                raise
            return dict(manifest)
        self._is_refused = True
        now = self.read_current()
        if now is not None and self._is_of_this_plan(now.manifest, manifest):
            self.withdraw()
            log.info("an earlier attempt of this run has published these rows at %s; they stay", self.output)
            return now.manifest
        raise ReconciliationError(
            f"another run published to {self.output} while this one was about to"
            f"{'' if now is None else f': {now.run_id}'}; what it published stays, and this run's files were deleted "
            f"from there. Clear `publish` to publish this run instead."
        )

    def withdraw(self) -> None:
        """Delete the copies of this attempt, unless they are committed or may still become so."""
        entry = self._require_entry()
        is_sent = entry.attempt.state == "committing" and not self._is_refused
        if is_sent and self.storage.read_etag(self.manifest_uri) == entry.attempt.replacing:
            log.warning(
                "%s: not known yet if this attempt is committed, so its files stay", self.manifest_uri
            )
            return
        # From here on the attempt is committed or never will be.
        try:
            now = self.read_current()
        except OutputConflictError:
            now = None  # another pipeline's manifest, which does not name these files
        known = set() if now is None else {*now.part_uris, *now.replaced_since}
        own = [part for part in entry.attempt.parts if part not in known]
        delete_parts(self.storage, self.output, own)
        if len(own) == len(entry.attempt.parts):
            self.storage.delete([entry.uri])

    def mark_success(self) -> None:
        """Write `_SUCCESS`."""
        self.storage.write(f"{self.output}_SUCCESS", "", content_type="text/plain")

    def is_current(self, manifest: Mapping[str, Any]) -> bool:
        """Whether `manifest` is still the current one."""
        now = self.read_current()
        return now is not None and now.part_uris == [file["uri"] for file in manifest["files"]]

    def _is_of_this_plan(self, found: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
        same = (found["run_id"], found.get("nonce")) == (self.run_id, self.nonce)
        # Equal rows have other URIs.
        rows, wanted = (
            [(file["rows"], file["sha256"]) for file in each["files"]] for each in (found, manifest)
        )
        return same and rows == wanted

    def _require_entry(self) -> JournalEntry:
        if self._entry is None:
            raise RuntimeError("call `begin_attempt` first")
        return self._entry


def _is_definite_refusal(error: Exception) -> bool:
    """Whether S3 refused the only PUT that was sent, so that none can take effect later."""
    if not isinstance(error, ClientError):
        return False
    answer = error.response.get("ResponseMetadata", {})
    return 400 <= answer.get("HTTPStatusCode", 0) < 500 and answer.get("RetryAttempts", 1) == 0
