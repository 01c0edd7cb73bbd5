"""What the same work would have cost otherwise: on a cluster nobody sized, and on an endpoint that never sleeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.scoring.cost import Prices, StageUse

HOURS_PER_DAY = 24


def compare(
    *, plan: Mapping[str, Any], use: StageUse, scored: int, dollars: float | None, prices: Prices
) -> dict[str, Any]:
    """Figures of the two alternatives to this run's transform; what cannot be known is None.

    `use` is what the transform used, `scored` its records, `dollars` the cost of the whole run.

    The naive run takes as many instances as the pipeline allows and hands them the input's objects in turn, as they
    lie; its rate and start-up are those just measured. The endpoint is one instance of the same type, always on;
    below `breakeven_records_per_day` the batch run is cheaper, counting this run's cost per record.
    """
    return {
        "naive": _naive(plan["naive"], plan["input"]["text_bytes"], use, prices),
        "endpoint": _endpoint(use.instance_type, scored, dollars, prices),
    }


def _naive(naive: Mapping[str, Any], work: int, use: StageUse, prices: Prices) -> dict[str, Any]:
    instances = naive["instance_count"]
    known = use.busy_seconds and use.start_seconds is not None and work
    if not known or use.busy_seconds is None or use.start_seconds is None:
        return {"instance_count": instances, "billed_seconds": None, "dollars": None}
    per_second = work / use.busy_seconds
    billed = instances * (use.start_seconds + naive["fullest_bytes"] / per_second)
    return {
        "instance_count": instances,
        "billed_seconds": billed,
        "dollars": prices.cost(use.instance_type, billed),
    }


def _endpoint(instance_type: str, scored: int, dollars: float | None, prices: Prices) -> dict[str, Any]:
    hourly = prices.cost(instance_type, 3600)
    per_day = None if hourly is None else hourly * HOURS_PER_DAY
    known = per_day is not None and dollars and scored
    return {
        "instance_type": instance_type,
        "dollars_per_day": per_day,
        "breakeven_records_per_day": int(per_day / (dollars / scored))
        if known and per_day and dollars
        else None,
    }
