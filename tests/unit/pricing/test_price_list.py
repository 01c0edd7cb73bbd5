"""AWS's price list gives hourly prices of the region and of the jobs' components, and nothing else."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from batch_inference.config.yaml_loader import load_yaml_model
from batch_inference.pricing.costs import Prices, load_prices
from batch_inference.pricing.price_list import (
    COMPONENTS,
    build_product_requests,
    choose_endpoint_region,
    parse_price_list,
    render_price_table,
)
from batch_inference.pricing.price_source import build_price_source, describe_prices

TODAY = date(2026, 11, 27)


def product(
    name: str | None = "ml.m5.xlarge", component: str | None = "BatchTransform", *, usd: str = "0.257",
    unit: str = "Hrs", region: str = "eu-west-1", currency: str = "USD",
) -> str:  # fmt: skip
    """A document of GetProducts."""
    attributes = {"instanceName": name, "component": component, "regionCode": region}
    dimension = {"unit": unit, "pricePerUnit": {currency: usd}}
    document: dict[str, Any] = {
        "product": {"attributes": {key: value for key, value in attributes.items() if value is not None}},
        "terms": {"OnDemand": {"S.T": {"priceDimensions": {"S.T.R": dimension}}}},
        "publicationDate": "2026-11-20T08:00:00Z",
    }
    return json.dumps(document)


def parse(*documents: str) -> Prices:
    return parse_price_list(documents, region="eu-west-1", as_of=TODAY)


def hourly(prices: Prices) -> dict[str, float | None]:
    return {name: each.price for name, each in prices.per_hour.items()}


def test_hourly_prices_are_dated_and_name_the_list() -> None:
    prices = parse(product(), product("ml.c5.xlarge", usd="0.2280000000"))
    assert hourly(prices) == {"ml.c5.xlarge": 0.228, "ml.m5.xlarge": 0.257}
    assert (prices.as_of, prices.region, prices.is_price_list) == (TODAY, "eu-west-1", True)
    assert prices.sources["price-list"].note == "published 2026-11-20T08:00:00Z"
    assert not load_prices().is_price_list


@pytest.mark.parametrize(
    "other",
    [
        product("ml.p4d.24xlarge", None, usd="13.57", unit="Quantity"),
        product("ml.p4d.24xlarge", usd="13.57", unit="Quantity"),
        product("ml.p4d.24xlarge", "Hosting", usd="25.9"),
        product("ml.p4d.24xlarge", usd="25.9", region="us-east-1"),
        product("ml.p4d.24xlarge", usd="0.0000000000"),
        product("ml.p4d.24xlarge", usd="170", currency="CNY"),
        product(None),
        json.dumps({"product": {"attributes": {"instanceName": "ml.p4d.24xlarge"}}, "terms": {}}),
    ],
    ids=["fee", "unit", "component", "region", "free tier", "currency", "no instance", "no terms"],
)
def test_what_is_no_price_per_hour_of_a_job_is_left_out(other: str) -> None:
    assert hourly(parse(other, product())) == {"ml.m5.xlarge": 0.257}


def test_of_two_prices_of_a_type_the_higher_counts() -> None:
    """In any order."""
    both = [product(usd="0.257"), product(component="Processing", usd="0.3")]
    assert hourly(parse(*both)) == hourly(parse(*reversed(both))) == {"ml.m5.xlarge": 0.3}


def test_each_component_is_asked_for_in_the_region() -> None:
    requests = list(build_product_requests("eu-west-1"))
    wanted = [{each["Field"]: each["Value"] for each in request["Filters"]} for request in requests]
    assert [each["component"] for each in wanted] == list(COMPONENTS)
    assert {each["regionCode"] for each in wanted} == {"eu-west-1"}
    assert {each["Type"] for request in requests for each in request["Filters"]} == {"TERM_MATCH"}


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [("us-west-2", "us-east-1"), ("sa-east-1", "us-east-1"), ("eu-north-1", "eu-central-1"),
     ("me-south-1", "eu-central-1"), ("ap-northeast-1", "ap-south-1"), ("cn-north-1", "cn-northwest-1")],
)  # fmt: skip
def test_the_nearest_endpoint_is_asked(region: str, endpoint: str) -> None:
    assert choose_endpoint_region(region) == endpoint


def test_a_written_table_is_read_as_the_same_prices(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    for prices in (parse(product(), product("ml.c5.xlarge", usd="0.228")), load_prices()):
        file.write_text(render_price_table(prices))
        assert load_yaml_model(file, Prices) == prices


def test_reports_say_that_the_prices_are_awss() -> None:
    source = build_price_source(parse(product()), ["ml.m5.xlarge"], "eu-west-1")
    assert describe_prices(source) == ["Costs use AWS's price list of eu-west-1 as of 2026-11-27."]


def test_the_prices_of_some_types_have_only_their_sources() -> None:
    few = load_prices().select_types(["ml.p3.2xlarge", "ml.unheard.xlarge"])
    assert (list(few.per_hour), list(few.sources)) == (["ml.p3.2xlarge"], ["fmbench"])
    assert few.region == load_prices().region
