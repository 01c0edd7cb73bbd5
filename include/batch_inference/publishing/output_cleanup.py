"""Deletes obsolete part files below an output: called at the end of each `publish`, and by the janitor.

Two kinds are deleted: parts that the current manifest lists as replaced, after the grace period
(`output.grace_minutes`) for readers that still use the previous manifest; and parts of an attempt that never became
current and no longer can.

The process that decides may be paused for any time before its DELETE, while others publish; what they publish is never
deleted. A part's name belongs to one attempt, and an attempt commits at most once, by one PUT on the condition that the
manifest still has the ETag that the attempt found (`replacing`) before it copied. So a part can only become current by
the PUT of its own attempt, and that PUT is ruled out for good before anything is deleted:

- a replaced part was current, so the PUT of its attempt is done, and the manifest has another ETag now;
- a part that the manifest does not name is deleted only if the manifest has another ETag than its attempt found (a
  replaced ETag never returns, because each manifest names files of its own), or if its attempt was abandoned: before it
  commits, an attempt must change its journal entry, on the condition that nobody has changed it.

An attempt that has changed its entry, and whose manifest may still arrive, is left until another run is published.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import build_publish_journal_prefix
from batch_inference.config.pipeline import Pipeline
from batch_inference.publishing.journal import JournalEntry, change_state, read_entries
from batch_inference.publishing.output import PART_PREFIX, PublishedOutput, delete_parts, read_published

log = logging.getLogger(__name__)


def build_is_run_active(ti: Any) -> Callable[[str, str], bool]:
    """A function that asks Airflow whether a run of a DAG is queued or running."""

    def is_active(dag_id: str, run_id: str) -> bool:
        count: int = ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["queued", "running"])
        return count > 0

    return is_active


def delete_obsolete_parts(
    storage: Storage,
    pipeline: Pipeline,
    *,
    is_active: Callable[[str, str], bool],
    now: float,
    publishing_run_id: str | None = None,
) -> list[str]:
    """Delete the obsolete parts below all outputs of the pipeline; returns their URIs. `now` is in epoch seconds.

    `publishing_run_id` is the DAG run that has just committed: the parts of its earlier attempts are deleted at once.

    Raises:
        Exception: the first error, after all outputs were tried: OutputConflictError for a manifest that is not this
            pipeline's, or an error of S3.
    """
    outputs: dict[str, list[JournalEntry]] = {}
    journal_prefix = build_publish_journal_prefix(work=pipeline.work, pipeline=pipeline.name)
    for entry in read_entries(storage, journal_prefix):
        outputs.setdefault(entry.attempt.output, []).append(entry)
    removed: list[str] = []
    problems: list[Exception] = []
    for output, entries in outputs.items():
        try:
            cleaning = _OutputCleanup(storage, pipeline, output, is_active, now, publishing_run_id)
            removed += cleaning.delete_parts(entries)
        except Exception as error:
            log.exception("%s: obsolete part files remain for now", output)
            problems.append(error)
    if problems:
        raise problems[0]
    return removed


@dataclass(frozen=True, slots=True)
class _OutputCleanup:
    """One clean-up of one output."""

    storage: Storage
    pipeline: Pipeline
    output: str
    is_active: Callable[[str, str], bool]
    now: float
    publishing_run_id: str | None

    def delete_parts(self, entries: Sequence[JournalEntry]) -> list[str]:
        """Delete the obsolete parts of these attempts; remove the entries of those that need no further clean-up."""
        there = set(self.storage.list_uris(f"{self.output}{PART_PREFIX}"))
        published = read_published(self.storage, self.output, self.pipeline.name)
        replaced = {} if published is None else published.replaced_since
        due = {uri for uri, since in replaced.items() if self._is_past_grace(since)}
        done = {uri for uri in replaced if uri in due or uri not in there}
        removed = due & there
        settled: list[JournalEntry] = []
        for entry in entries:
            known = set() if published is None else {*published.part_uris, *replaced}
            unnamed = set(entry.attempt.parts) - known
            # An attempt whose parts are all named may still run; only the grace period matters for it.
            is_over = not unnamed or self._is_over(entry)
            if not unnamed or self._is_ruled_out(entry, published):
                if is_over or entry.attempt.run_id == self.publishing_run_id:
                    removed |= unnamed & there
                if is_over and len(done) == len(replaced):
                    settled.append(entry)
            elif is_over and self._is_given_up(entry):
                # The entry stays for another grace period, after which a paused process copies nothing more.
                removed |= unnamed & there
        delete_parts(self.storage, self.output, sorted(removed))
        self.storage.delete(entry.uri for entry in settled)
        return sorted(removed)

    def _is_past_grace(self, since: datetime) -> bool:
        return self.now - since.timestamp() >= self.pipeline.output.grace_minutes * 60

    def _is_over(self, entry: JournalEntry) -> bool:
        dag_id, run_id = entry.attempt.dag_id, entry.attempt.run_id
        return self._is_past_grace(entry.written_at) and not self.is_active(dag_id, run_id)

    def _is_given_up(self, entry: JournalEntry) -> bool:
        """Abandon the attempt; whether it had not begun to commit, and now no longer can."""
        return entry.attempt.state == "copying" and change_state(self.storage, entry, "abandoned") is not None

    def _is_ruled_out(self, entry: JournalEntry, published: PublishedOutput | None) -> bool:
        """Whether no later manifest can name the parts of this attempt that the current one does not name."""
        etag = None if published is None else published.etag
        return entry.attempt.state == "abandoned" or etag != entry.attempt.replacing
