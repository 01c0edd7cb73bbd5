"""`batch-inference costs`: what the pipelines of the project cost in a month, as the page of costs shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

import click

from batch_inference.cli.aws.plan import use_airflow_without_database
from batch_inference.cli.project import find_project
from batch_inference.common.formatting import format_dollars, format_share
from batch_inference.common.names import CostPaths, build_runs_prefix
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.pipeline_files import list_pipeline_ids
from batch_inference.pricing.run_costs import CostSums, read_days
from batch_inference.reporting.cost_overview import (
    CostOverview,
    CostRow,
    PipelineCosts,
    build_overview,
    list_months,
    render_csv,
)


def parse_month(ctx: click.Context, param: click.Parameter, value: str | None) -> str:  # noqa: ARG001 - click's signature
    """A callback of click for a month; the current one in UTC without it."""
    if value is None:
        return f"{datetime.now(UTC):%Y-%m}"
    if not re.fullmatch(r"[1-9]\d{3}-(0[1-9]|1[0-2])", value):
        raise click.UsageError(f"found --month {value!r}; allowed is a month such as 2026-11")
    return value


@click.command()
@click.argument("pipeline_id", metavar="[PIPELINE]", required=False)
@click.option(
    "--month", metavar="YYYY-MM", callback=parse_month, help="default: the current one, by days of UTC"
)
@click.option("--rebuild", is_flag=True, help="first count the month again from the records of its runs")
@click.option("--csv", "prints_csv", is_flag=True, help="print a row for each pipeline and day")
@click.option(
    "--endpoint-url", metavar="URL", help="of the embedded AWS; default: AWS, by AIRFLOW_CONN_… or boto3"
)
def command(
    pipeline_id: str | None, month: str, rebuild: bool, prints_csv: bool, endpoint_url: str | None
) -> None:
    """Print what the pipelines of the project, or PIPELINE, cost in a month: every job that was billed.

    Reads the sums that runs store below the pipelines' work prefix; see *Costs* in the documentation. AWS is reached as
    by `batch-inference plan`.

    \b
    batch-inference costs
    batch-inference costs churn --month 2026-11 --rebuild
    batch-inference costs --csv > costs.csv
    """
    project = find_project()
    ids = [pipeline_id] if pipeline_id is not None else list_pipeline_ids(project.pipelines_folder)
    pipelines = [project.load_pipeline(each) for each in ids]
    with ExitStack() as connections:
        for conn_id in {pipeline.aws_conn_id for pipeline in pipelines}:
            connections.enter_context(use_airflow_without_database(conn_id, endpoint_url))
        costs = [load_costs(pipeline, month, rebuild=rebuild) for pipeline in pipelines]
    if prints_csv:
        click.echo(render_csv(costs, month), nl=False)
        return
    click.echo("\n".join(render_costs(build_overview(costs, month, now=datetime.now(UTC)))))


def load_costs(pipeline: Pipeline, month: str, *, rebuild: bool) -> PipelineCosts:
    """The costs of a pipeline in a month and the months before it that a forecast needs."""
    from batch_inference.aws.s3 import Storage
    from batch_inference.publishing.cost_records import rebuild_month

    storage = Storage(pipeline.aws_conn_id, pipeline.region)
    paths = CostPaths(build_runs_prefix(work=pipeline.work, pipeline=pipeline.name))
    if rebuild:
        rebuild_month(storage, paths, pipeline.name, month)
    stored = {name: storage.read_json_with_etag(paths.build_month_uri(name)) for name in list_months(month)}
    found = {name: read_days(each[0]) for name, each in stored.items() if each is not None}
    return PipelineCosts(
        dag_id=pipeline.name,
        team=pipeline.name.rpartition(".")[0],
        days={name: days for name, (days, _) in found.items()},
        scheduled={name: scheduled for name, (_, scheduled) in found.items()},
    )


def render_costs(overview: CostOverview) -> list[str]:
    """The tables of pipelines, teams and tags, and what no sum contains. No forecast: Airflow knows the next runs."""
    if not overview.pipelines:
        return [f"No run had a job in {overview.month}, or none is counted: see --rebuild."]
    rows = [CostRow(row.dag_id, row.sums) for row in overview.pipelines]
    lines = _render_table("pipeline", [*rows, CostRow("all", overview.total)], overview.unit_records)
    for heading, group in {"team": overview.by_team, **overview.by_tag}.items():
        if len(group) > 1:
            lines += ["", *_render_table(heading, group, overview.unit_records)]
    return lines if overview.unpriced is None else [*lines, "", overview.unpriced]


def _render_table(heading: str, rows: Iterable[CostRow], unit_records: int) -> list[str]:
    table: list[tuple[str, ...]] = [
        (heading, "cost", "failed or held", "runs", "records", f"per {unit_records:,}", "idle")
    ]
    table += [(row.name, *_render_cells(row.sums, unit_records)) for row in rows]
    widths = [max(len(line[at]) for line in table) for at in range(len(table[0]))]
    return [
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    ]


def _render_cells(sums: CostSums, unit_records: int) -> Sequence[str]:
    unit, over = sums.dollars_per_1000_records, "over " if sums.unpriced_seconds else ""
    return (
        f"{over}{format_dollars(sums.dollars)}",
        format_dollars(sums.unpublished_dollars) if sums.unpublished_runs else "–",
        f"{sums.runs:,}",
        f"{sums.records:,}",
        "–" if unit is None else f"{over}{format_dollars(unit * unit_records / 1000)}",
        "–" if sums.idle_share is None else format_share(sums.idle_share),
    )
