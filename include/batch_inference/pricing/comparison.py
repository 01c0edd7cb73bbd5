"""Compares the cost of a run with two alternatives: an unsized transform, and an endpoint that is always on."""

from __future__ import annotations

from typing import Any

from batch_inference.pricing.costs import Prices, StageUsage

SECONDS_PER_DAY = 24 * 3600


def compare_with_naive(
    usage: StageUsage, prices: Prices, *, text_bytes: int, instance_count: int, largest_share_bytes: int
) -> dict[str, Any]:
    """Instance-seconds and dollars of an unsized transform; None when unknown. `usage` is of this run's transform.

    The naive run takes `instance_count` instances, the pipeline's maximum, and assigns the unsplit input objects to
    them in turn; its rate and start-up are those of this run, of `text_bytes`.
    """
    billed = dollars = None
    if usage.busy_seconds and usage.start_seconds is not None and text_bytes:
        bytes_per_second = text_bytes / usage.busy_seconds
        billed = instance_count * (usage.start_seconds + largest_share_bytes / bytes_per_second)
        dollars = prices.compute_cost(usage.instance_type, billed)
    return {"instance_count": instance_count, "billed_seconds": billed, "dollars": dollars}


def compare_with_endpoint(
    instance_type: str, prices: Prices, *, scored_count: int, dollars: float | None
) -> dict[str, Any]:
    """The cost of an endpoint of one instance that is always on; None when unknown.

    Below `breakeven_records_per_day` the batch run is cheaper, at its cost per record: `dollars` for `scored_count`.
    """
    per_day = prices.compute_cost(instance_type, SECONDS_PER_DAY)
    breakeven = None
    if per_day and dollars and scored_count:
        breakeven = int(per_day / (dollars / scored_count))
    return {
        "instance_type": instance_type,
        "dollars_per_day": per_day,
        "breakeven_records_per_day": breakeven,
    }
