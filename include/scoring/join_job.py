"""How many instances join a run that is too large for Airflow's workers, and what that should take.

The join is no goal of its own: it works through tens of megabytes a second on each core, minutes where the transform
takes hours. So it gets as few instances as join in a quarter of an hour, or as many as may be where speed is preferred.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from include.scoring.cluster import Option, Sized, StageWork, sized
from include.scoring.config import Pipeline
from include.scoring.cost import Prices
from include.scoring.history import HistoryRow, rate_for
from include.scoring.messages import size
from include.scoring.rules import Noun

MINUTES = 15
#: What an instance holds beside its share of the records: all predictions, at most so many bytes for each of a record.
PREDICTIONS_SHARE = 1.0
#: What is written, for each byte that is read.
WRITTEN_SHARE = 1.5


class JoinJobPlan(Noun):
    """The processing job that joins, should the records that pass be more than `above` bytes."""

    above: int
    instance_type: str
    instance_count: int
    volume_size_gb: int
    max_runtime_seconds: int


def size_join_job(
    pipeline: Pipeline,
    text_bytes: int,
    shards: int,
    *,
    history: Iterable[HistoryRow],
    prices: Prices,
    speed: bool,
) -> tuple[JoinJobPlan, Sized, str] | None:
    """The job for so many bytes of text in so many shards, what it should take, and why in a sentence.

    None where no run of this size is joined by a job.
    """
    section = pipeline.join
    if section.processing_above is None or text_bytes <= section.processing_above or not shards:
        return None
    kind = section.instance_type
    option = Option(
        instance_type=kind,
        rate=rate_for(history, stage="join", instance_type=kind, model=""),
        dollars_per_second=prices.per_second(kind),
    )
    most = min(section.max_instances, shards)
    enough = math.ceil(text_bytes / (option.rate.bytes_per_second * MINUTES * 60))
    count = most if speed else min(enough, most)
    work = StageWork(
        name="join", bytes=text_bytes, units=shards, max_instances=most, options=(option,), hashed=True
    )
    plan = JoinJobPlan(
        above=section.processing_above,
        instance_type=kind,
        instance_count=count,
        volume_size_gb=_volume(text_bytes, count),
        max_runtime_seconds=section.max_runtime_minutes * 60,
    )
    reason = (
        "speed is preferred" if speed else f"that joins {size(text_bytes)} in about {MINUTES} minutes or less"
    )
    if not speed and enough > most:
        reason = "the limits allow no more"
    sentence = (
        f"Join uses {count} × {kind}, because {reason}; up to {size(section.processing_above)} of records Airflow's "
        f"workers join."
    )
    return plan, sized(work, option, count), sentence


def _volume(text_bytes: int, count: int) -> int:
    """GB: the fullest instance is taken to get twice its share of the records."""
    records = text_bytes if count == 1 else min(text_bytes, 2 * text_bytes // count)
    return 10 + math.ceil((records * (1 + WRITTEN_SHARE) + text_bytes * PREDICTIONS_SHARE) / 1e9)
