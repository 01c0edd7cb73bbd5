"""`batch-inference prices` writes AWS's price list as a table that the package can read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_inference.cli.main import main
from batch_inference.config.yaml_loader import load_yaml_model
from batch_inference.pricing.costs import Prices
from tests.integration.local_aws.servers import Server, run_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An AWS with prices of us-east-1."""
    with run_server(tmp_path_factory.mktemp("prices") / "aws", {}) as started:
        yield started


def test_the_list_is_printed_or_written_with_its_day_and_source(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, printed = tmp_path / "prices.yaml", tmp_path / "printed.yaml"
    assert main(["prices", "--endpoint-url", server.url, "--output", str(file)]) == 0
    captured = capsys.readouterr()
    assert (captured.out, "instance types of us-east-1" in captured.err) == ("", True)
    prices = load_yaml_model(file, Prices)
    assert prices.is_price_list
    assert prices.compute_cost("ml.m6i.xlarge", 3600) == pytest.approx(0.23)
    assert main(["prices", "--endpoint-url", server.url]) == 0
    printed.write_text(capsys.readouterr().out)
    assert load_yaml_model(printed, Prices) == prices


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--region", "eu-west-9"], "has no instance of 'eu-west-9'; give a region such as eu-west-1"),
        (["--endpoint-url", "http://127.0.0.1:9"], "cannot be read: no answer (EndpointConnectionError)"),
    ],
)
def test_a_list_that_cannot_be_had_is_one_line(
    server: Server, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prices", "--endpoint-url", server.url, *arguments]) == 1
    assert said in " ".join(capsys.readouterr().err.split())
