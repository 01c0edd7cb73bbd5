"""`batch-inference plan`: what a run would do and cost, from a terminal. AWS is only read, and no job is started."""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import click

from batch_inference.cli.aws.upload import parse_date
from batch_inference.cli.laptop.environment import build_aws_connection
from batch_inference.cli.laptop.run import parse_conf
from batch_inference.cli.project import find_project
from batch_inference.common.errors import BatchInferenceError
from batch_inference.common.formatting import format_dollars, format_duration, join_words
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams, keep_overrides, read_params
from batch_inference.planning.clusters.cluster_choice import ClusterDecision
from batch_inference.planning.clusters.type_comparison import TypeTable, build_type_table
from batch_inference.planning.plan import Plan
from batch_inference.reporting.text import render_plan, wrap
from batch_inference.requests.sagemaker import Request

#: Marks the types that the plan has chosen.
CHOSEN = "*"
#: An Airflow connection to AWS without settings: boto3's own chain of credentials and region.
DEFAULT_CHAIN = "aws://"


@contextmanager
def use_airflow_without_database(conn_id: str, endpoint_url: str | None) -> Iterator[None]:
    """Let Airflow's hooks find the connection in the environment, so that they need no database.

    `endpoint_url` is of the embedded AWS. Without it, AIRFLOW_CONN_<ID> counts, else boto3's chain.
    """
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="airflow-") as home:
        # Airflow writes a configuration where it has none.
        os.environ.setdefault("AIRFLOW_HOME", home)
        os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")
        os.environ.setdefault(variable, DEFAULT_CHAIN)
        if endpoint_url is not None:
            os.environ[variable] = build_aws_connection(endpoint_url)
        try:
            # Airflow's loggers write to stdout, which is the command's.
            with redirect_stdout(sys.stderr):
                yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def plan_dry_run(
    pipeline: Pipeline,
    folder: Path,
    params: RunParams,
    data_time: datetime,
    on_decision: Callable[[ClusterDecision], object],
) -> tuple[Plan, dict[str, Request]]:
    """The plan of a run now, and its requests by stage.

    `folder` has the pipeline's file and functions. `on_decision`: see `make_plan`. Raises: as the task `plan` does.
    """
    from batch_inference.aws.price_list import find_prices
    from batch_inference.aws.s3 import Storage
    from batch_inference.dag.tasks.plan import (
        build_run_info,
        compare_with_published,
        digest_code,
        look_at_setup,
        prepare_run,
        read_code,
    )

    storage = Storage(pipeline.aws_conn_id, pipeline.region)
    run_id = f"manual__{datetime.now(UTC).isoformat()}"
    run = build_run_info(pipeline, params, data_time, run_id, storage.region)
    code = read_code(pipeline, folder)
    setup = look_at_setup(storage, pipeline, params, run)
    with tempfile.TemporaryDirectory(prefix="plan-") as local:
        plan, requests = prepare_run(
            storage, pipeline, params, run, setup, find_prices(storage, pipeline, params, storage.region),
            dag_id=pipeline.name, manifest=Path(local) / "manifest", listing=Path(local) / "listing",
            on_decision=on_decision,
        )  # fmt: skip
    plan = plan.model_copy(update={"code_digest": digest_code(code)})
    plan = compare_with_published(storage, pipeline, params, plan)
    return plan, requests


