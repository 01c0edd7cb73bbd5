"""Builds the figures of a run's trials: what was tried on how many records, what that cost, and what it would save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batch_inference.common.formatting import format_dollars
from batch_inference.planning.clusters.exploration import TrialPlan
from batch_inference.planning.clusters.settings_cost import RequestSettings
from batch_inference.planning.plan import Plan
from batch_inference.planning.trial_planning import get_settings
from batch_inference.pricing.costs import Prices, StageUsage


def build_trials(
    plan: Plan,
    trials: Sequence[Mapping[str, Any]],
    transform: StageUsage,
    prices: Prices,
    *,
    scored_count: int,
) -> list[dict[str, Any]]:
    """The figures of each trial, as those of a stage; `transform` is the usage of the run's own transform.

    `completed` says whether it ran to its end, and `outcome` is a sentence. `extra_dollars` is what its job, or the
    jobs after it, cost above what its records would have cost among the others.
    """
    share = sum(trial["share"] for trial in trials)
    own_bytes, price = (
        plan.input.text_bytes * (1 - share),
        prices.get_price_per_second(transform.instance_type),
    )
    usual = None
    if transform.busy_seconds and own_bytes > 0 and price is not None and transform.billed_by_type is None:
        usual = price * transform.busy_seconds / own_bytes
    return [
        _build_trial(
            plan.trials[trial["trial"]],
            trial,
            get_settings(plan.transform),
            usual,
            prices,
            text_bytes=plan.input.text_bytes,
            scored_count=scored_count,
        )
        for trial in trials
    ]


def _build_trial(
    planned: TrialPlan,
    trial: Mapping[str, Any],
    others: RequestSettings,
    usual: float | None,
    prices: Prices,
    *,
    text_bytes: int,
    scored_count: int,
) -> dict[str, Any]:
    job, settings = trial["job"], planned.settings
    usage = StageUsage.from_job("transform", job, busy_seconds=job.get("busy_seconds"))
    records, trial_bytes = round(scored_count * trial["share"]), round(text_bytes * trial["share"])
    figures = usage.build_figures(prices, scored_count=records)
    usual_dollars = (usual if usual is not None else planned.usual_dollars_per_byte) * trial_bytes
    extra = None if figures["dollars"] is None else figures["dollars"] - usual_dollars
    working = None
    if usage.busy_seconds is not None:
        working = prices.compute_cost(usage.instance_type, usage.busy_seconds)
    attempts = job.get("earlier_attempts") or ()
    if job["is_trial"]:
        outcome = f"{settings.describe()}: {format_dollars(figures['dollars'])}"
        if working and usual_dollars:
            ratio = working / usual_dollars - 1
            change = f"{abs(ratio):.0%} {'cheaper' if ratio < 0 else 'dearer'}"
            outcome += f", a record {change} than {others.describe(settings)}"
        outcome += "."
    else:
        reason = next(
            (each.get("failure_reason") or each["status"] for each in attempts), "AWS did not accept it"
        )
        outcome = f"{settings.describe()}: {reason}; its records were scored as all others."
    return {
        **figures,
        **settings._asdict(),
        "trial": trial["trial"],
        "completed": job["is_trial"],
        "was_billed": any(each["billed_seconds"] for each in attempts),
        "records": records,
        "bytes": trial_bytes,
        "objects": trial["objects"],
        "extra_dollars": extra,
        "outcome": outcome,
    }
