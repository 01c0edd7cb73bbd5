"""Reads AWS's price list: the documents that GetProducts of the Price List API answers for AmazonSageMaker."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from batch_inference.pricing.costs import PRICE_LIST_SOURCE, Price, Prices, PriceSource

SERVICE_CODE = "AmazonSageMaker"
#: The version of the form of the documents.
FORMAT_VERSION = "aws_v1"
#: The parts of SageMaker that a run's jobs are billed as.
COMPONENTS = ("BatchTransform", "Processing")
ADDRESS = "https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html"
#: The API has endpoints in few regions; each knows the prices of all regions of its partition.
_ENDPOINT_REGIONS = {"ap": "ap-south-1", "eu": "eu-central-1", "me": "eu-central-1", "af": "eu-central-1",
                     "il": "eu-central-1", "cn": "cn-northwest-1"}  # fmt: skip


def choose_endpoint_region(region: str) -> str:
    """The region of the Price List API's endpoint that is asked for the prices of `region`."""
    return _ENDPOINT_REGIONS.get(region.split("-", 1)[0], "us-east-1")


def build_product_requests(region: str) -> Iterator[dict[str, Any]]:
    """The requests of GetProducts for the instances of a region, one for each component."""
    for component in COMPONENTS:
        wanted = {"productFamily": "ML Instance", "regionCode": region, "component": component}
        yield {
            "ServiceCode": SERVICE_CODE,
            "FormatVersion": FORMAT_VERSION,
            "Filters": [
                {"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()
            ],
        }


def parse_price_list(documents: Iterable[str], *, region: str, as_of: date) -> Prices:
    """The prices of a region, read on `as_of`. Types that the documents price otherwise than by the hour are left out.

    Where a type costs more in one component than in the other, the higher price counts, so that budgets hold.
    """
    per_hour: dict[str, Price] = {}
    versions: set[str] = set()
    for document in map(json.loads, documents):
        attributes = document["product"]["attributes"]
        name, price = attributes.get("instanceName"), _find_hourly_price(document)
        if (
            not name
            or price is None
            or attributes.get("component") not in COMPONENTS
            or attributes.get("regionCode") != region
        ):
            continue
        versions.add(str(document.get("publicationDate", "")))
        known = per_hour.get(name)
        if known is None or known.price is None or known.price < price:
            per_hour[name] = Price(price=price, source=PRICE_LIST_SOURCE)
    published = max(versions, default="")
    source = PriceSource(
        address=ADDRESS, as_of=as_of, region=region, note=f"published {published}" if published else None
    )
    return Prices(
        as_of=as_of,
        region=region,
        sources={PRICE_LIST_SOURCE: source},
        per_hour=dict(sorted(per_hour.items())),
    )


def _find_hourly_price(document: Mapping[str, Any]) -> float | None:
    """The on-demand dollars per hour of a product; None for a fee of another unit, a free tier, or other currencies."""
    found = [
        float(dimension["pricePerUnit"]["USD"])
        for term in document.get("terms", {}).get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
        if dimension.get("unit") == "Hrs" and "USD" in dimension["pricePerUnit"]
    ]
    return max((price for price in found if price > 0), default=None)


def render_price_table(prices: Prices) -> str:
    """The prices as a table in YAML, in the form of prices.yaml."""
    lines = [f"as_of: {prices.as_of}", f"region: {prices.region}", f"currency: {prices.currency}", "sources:"]
    for name, source in prices.sources.items():
        lines.append(f"  {name}:")
        lines += [f"    {key}: {value}" for key, value in source.model_dump(exclude_none=True).items()]
    lines.append("per_hour:")
    for name, price in prices.per_hour.items():
        amount = "null" if price.price is None else price.price
        lines.append(f"  {name}: {{ price: {amount}, source: {price.source or 'null'} }}")
    return "\n".join(lines) + "\n"
