"""Prices come from AWS's price list, are kept in S3 for a week, and fall back to the package's table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from batch_inference.aws import price_list
from batch_inference.aws.price_list import FoundPrices, find_prices, keep_prices
from batch_inference.aws.s3 import Storage
from batch_inference.cli.laptop.environment import build_aws_connection, create_s3_client
from batch_inference.common.names import build_prices_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.pricing.costs import load_prices
from tests.integration.local_aws.servers import Server, run_server
from tests.unit.builders import pipeline

REGION = "us-east-1"
NOW = datetime.now(UTC)
TODAY = NOW.date()


@pytest.fixture(scope="module", params=["served", "denied"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An AWS, by its setting price_list."""
    settings = {"price_list": request.param}
    with (
        run_server(tmp_path_factory.mktemp("prices") / "aws", settings) as started,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", build_aws_connection(started.url))
        yield started


@pytest.fixture(autouse=True)
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """No day ends amid the tests."""
    monkeypatch.setattr(price_list, "datetime", SimpleNamespace(now=lambda _: NOW))


@pytest.fixture
def of_run(server: Server, name: str) -> Pipeline:
    """A pipeline with a bucket of its own."""
    create_s3_client(server.url).create_bucket(Bucket=name)
    return pipeline({"work": f"s3://{name}/work/"})


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"prices-{uuid4().hex[:12]}"


def find(config: Pipeline, region: str = REGION, **params: Any) -> FoundPrices:
    storage = Storage(config.aws_conn_id, region)
    found = find_prices(storage, config, RunParams(**params), region)
    keep_prices(storage, config, found)
    return found


served = pytest.mark.parametrize("server", ["served"], indirect=True)
denied = pytest.mark.parametrize("server", ["denied"], indirect=True)


@served
def test_the_list_is_read_once_and_kept_for_later_plans(
    of_run: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = find(of_run)
    assert (first.is_new, first.note) == (True, None)
    assert (first.prices.as_of, first.prices.region) == (TODAY, REGION)
    assert first.prices.compute_cost("ml.c5.xlarge", 3600) == pytest.approx(0.204)
    monkeypatch.setattr(price_list, "fetch_prices", None)
    assert find(of_run) == FoundPrices(prices=first.prices)


@served
def test_prices_older_than_a_week_are_read_anew_and_used_where_aws_does_not_answer(
    of_run: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, storage = find(of_run).prices, Storage(of_run.aws_conn_id, REGION)
    uri = build_prices_uri(work=of_run.work, pipeline=of_run.name, region=REGION)
    week_ago = TODAY - timedelta(days=8)
    storage.write_json(uri, fresh.model_copy(update={"as_of": week_ago}).model_dump(mode="json"))
    with monkeypatch.context() as patch:
        patch.setattr(price_list, "choose_endpoint_region", lambda _: "us-west-2")
        found = find(of_run)
    assert found.prices.as_of == week_ago
    assert found.note is not None
    assert found.note.startswith(
        f"Costs use AWS's price list of us-east-1 as of {week_ago}, as it cannot be read"
    )
    assert find(of_run).prices.as_of == TODAY
    assert storage.read_json(uri)["as_of"] == TODAY.isoformat()


@served
@pytest.mark.parametrize("content", [b"{}", b"\xff", b'{"region": 3}'])
def test_what_cannot_be_read_in_s3_is_replaced(of_run: Pipeline, content: bytes) -> None:
    storage, uri = (
        Storage(of_run.aws_conn_id, REGION),
        build_prices_uri(work=of_run.work, pipeline=of_run.name, region=REGION),
    )
    storage.write(uri, content)
    assert find(of_run).is_new
    assert storage.read_json(uri)["region"] == REGION


@served
def test_a_region_that_is_not_listed_has_the_packages_prices(of_run: Pipeline) -> None:
    found = find(of_run, "eu-west-3")
    assert found.prices == load_prices()
    assert found.note is not None
    assert "it lists no instance of eu-west-3" in found.note


@denied
def test_without_permission_the_table_counts_and_the_plan_says_what_to_allow(of_run: Pipeline) -> None:
    found = find(of_run)
    assert (found.prices, found.is_new) == (load_prices(), False)
    assert found.note == (
        f"Costs use this package's prices of us-east-1 as of {load_prices().as_of}, as AWS's price list cannot be "
        "used: AccessDeniedException, allow pricing:GetProducts to Airflow's role."
    )


@denied
def test_aws_is_not_asked_where_the_pipeline_states_all_prices(of_run: Pipeline) -> None:
    own = of_run.model_copy(update={"prices": {"ml.m5.xlarge": 0.2}})
    assert find(own).note is None
    assert find(own, transform_instance_type="ml.c5.xlarge").note is not None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("no JSON", "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ("{}", "KeyError: 'product'"),
        ('{"product": {"attributes": []}}', "AttributeError: 'list' object has no attribute 'get'"),
        ("[]", "TypeError: list indices must be integers or slices, not str"),
    ],
)
def test_an_answer_of_unknown_form_does_not_fail_a_plan(
    monkeypatch: pytest.MonkeyPatch, answer: str, reason: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", build_aws_connection("http://127.0.0.1:9"))
    monkeypatch.setattr(price_list, "list_products", lambda *_: iter([answer]))
    config = pipeline()
    found = find_prices(Storage(config.aws_conn_id, REGION), config, RunParams(), REGION)
    assert found.prices == load_prices()
    assert found.note is not None
    assert found.note.endswith(f"cannot be used: its answer has an unknown form ({reason}).")


def test_an_aws_without_the_service_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody listens on that port, neither for S3 nor for prices."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", build_aws_connection("http://127.0.0.1:9"))
    config = pipeline({"prices": {}})
    found = find_prices(Storage(config.aws_conn_id, REGION), config, RunParams(), REGION)
    assert found.prices == load_prices()
    assert found.note is not None
    assert "no answer (EndpointConnectionError)" in found.note
