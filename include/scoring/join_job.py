"""The job that joins a run which is too large for Airflow's workers: its work, and what it is given.

It works through tens of megabytes a second on each core, minutes where the transform takes hours. So it gets as few
instances as join in a quarter of an hour, and more only where the deadline asks for them or speed is preferred, fewer
where the budget allows no more.
"""

from __future__ import annotations

import math

from include.scoring import sizing
from include.scoring.choices import Choices
from include.scoring.cluster import instances_for
from include.scoring.config import Pipeline
from include.scoring.decision import Decision, Work
from include.scoring.errors import PlanError
from include.scoring.messages import size
from include.scoring.params import RunParams
from include.scoring.rules import Noun

MINUTES = 15
#: What an instance holds beside its share of the records: all predictions, at most so many bytes for each of a record.
PREDICTIONS_SHARE = 1.0
#: What is written, for each byte that is read.
WRITTEN_SHARE = 1.5


class JoinJobPlan(Noun):
    """The processing job that joins, should the records that pass be more than `above` bytes.

    `instance_types` are those that it may run on, in the order in which they are tried.
    """

    above: int
    instance_type: str
    instance_types: tuple[str, ...]
    instance_count: int
    volume_size_gb: int
    max_runtime_seconds: int


def join_work(pipeline: Pipeline, params: RunParams, text_bytes: int) -> Work | None:
    """What a job has to join of so many bytes of text; None where Airflow's workers join them."""
    above = pipeline.join.processing_above
    if above is None or text_bytes <= above:
        return None
    shards = sizing.most_shards_for(text_bytes, params.transform_instance_count)
    return Work(bytes=text_bytes, units=shards, hashed=True, within=MINUTES * 60)


def plan_join_job(
    pipeline: Pipeline, decision: Decision, shards: int, *, reason: str, say: Choices
) -> JoinJobPlan | None:
    """The job for so many shards, or None where there is none; `reason` is why a stage has as many instances as it has.

    Raises PlanError when no disk of SageMaker's is large enough.
    """
    above = pipeline.join.processing_above
    if above is None or "join" not in [work.name for work in decision.works]:
        return None
    work, chosen = decision.of("join")
    quick = instances_for(work.bytes, chosen.option, MINUTES * 60)
    if decision.goals.prefer == "cost" and chosen.count == quick:
        reason = f"that joins {size(work.bytes)} in about {MINUTES} minutes or less"
    elif chosen.count < quick:
        most = work.counts(chosen.option)[-1]
        reason = "the limits allow no more" if chosen.count == most else "the budget allows no more"
    say.cluster(work, chosen, unit="shard", typed_type=False, reason=reason)
    say.note(f"Up to {size(above)} of records Airflow's workers join, without a job.")
    # There are so many shards, but for what is lost where they are made a multiple of the transform's instances.
    count = min(chosen.count, shards)
    return JoinJobPlan(
        above=above,
        instance_type=chosen.option.instance_type,
        instance_types=decision.acceptable("join"),
        instance_count=count,
        volume_size_gb=_volume(work.bytes, count),
        max_runtime_seconds=pipeline.join.max_runtime_minutes * 60,
    )


def _volume(text_bytes: int, count: int) -> int:
    """GB: the fullest instance is taken to get twice its share of the records."""
    records = text_bytes if count == 1 else min(text_bytes, 2 * text_bytes // count)
    wanted = 10 + math.ceil((records * (1 + WRITTEN_SHARE) + text_bytes * PREDICTIONS_SHARE) / 1e9)
    if wanted > sizing.LARGEST_VOLUME_GB:
        raise PlanError(
            f"an instance of the job that joins would need {wanted:,} GB of disk for {size(text_bytes)} of input, and "
            f"SageMaker gives at most {sizing.LARGEST_VOLUME_GB:,}; drop join.processing_above, allow more instances, "
            f"or split the run"
        )
    return wanted
