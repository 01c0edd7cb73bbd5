"""By whose prices a run's dollars are: those of the table, which hold in one region, or the pipeline's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from include.scoring.cost import Prices


def pricing(prices: Prices, instance_types: Iterable[str], region: str | None) -> dict[str, Any]:
    """For the report: which of these types have the table's price, with its date and region, and which an `own` one.

    Types without a known price are left out. `ran_in` is the region of the jobs, None when it is not known; `as_of` and
    `region` are the table's, None where no dollar is by it.
    """
    table, own = _apart(prices, instance_types)
    return {
        "as_of": prices.as_of.isoformat() if table else None,
        "region": prices.region if table else None,
        "currency": prices.currency,
        "table": table,
        "own": own,
        "ran_in": region,
    }


def priced(told: Mapping[str, Any]) -> list[str]:
    """What `pricing` gave in sentences; none where no price is known."""
    if "own" not in told:
        return []  # a report of before does not know whose prices it has
    own, table = told["own"], told["table"]
    of_table = f"by prices of {told['region']} as of {told['as_of']}"
    if told["region"] is None:
        return ["The dollars are by the pipeline's own prices."] if own else []
    if own:
        by_type = f"{of_table} for {' and '.join(table)}, and by the pipeline's own for {' and '.join(own)}"
        return [f"The dollars are {by_type}.", *_elsewhere(told)]
    return [f"The dollars are {of_table}.", *_elsewhere(told)]


def foreign(prices: Prices, instance_types: Iterable[str], region: str | None) -> str | None:
    """For the plan: a sentence that names the types whose prices are another region's than the jobs'; else None."""
    table, _ = _apart(prices, instance_types)
    if not table or region in (None, prices.region):
        return None
    return (
        f"The jobs run in {region}, but the dollars for {' and '.join(table)} are by prices of {prices.region}; the "
        f"pipeline file can state your own prices."
    )


def _elsewhere(told: Mapping[str, Any]) -> list[str]:
    if told["ran_in"] in (None, told["region"]):
        return []
    where = f"The jobs ran in {told['ran_in']}, where others may hold"
    return [f"{where}; the pipeline file can state your own prices."]


def _apart(prices: Prices, instance_types: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those that have the table's price and those that have the pipeline's own, each in order."""
    known = {name for name in instance_types if prices.per_second(name) is not None}
    own = {name for name in known if prices.is_own(name)}
    return sorted(known - own), sorted(own)
