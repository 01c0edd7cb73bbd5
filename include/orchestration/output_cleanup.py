"""Which part files below an output go, and when: called at the end of each `publish`, and by the janitor.

Two kinds go. Parts that the current manifest lists as replaced, after the grace time (`output.grace_minutes`), for
readers that took their names from the manifest before. And parts of a try that never became current and no longer can.

Whoever decides that may be stopped for any time between that and its DELETE, and others may publish meanwhile; what
they publish is never deleted. A part's name is given to one try only, and a try commits at most once, by one PUT on
the condition that the manifest still has the ETag that the try found (`replacing`) before it copied. So a name can only
become current by its own try's PUT, and that is ruled out for good before anything is deleted:

- a part that is replaced was current, so the PUT of its try is done, and the manifest has another ETag now;
- a part that is not named at all goes only if the manifest has another ETag than its try found, which a manifest that
  was replaced never has again, because it names files that no other names; or if its try was given up: it must state
  that it is about to commit by a PUT on the condition that nobody did so.

A try that has stated that, whose manifest is not there and may still arrive, is left until another one is published.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.orchestration.output import PART, Published, delete_parts, read_published
from include.orchestration.publish_journal import Entry, change_state, read_entries, remove_entry
from include.orchestration.storage import Storage
from include.scoring.config import Pipeline
from include.scoring.naming import publishing_prefix

log = logging.getLogger(__name__)


def activity(ti: Any) -> Callable[[str, str], bool]:
    """Asks Airflow whether the run of a DAG is queued or running."""

    def is_active(dag_id: str, run_id: str) -> bool:
        count: int = ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["queued", "running"])
        return count > 0

    return is_active


def clean_outputs(
    storage: Storage,
    pipeline: Pipeline,
    *,
    is_active: Callable[[str, str], bool],
    now: float,
    published_in: str | None = None,
) -> list[str]:
    """Delete what may go below all outputs of the pipeline; the URIs. `now` is in epoch seconds.

    `published_in` is the DAG run whose `publish` has just committed: what its earlier tries left is not waited for.

    Raises:
        Exception: after all others had their turn, the first that was met: OutputError where a manifest is not this
            pipeline's, or what S3 refused.
    """
    outputs: dict[str, list[Entry]] = {}
    for entry in read_entries(storage, publishing_prefix(work=pipeline.work, pipeline=pipeline.name)):
        outputs.setdefault(entry.publisher.output, []).append(entry)
    removed: list[str] = []
    problems: list[Exception] = []
    for output, entries in outputs.items():
        try:
            cleaning = _Cleaning(storage, pipeline, output, is_active, now, published_in)
            removed += cleaning.clean(entries)
        except Exception as error:
            log.exception("%s: part files that should go stay for now", output)
            problems.append(error)
    if problems:
        raise problems[0]
    return removed


@dataclass(frozen=True, slots=True)
class _Cleaning:
    """One look at one output."""

    storage: Storage
    pipeline: Pipeline
    output: str
    is_active: Callable[[str, str], bool]
    now: float
    published_in: str | None

    def clean(self, entries: Sequence[Entry]) -> list[str]:
        """Delete what may go because of these tries; forget those of which nothing is left to do."""
        there = set(self.storage.uris(f"{self.output}{PART}"))
        published = read_published(self.storage, self.output, self.pipeline.name)
        replaced = {} if published is None else published.replaced
        due = {uri for uri, since in replaced.items() if self._is_past_grace(since)}
        done = {uri for uri in replaced if uri in due or uri not in there}
        removed = due & there
        settled: list[Entry] = []
        for entry in entries:
            known = set() if published is None else {*published.files, *replaced}
            unnamed = set(entry.publisher.parts) - known
            # The run of a try whose parts are current may go on: nothing but the grace time is waited for.
            is_over = not unnamed or self._is_over(entry)
            if not unnamed or self._is_ruled_out(entry, published):
                if is_over or entry.publisher.run_id == self.published_in:
                    removed |= unnamed & there
                if is_over and len(done) == len(replaced):
                    settled.append(entry)
            elif is_over and self._is_given_up(entry):
                # Kept for another grace time, after which a process that woke up has copied all that it will.
                removed |= unnamed & there
        delete_parts(self.storage, self.output, sorted(removed))
        for entry in settled:
            remove_entry(self.storage, entry)
        return sorted(removed)

    def _is_past_grace(self, since: datetime) -> bool:
        return self.now - since.timestamp() >= self.pipeline.output.grace_minutes * 60

    def _is_over(self, entry: Entry) -> bool:
        publisher = entry.publisher
        return self._is_past_grace(entry.written) and not self.is_active(publisher.dag_id, publisher.run_id)

    def _is_given_up(self, entry: Entry) -> bool:
        """Whether its try had not stated yet that it commits, and now no longer can."""
        return (
            entry.publisher.state == "copying" and change_state(self.storage, entry, "abandoned") is not None
        )

    def _is_ruled_out(self, entry: Entry, published: Published | None) -> bool:
        """Whether no manifest will ever name the parts of a try that the current one does not name."""
        etag = None if published is None else published.etag
        return entry.publisher.state == "abandoned" or etag != entry.publisher.replacing
