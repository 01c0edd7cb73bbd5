"""The data time of a run: the time that `{date}` and `{hour}` stand for.

A run that other data started is a run over the date of that data, whenever it starts: what ends after midnight is
followed by a run over its own date. So the event of `publish` carries the data time of its run, and a pipeline with
`schedule_on` takes it from the events that started it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batch_inference.common.formatting import conjugate_be, format_count, join_words

#: The member of an asset event's `extra` that has the data time, in ISO 8601 with its offset.
EXTRA_KEY = "data_time"
#: Most data times that one sentence names.
MAX_NAMED_TIMES = 10


@dataclass(frozen=True, slots=True)
class DataTime:
    """The data time of a run, and sentences that say where it is from when other data started the run."""

    time: datetime
    sentences: tuple[str, ...] = ()


def find_data_time(dag_run: Any, events_by_asset: Mapping[Any, Iterable[Any]] | None) -> DataTime:
    """The data time of a run; `events_by_asset` is Airflow's `triggering_asset_events`.

    Of each asset the latest data time counts, and of several assets the earliest of these: the latest that all have
    reached. A run without such an event has the start of its data interval, its logical date, or its `run_after`; one
    that was triggered over REST with `logical_date: null` has neither of the first two.

    The events of a run do not change, so a clear gives the same data time.
    """
    own: datetime = dag_run.data_interval_start or dag_run.logical_date or dag_run.run_after
    times: dict[str, set[datetime]] = {}
    uris: set[str] = set()
    for event in (each for events in (events_by_asset or {}).values() for each in events):
        uris.add(event.asset.uri)
        if (time := read_data_time(event)) is not None:
            times.setdefault(event.asset.uri, set()).add(time)
    if not uris:
        return DataTime(own)
    if not times:
        sentence = (
            f"This run was started by {join_words(sorted(uris))}, whose event has no data time: {{date}} and {{hour}} "
            f"are those of its own start, {_format_time(own)}."
        )
        return DataTime(own, (sentence,))
    chosen = min(max(found) for found in times.values())
    reached = "" if len(times) == 1 else f", the latest that all {len(times)} assets have reached"
    started_by = join_words(sorted(times))
    sentences = [
        f"This run is for {_format_time(chosen)}, the data time of what started it: {started_by}{reached}."
    ]
    if others := sorted({time for found in times.values() for time in found if time < chosen}):
        skipped = f"{format_count(len(others), 'earlier data time')} {conjugate_be(len(others))}"
        named = join_words([_format_time(time) for time in others[-MAX_NAMED_TIMES:]])
        sentences.append(
            f"{skipped} not read by it, since several events started one run: {named}. Trigger a run with that "
            f"logical date for each that is wanted."
        )
    return DataTime(chosen, tuple(sentences))


def read_data_time(event: Any) -> datetime | None:
    """The data time of an asset event: of its `extra`, or its partition key when that is a time; None without one.

    A time without an offset is in UTC, as in the keys of Airflow's own partition timetables.
    """
    for value in ((event.extra or {}).get(EXTRA_KEY), getattr(event, "partition_key", None)):
        try:
            time = datetime.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            continue
        if time is not None:
            return time if time.tzinfo else time.replace(tzinfo=UTC)
    return None


def build_partition_key(data_time: datetime) -> str:
    """The partition key of a data time, in UTC, as Airflow's partition mappers read it: `2026-01-31T07:00:00`."""
    return f"{data_time.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"


def _format_time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
