"""Compares the cost of a run with two alternatives: an unsized transform, and an endpoint that is always on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batch_inference.pricing.costs import Prices, StageUsage

SECONDS_PER_DAY = 24 * 3600


def compare_alternatives(
    *, plan: Mapping[str, Any], usage: StageUsage, scored_count: int, dollars: float | None, prices: Prices
) -> dict[str, Any]:
    """Figures of the two alternatives to this run's transform; unknown ones are None.

    `usage` is of the transform, `scored_count` its records, `dollars` the cost of the whole run.

    The naive run takes `max_instances` of the pipeline and assigns the unsplit input objects to them in turn; its rate
    and start-up are those of this run. The endpoint is one instance of the same type, always on; below
    `breakeven_records_per_day` the batch run is cheaper, at this run's cost per record.
    """
    return {
        "naive": _naive(plan["naive"], plan["input"]["text_bytes"], usage, prices),
        "endpoint": _endpoint(usage.instance_type, scored_count, dollars, prices),
    }


def _naive(naive: Mapping[str, Any], text_bytes: int, usage: StageUsage, prices: Prices) -> dict[str, Any]:
    instances, billed, dollars = naive["instance_count"], None, None
    if usage.busy_seconds and usage.start_seconds is not None and text_bytes:
        bytes_per_second = text_bytes / usage.busy_seconds
        billed = instances * (usage.start_seconds + naive["largest_share_bytes"] / bytes_per_second)
        dollars = prices.compute_cost(usage.instance_type, billed)
    return {"instance_count": instances, "billed_seconds": billed, "dollars": dollars}


def _endpoint(instance_type: str, scored_count: int, dollars: float | None, prices: Prices) -> dict[str, Any]:
    per_day = prices.compute_cost(instance_type, SECONDS_PER_DAY)
    return {
        "instance_type": instance_type,
        "dollars_per_day": per_day,
        "breakeven_records_per_day": int(per_day / (dollars / scored_count))
        if per_day and dollars and scored_count
        else None,
    }
