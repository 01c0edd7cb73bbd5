"""Describes the source of the prices of a run: AWS's price list, this package's table, or the pipeline file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from batch_inference.pricing.costs import Prices


def build_price_source(
    prices: Prices, instance_types: Iterable[str], job_region: str | None
) -> dict[str, Any]:
    """For the report: which instance types have a price from AWS's price list or the table, and which from the pipeline
    file (`own`). `from_aws` says that it is AWS's price list.

    Types without a known price are left out. `ran_in` is the region of the jobs, None when it is unknown; `as_of` and
    `region` are the table's, None where none of its prices is used.
    """
    table, own = _split_by_source(prices, instance_types)
    return {
        "as_of": prices.as_of.isoformat() if table else None,
        "region": prices.region if table else None,
        "currency": prices.currency,
        "from_aws": prices.is_price_list,
        "table": table,
        "own": own,
        "ran_in": job_region,
    }


def describe_prices(price_source: Mapping[str, Any]) -> list[str]:
    """The result of `build_price_source` as sentences; none where no price is known."""
    if "own" not in price_source:
        return []  # the report of an earlier version has no price source
    own, table = price_source["own"], price_source["table"]
    if price_source["region"] is None:
        return ["Costs use the prices of the pipeline file."] if own else []
    whose = "AWS's price list" if price_source.get("from_aws") else "the prices"
    used = f"{whose} of {price_source['region']} as of {price_source['as_of']}"
    if own:
        used += f" for {' and '.join(table)}, and those of the pipeline file for {' and '.join(own)}"
    return [f"Costs use {used}.", *_describe_foreign_region(price_source)]


def describe_foreign_prices(
    prices: Prices, instance_types: Iterable[str], job_region: str | None
) -> str | None:
    """For the plan: a sentence with the instance types whose prices are of another region than the jobs; or None."""
    table, _ = _split_by_source(prices, instance_types)
    if not table or job_region in (None, prices.region):
        return None
    return (
        f"The jobs run in {job_region}, but the costs of {' and '.join(table)} use the prices of {prices.region}; "
        "write your own under prices in the pipeline file."
    )


def _describe_foreign_region(price_source: Mapping[str, Any]) -> list[str]:
    if price_source["ran_in"] in (None, price_source["region"]):
        return []
    where = f"The jobs ran in {price_source['ran_in']}, where prices may differ"
    return [f"{where}; write your own under prices in the pipeline file."]


def _split_by_source(prices: Prices, instance_types: Iterable[str]) -> tuple[list[str], list[str]]:
    """The instance types with a price from the table, and those with one from the pipeline file, each sorted."""
    known = {name for name in instance_types if prices.get_price_per_second(name) is not None}
    own = {name for name in known if prices.is_pipeline_price(name)}
    return sorted(known - own), sorted(own)
