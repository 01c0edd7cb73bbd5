"""`batch-inference prices`: AWS's price list of a region as a table, in the form of this package's own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from batch_inference.cli.aws.plan import use_airflow_without_database
from batch_inference.common.errors import PriceListError
from batch_inference.pricing.costs import load_prices
from batch_inference.pricing.price_list import render_price_table

DEFAULT_CONNECTION = "aws_default"


@click.command()
@click.option("--region", metavar="REGION", help="region of the jobs; default: that of this package's table")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="file to write; default: print"
)
@click.option("--conn-id", default=DEFAULT_CONNECTION, show_default=True, help="Airflow connection to AWS")
@click.option(
    "--endpoint-url", metavar="URL", help="of the embedded AWS; default: AWS, by AIRFLOW_CONN_… or boto3"
)
def command(region: str | None, output: Path | None, conn_id: str, endpoint_url: str | None) -> None:
    """Read AWS's price list of SageMaker's instances and print it as a table, with source and date.

    The role needs pricing:GetProducts. A run needs no such table: `plan` reads the price list itself.

    \b
    batch-inference prices --region eu-west-1
    batch-inference prices --output include/batch_inference/pricing/prices.yaml
    """
    from batch_inference.aws.price_list import PRICE_LIST_ERRORS, explain_failure, fetch_prices

    region = region or load_prices().region
    try:
        with use_airflow_without_database(conn_id, endpoint_url):
            prices = fetch_prices(conn_id, region, datetime.now(UTC).date())
    except PRICE_LIST_ERRORS as error:
        raise PriceListError(
            f"AWS's price list of {region} cannot be read: {explain_failure(error)}"
        ) from error
    if not prices.per_hour:
        raise PriceListError(
            f"AWS's price list has no instance of {region!r}; give a region such as eu-west-1 with --region"
        )
    table = render_price_table(prices)
    if output is None:
        click.echo(table, nl=False)
        return
    output.write_text(table, encoding="utf-8")
    click.echo(f"{output}: {len(prices.per_hour)} instance types of {region}", err=True)
