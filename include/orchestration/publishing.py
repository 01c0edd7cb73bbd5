"""The protocol of the output prefix: parts, `_manifest.json` by one conditional PUT, which commits, then `_SUCCESS`.

Who follows the manifest sees whole runs. Names of parts carry run, nonce and try, and no other process ever gives the
same: a file that somebody may be reading is never overwritten, and a process deletes no parts but its own, as long as
they are not committed. What a run replaces goes later, by `include.orchestration.output_cleanup`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from include.orchestration.output import PART, Published, delete_parts, manifest_of, read_published
from include.orchestration.publish_journal import Entry, Try, add_entry, change_state, remove_entry
from include.orchestration.readback import read_back
from include.orchestration.storage import Storage, is_gone
from include.scoring.errors import OutputError, ReconciliationError
from include.scoring.manifest import rows_digests
from include.scoring.naming import run_slug

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Publication:
    """One try of one run to publish.

    Attributes:
        output: the prefix, ending in `/`.
        pipeline: its name, which is that of its DAG.
        run_id, nonce: of the plan whose rows these are.
        dag_run_id: the DAG run that publishes them, which is another one when a person publishes a held run.
        attempt: what no other try of any process is called.
        journal: the prefix of `include.orchestration.publish_journal`.
        delimiter: what parts the cells of CSV.
    """

    storage: Storage
    output: str
    pipeline: str
    run_id: str
    nonce: str
    dag_run_id: str
    attempt: str
    journal: str
    delimiter: str
    before: Published | None = field(default=None, init=False)
    _entry: Entry | None = field(default=None, init=False)
    _is_refused: bool = field(default=False, init=False)

    @property
    def manifest_uri(self) -> str:
        """The document that says what is published."""
        return manifest_of(self.output)

    def target(self, uri: str) -> str:
        """Where the joined `…/part-00000.parquet` is published."""
        stem, suffix = uri.rsplit("/", 1)[1].rsplit(".", 1)
        return f"{self.output}{stem}-{run_slug(self.run_id)}-{self.nonce[:6]}-{self.attempt}.{suffix}"

    @contextmanager
    def uncommitted(self, parts: Iterable[Mapping[str, Any]]) -> Iterator[None]:
        """What is copied in here does not stay unless it is committed, as far as this process can see to it.

        Raises:
            OutputError: the manifest there is not this pipeline's.
        """
        self.before = self.read()
        publisher = Try(
            dag_id=self.pipeline,
            run_id=self.dag_run_id,
            output=self.output,
            parts=tuple(self.target(part["uri"]) for part in parts),
            replacing=None if self.before is None else self.before.etag,
        )
        uri = f"{self.journal}{run_slug(self.run_id)}-{self.nonce[:6]}-{self.attempt}.json"
        self._entry = add_entry(self.storage, uri, publisher)
        try:
            yield
        except BaseException:
            try:
                self.withdraw()
            except Exception:
                log.exception("%s: this try's part files stay for the next publish or the janitor", uri)
            raise

    def copied(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """Copy one part to the output and read its rows back; its entry in the manifest.

        Raises:
            ReconciliationError: what the join wrote is gone, or the copy does not hold it.
        """
        target = self.target(part["uri"])
        try:
            self.storage.copy(part["uri"], target)
        except ClientError as error:
            if is_gone(error):
                raise ReconciliationError(
                    f"{part['uri']} is gone, which the join wrote; not committed. Clear the task that joins, with all "
                    f"that follows it"
                ) from error
            raise
        found = read_back(self.storage, target, self.delimiter)
        if found.rows != part["rows"]:
            raise ReconciliationError(
                f"{target}: {found.rows:,} rows were read back, {part['rows']:,} were written; not committed"
            )
        if found.sha256 != part["sha256"]:
            raise ReconciliationError(
                f"{target}: the bytes that were read back are not those that were written (SHA-256 {found.sha256}, not "
                f"{part['sha256']}); not committed"
            )
        return {"uri": target, "rows": found.rows, "sha256": found.sha256, **self.storage.head(target)}

    def read(self) -> Published | None:
        """What is published now.

        Raises:
            OutputError: the manifest there is not this pipeline's.
        """
        return read_published(self.storage, self.output, self.pipeline)

    def replaces(self) -> list[dict[str, str | None]]:
        """For the manifest: the part files that go once this run is published, and since when each is replaced.

        Those of the manifest before this one, replaced by this one (None); and what that one, or others before it, had
        replaced and is still there, so that what nobody came to remove is carried on.
        """
        if self.before is None:
            return []
        there = set(self.storage.uris(f"{self.output}{PART}"))
        since = {uri: moment.isoformat() for uri, moment in self.before.replaced.items()}
        parts: dict[str, str | None] = {**since, **dict.fromkeys(self.before.files)}
        return [{"uri": uri, "replaced_at": moment} for uri, moment in parts.items() if uri in there]

    def commit(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Make this run the published one, in place of the one that was there `before`; the manifest that stands.

        That is this one, or that of an earlier try of the same plan with the same rows, whose commit arrived late.

        Raises:
            OutputError: the manifest that is there now is not this pipeline's.
            ReconciliationError: another run was published since, and stands; or this try was given up as dead.
            ClientError, BotoCoreError: it was not committed, or nobody knows yet.
        """
        entry = self._require_entry()
        self._entry = change_state(self.storage, entry, "committing")
        if self._entry is None:
            self._entry, self._is_refused = entry, True
            raise ReconciliationError(
                f"this try was taken for dead, because Airflow said that the run {self.dag_run_id} is over, and its "
                f"part files were removed from {self.output}; not committed. Clear `publish` to publish this run"
            )
        try:
            if self.storage.commit_json(self.manifest_uri, manifest, replacing=entry.publisher.replacing):
                return dict(manifest)
        except (BotoCoreError, ClientError) as error:
            self._is_refused = _is_certain(error)
            if self._is_refused or not self.is_current(manifest):
                raise
            return dict(manifest)
        self._is_refused = True
        now = self.read()
        if now is not None and self._is_of_this_plan(now.manifest, manifest):
            self.withdraw()
            log.info("an earlier try of this run has published the same rows at %s; they stand", self.output)
            return now.manifest
        raise ReconciliationError(
            f"another run published to {self.output} while this one was about to"
            f"{'' if now is None else f': {now.run_id}'}; what it published stands, and this run's files were removed "
            f"from there. Clear `publish` to publish this run instead."
        )

    def withdraw(self) -> None:
        """Remove what this try copied, unless it is committed or may still become so."""
        entry = self._require_entry()
        is_sent = entry.publisher.state == "committing" and not self._is_refused
        if is_sent and self.storage.etag(self.manifest_uri) == entry.publisher.replacing:
            log.warning(
                "%s: whether this try is committed is not known yet, so its files stay", self.manifest_uri
            )
            return
        # Committed it can be by now, but no longer become.
        try:
            now = self.read()
        except OutputError:
            now = None  # Somebody else's, which does not know of these files.
        known = set() if now is None else {*now.files, *now.replaced}
        own = [part for part in entry.publisher.parts if part not in known]
        delete_parts(self.storage, self.output, own)
        if len(own) == len(entry.publisher.parts):
            remove_entry(self.storage, entry)

    def mark_success(self) -> None:
        """Say that the run is complete."""
        self.storage.write(f"{self.output}_SUCCESS", "", content_type="text/plain")

    def is_current(self, manifest: Mapping[str, Any]) -> bool:
        """Whether `manifest` is still what readers are told."""
        now = self.read()
        return now is not None and now.files == [file["uri"] for file in manifest["files"]]

    def _is_of_this_plan(self, found: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
        same = (found["run_id"], found.get("nonce")) == (self.run_id, self.nonce)
        return same and rows_digests(found) == rows_digests(manifest)

    def _require_entry(self) -> Entry:
        if self._entry is None:
            raise RuntimeError("a publication begins with `uncommitted`")
        return self._entry


def _is_certain(error: Exception) -> bool:
    """Whether S3 has refused the only PUT that was sent, so that nothing of it can arrive later."""
    if not isinstance(error, ClientError):
        return False
    answer = error.response.get("ResponseMetadata", {})
    return 400 <= answer.get("HTTPStatusCode", 0) < 500 and answer.get("RetryAttempts", 1) == 0
