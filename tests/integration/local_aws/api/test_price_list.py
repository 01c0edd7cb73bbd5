"""GetProducts answers prices of SageMaker's instances in the form of AWS's price list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from local_aws.api.price_list import DEFAULT_FILE, load_price_table
from local_aws.server import LocalAws, ServerError
from local_aws.settings import load_settings
from tests.integration.local_aws.api.conftest import FAST
from tests.integration.local_aws.api.requests import expect_client_error
from tests.integration.local_aws.servers import Server, run_server

pytestmark = pytest.mark.local_only

SERVICE = {"ServiceCode": "AmazonSageMaker"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One with the built-in prices."""
    with run_server(tmp_path_factory.mktemp("prices") / "data", FAST) as started:
        yield started


@pytest.fixture(scope="module")
def pricing(server: Server) -> Any:
    """A plain boto3 client."""
    return server.client("pricing")


def where(kind: str = "TERM_MATCH", **values: str) -> dict[str, Any]:
    """The request for products with these attributes."""
    return {
        **SERVICE,
        "Filters": [{"Type": kind, "Field": field, "Value": each} for field, each in values.items()],
    }


def names(answer: dict[str, Any]) -> list[str]:
    return [json.loads(each)["product"]["attributes"]["instanceName"] for each in answer["PriceList"]]


def test_a_product_has_the_members_of_awss_list(pricing: Any) -> None:
    request = where(regionCode="us-east-1", instanceName="ml.c5.xlarge", component="BatchTransform")
    answer = pricing.get_products(**request, FormatVersion="aws_v1")
    assert answer["FormatVersion"] == "aws_v1"
    (document,) = map(json.loads, answer["PriceList"])
    product = document["product"]
    assert product["productFamily"] == "ML Instance"
    assert product["attributes"] == {
        "servicecode": "AmazonSageMaker", "servicename": "Amazon SageMaker", "regionCode": "us-east-1",
        "location": "US East (N. Virginia)", "locationType": "AWS Region", "operation": "RunInstance",
        "instanceName": "ml.c5.xlarge", "instanceType": "ml.c5.xlarge-BatchTransform",
        "component": "BatchTransform", "usagetype": "USE1-Tsform:ml.c5.xlarge",
    }  # fmt: skip
    (term,) = document["terms"]["OnDemand"].values()
    (price,) = term["priceDimensions"].values()
    assert (price["unit"], price["pricePerUnit"]) == ("Hrs", {"USD": "0.2040000000"})
    assert price["rateCode"] == f"{product['sku']}.JRTCKXETXF.6YS6EN2CT7"


def test_pages_hold_all_products_once(pricing: Any) -> None:
    pages = list(
        pricing.get_paginator("get_products").paginate(
            **where(component="Processing"), PaginationConfig={"PageSize": 40}
        )
    )
    assert len(pages) > 1
    assert {len(page["PriceList"]) for page in pages[:-1]} == {40}
    skus = [json.loads(each)["product"]["sku"] for page in pages for each in page["PriceList"]]
    assert len(set(skus)) == len(skus) > 50


def test_filters_are_those_of_aws(pricing: Any) -> None:
    """TERM_MATCH and EQUALS want the value, CONTAINS a part, ANY_OF and NONE_OF a list; all filters hold at once."""
    m5 = {"component": "BatchTransform", "instanceName": "ml.m5.xlarge"}
    assert (
        names(pricing.get_products(**where(**m5)))
        == names(pricing.get_products(**where("EQUALS", **m5)))
        == ["ml.m5.xlarge"]
    )
    part = pricing.get_products(**where("CONTAINS", usagetype="Tsform:ml.c5."))
    assert set(names(part)) >= {"ml.c5.xlarge", "ml.c5.2xlarge"}
    either = where("ANY_OF", instanceName="ml.m5.xlarge, ml.c5.xlarge")
    either["Filters"] += where("NONE_OF", component="Hosting,Training")["Filters"]
    assert sorted(set(names(pricing.get_products(**either)))) == ["ml.c5.xlarge", "ml.m5.xlarge"]
    assert names(pricing.get_products(**where(regionCode="eu-west-1"))) == []


def test_a_type_is_listed_for_the_components_that_have_it(pricing: Any) -> None:
    """Batch Transform has no ml.t3, so AWS lists no price for it."""
    assert "ml.t3.medium" not in names(
        pricing.get_products(**where(component="BatchTransform", instanceName="ml.t3.medium"))
    )
    assert names(pricing.get_products(**where(component="Processing", instanceName="ml.t3.medium"))) == [
        "ml.t3.medium"
    ]


def test_what_is_not_there_is_refused_by_name(server: Server, pricing: Any) -> None:
    with expect_client_error("InvalidParameterException") as message:
        pricing.get_products(ServiceCode="AmazonEC2")
    assert "AmazonSageMaker" in message[0]
    with expect_client_error("InvalidParameterException"):
        pricing.get_products(**SERVICE, FormatVersion="aws_v2")
    with expect_client_error("InvalidNextTokenException"):
        pricing.get_products(**SERVICE, NextToken="x")
    with expect_client_error("NotImplementedHere") as message:
        pricing.describe_services()
    assert "it has GetProducts" in message[0]
    with expect_client_error("NotImplementedHere") as message:
        elsewhere = boto3.client(
            "pricing", endpoint_url=server.url, region_name="us-west-2",
            aws_access_key_id="test", aws_secret_access_key="test",
        )  # fmt: skip
        elsewhere.get_products(**SERVICE)
    assert "us-east-1, eu-central-1, ap-south-1" in message[0]


def test_a_role_without_the_permission_is_refused(tmp_path: Path) -> None:
    with run_server(tmp_path / "data", {**FAST, "price_list": "denied"}) as server:
        with expect_client_error("AccessDeniedException") as message:
            server.client("pricing").get_products(**SERVICE)
        assert "pricing:GetProducts" in message[0]


def test_a_table_of_ones_own_is_served_and_a_wrong_one_named(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(
        "publication_date: '2026-01-01T00:00:00Z'\nregions:\n  eu-west-1:\n    location: EU (Ireland)\n"
        "    usage_prefix: EU\n    per_hour: {ml.m5.xlarge: 0.257}\n"
    )
    with run_server(tmp_path / "data", {**FAST, "price_list_file": str(file)}) as server:
        answer = server.client("pricing").get_products(**where(component="Processing"))
        hourly = [each for each in map(json.loads, answer["PriceList"]) if "0.2570000000" in json.dumps(each)]
        assert len(hourly) == 1
    file.write_text("regions: 3\n")
    settings = load_settings(overrides_by_dotted_name={"price_list_file": str(file)})
    with pytest.raises(ServerError, match=r"prices.yaml cannot be read as a table of prices"):
        LocalAws(settings, tmp_path / "other").start()


def test_the_built_in_table_has_no_price_of_zero() -> None:
    table = load_price_table(DEFAULT_FILE)
    assert all(price > 0 for region in table.regions.values() for price in region.per_hour.values())
