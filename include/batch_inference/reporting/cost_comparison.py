"""Compares the cost of a run with that of an unsized one and of an endpoint, in parts and in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batch_inference.common.formatting import format_count, format_dollars
from batch_inference.pricing.costs import sum_if_known

#: A part of what a run costs: its name and its dollars.
CostPart = tuple[str, float]
FAILED_ATTEMPTS, TRIALS = "failed attempts", "trials"


def list_cost_parts(report: Mapping[str, Any]) -> list[CostPart]:
    """The dollars of each stage without failed attempts, of the trials and of the failed attempts.

    Only for a report whose `total` has `dollars`: then all of them are known.
    """
    parts = [(stage["stage"], stage["dollars"] - _get_failed_dollars(stage)) for stage in report["stages"]]
    if report["trials"]:
        parts.append((TRIALS, sum_if_known(trial["dollars"] for trial in report["trials"]) or 0.0))
    if failed := sum(_get_failed_dollars(stage) for stage in report["stages"]):
        parts.append((FAILED_ATTEMPTS, failed))
    return parts


def list_unsized_parts(report: Mapping[str, Any]) -> list[CostPart] | None:
    """The parts of an unsized run: the same stages, without trials and failed attempts.

    None where the cost of this run or of the unsized transform is unknown.
    """
    dollars = report["comparison"]["naive"]["dollars"]
    if dollars is None or report["total"]["dollars"] is None:
        return None
    stages = {stage["stage"] for stage in report["stages"]}
    return [
        (name, dollars if name == "transform" else own)
        for name, own in list_cost_parts(report)
        if name in stages
    ]


def describe_unsized(report: Mapping[str, Any]) -> list[str]:
    """What the run would have cost with an unsized transform, as a sentence; none where that is unknown."""
    parts = list_unsized_parts(report)
    if parts is None:
        return []
    count = format_count(report["comparison"]["naive"]["instance_count"], "instance")
    dollars = format_dollars(sum(each for _, each in parts))
    return [f"It would have cost {dollars} with a transform of the unsplit input on {count} without sizing."]


def describe_endpoint(report: Mapping[str, Any]) -> list[str]:
    """What an endpoint that is always on costs, as a sentence; none where its price is unknown."""
    endpoint, own = report["comparison"]["endpoint"], report["total"]["dollars"]
    per_day, breakeven = endpoint["dollars_per_day"], endpoint["breakeven_records_per_day"]
    if per_day is None:
        return []
    said = f"An endpoint of one {endpoint['instance_type']} costs {format_dollars(per_day)} a day"
    if own and per_day >= own:
        said += f", as much as {format_count(int(per_day / own), 'such run')}"
    if breakeven is not None:
        said += f", and is cheaper from {breakeven:,} records a day"
    return [f"{said}."]


def _get_failed_dollars(stage: Mapping[str, Any]) -> float:
    """The dollars of a stage's failed attempts: their part of its billed instance-seconds."""
    billed = stage["billed_seconds"]
    share: float = stage["earlier_billed_seconds"] / billed if billed else 0.0
    return share * float(stage["dollars"])