def render_types(types: TypeTable, *, chosen: str = "the plan's choice") -> list[str]:
    """The table of instance types, with columns for deadline and budget only where the run has them.

    `chosen` says what the marked types are.
    """
    rows = types.rows
    has_deadline = any(row.in_time is not None for row in rows)
    has_budget = any(row.in_budget is not None for row in rows)
    header = ("", "stage", "instances", "run takes", "at most", "cost")
    table = [(*header, *["in time"] * has_deadline, *["in budget"] * has_budget)]
    for row in rows:
        cells = [
            CHOSEN if row.is_chosen else "", row.stage, f"{row.instance_count} × {row.instance_type}",
            format_duration(row.seconds), format_duration(row.seconds_high),
            "unknown" if row.dollars is None else format_dollars(row.dollars),
        ]  # fmt: skip
        cells += [f"{row.in_time} {math.floor((row.probability or 0) * 100 + 1e-9)}%"] * has_deadline
        cells += [{True: "yes", False: "no", None: "unknown"}[row.in_budget]] * has_budget
        table.append(tuple(cells))
    table += [
        ("", stage, instance_type, "the account's quota is too low")
        for stage, instance_type in types.excluded
    ]
    widths = [max(len(line[at]) for line in table if at < len(header)) for at in range(3)]
    widths += [max(len(line[at]) for line in table if len(line) > 4) for at in range(3, len(table[0]))]
    # The columns of times and dollars are aligned to the right.
    lines = [
        " ".join(
            cell.rjust(width) if 3 <= at <= 5 and len(line) > 4 else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=False))
        ).rstrip()
        for line in table
    ]
    keys = join_words([f"{stage}.instance_types" for stage in dict.fromkeys(row.stage for row in rows)])
    notes = [
        f"{CHOSEN} is {chosen}. Times and cost are of the whole run; the other stages have the marked types.",
        f"To compare more types, add them to {keys} in the pipeline file.",
    ]
    if any(row.in_time == "maybe" for row in rows):
        notes.append("maybe: in time as expected, but less likely than goals.confidence asks for.")
    if any(row.dollars is None for row in rows):
        notes.append("For an unknown cost, state the dollars per hour of the type under prices in the file.")
    return [*lines, "", *wrap(" ".join(notes))]


@click.command()
@click.argument("pipeline_id", metavar="[PIPELINE]", required=False)
@click.option("--conf", metavar="JSON", default="", help="params of the run, as in the trigger form")
@click.option("--input", "input_uri", metavar="URI", help="S3 prefix to score; default: the pipeline's")
@click.option("--date", "date", metavar="YYYY-MM-DD", help="what {date} of URIs is; default: today in UTC")
@click.option(
    "--requests",
    "prints_requests",
    is_flag=True,
    help="print only the requests, as in plan.json",
)
@click.option(
    "--endpoint-url", metavar="URL", help="of the embedded AWS; default: AWS, by AIRFLOW_CONN_… or boto3"
)
def command(
    pipeline_id: str | None,
    conf: str,
    input_uri: str | None,
    date: str | None,
    prints_requests: bool,
    endpoint_url: str | None,
) -> None:
    """Plan a run of PIPELINE against AWS: checks, estimate, sizes, and the instance types that it may use.

    Nothing is written to S3 and no job is started. AWS is reached by the environment variable AIRFLOW_CONN_<ID> of the
    pipeline's aws_conn_id, else by boto3's own chain of credentials; Airflow's database is not used.

    \b
    batch-inference plan churn
    batch-inference plan churn --date 2026-01-31 --conf '{"deadline": "45", "prefer": "cost"}'
    batch-inference plan churn --requests | jq .transform
    """
    project = find_project()
    pipeline = project.load_pipeline(pipeline_id)
    values = parse_conf(pipeline, conf)
    if input_uri is not None:
        values = parse_conf(pipeline, json.dumps({**values, "input_uri": input_uri}))
    if values.get("publish_run"):
        raise click.UsageError(
            "--conf: found publish_run, which publishes a run that was planned before; leave it out"
        )
    params, data_time = keep_overrides(read_params(values), pipeline), parse_date(date)
    click.echo(f"Planning {pipeline.name}: AWS is only read", err=True)
    decisions: list[ClusterDecision] = []
    try:
        with use_airflow_without_database(pipeline.aws_conn_id, endpoint_url):
            plan, requests = plan_dry_run(
                pipeline, project.pipelines_folder, params, data_time, decisions.append
            )
    except BatchInferenceError:
        if not prints_requests and decisions and not decisions[-1].meets_goals:
            click.echo("\n".join(_compare_types(pipeline, params, decisions[-1])) + "\n")
        raise
    if prints_requests:
        click.echo(json.dumps(requests, indent=2, ensure_ascii=False))
        return
    click.echo("\n".join(render_plan(plan)))
    if decisions:
        click.echo("\n" + "\n".join(_compare_types(pipeline, params, decisions[-1])))


def _compare_types(pipeline: Pipeline, params: RunParams, decision: ClusterDecision) -> list[str]:
    """The table of the types that a run may use."""
    types = build_type_table(decision, pipeline, params)
    if decision.meets_goals:
        return render_types(types)
    return render_types(types, chosen="nearest to what is asked for, and no run starts with it")
