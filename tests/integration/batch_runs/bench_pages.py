"""The lists and the page of costs with 50 pipelines of five teams and 1,000 runs each: `make bench-pages`.

For each database (SQLite, PostgreSQL) and page: the median and the longest of ten answers of the app, without a network
to the browser, and the number of queries, which must not depend on the number of pipelines. The goal is CPU time of the
api-server, which equals wall time on an idle machine; the costs come from the embedded AWS, a process beside it, whose
time is not the page's. Costs are measured as the first answer of an api-server (`cold`, everything read), after a pause
(`stale`, S3 is asked what has changed) and again (`fresh`). PostgreSQL needs Debian's package, and those of the image.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from batch_inference.cli.laptop.environment import build_aws_connection, run_embedded_aws

TEAMS = ("growth", "logistics", "marketing", "pricing", "risk")
ANSWERS = 10
GOAL_SECONDS = 1.0


def main() -> int:
    """Measure on each database in a process of its own, as Airflow reads its settings at its import."""
    parser = argparse.ArgumentParser(
        description="The lists of the Batch inference pages with many pipelines."
    )
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--pipelines", type=int, default=50)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return measure(options.pipelines, options.runs)
    failed = 0
    for database in options.databases:
        print(f"{database}: {options.pipelines} pipelines with {options.runs:,} runs each", flush=True)  # noqa: T201 - a measurement is for the terminal
        with (
            tempfile.TemporaryDirectory() as home,
            run_embedded_aws(Path(home) / "aws") as endpoint,
            prepare(database, Path(home)) as (python, environment),
        ):
            environment["AIRFLOW_CONN_AWS_TEST"] = build_aws_connection(endpoint)
            command = [python, "-m", "airflow", "db", "migrate"]
            subprocess.run(command, check=True, env=environment, capture_output=True)
            sizes = ["--pipelines", str(options.pipelines), "--runs", str(options.runs)]
            command = [python, "-m", "tests.integration.batch_runs.bench_pages", "--inside", *sizes]
            failed += subprocess.run(command, check=False, env=environment).returncode
    return failed


@contextlib.contextmanager
def prepare(database: str, home: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The Python for Airflow, and its environment with this database."""
    from tests.conftest import build_airflow_environment
    from tests.on_postgres import use_postgres

    environment = {
        **os.environ,
        **build_airflow_environment(home),
        "AIRFLOW__CORE__AUTH_MANAGER": "tests.integration.batch_runs.auth.OpenDagsForViewers",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of this benchmark " * 4,
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    if database == "sqlite":
        yield sys.executable, environment
    else:
        with use_postgres(environment) as python:
            yield python, environment


def measure(pipelines: int, runs: int) -> int:
    """Print what the pages take; 1 if one takes longer than the goal, or asks more often with more pipelines."""
    from airflow import settings
    from sqlalchemy import event

    dag_ids = [f"{TEAMS[number % len(TEAMS)]}.model_{number:02d}" for number in range(pipelines)]
    client = open_client()
    queries: list[str] = []
    event.listen(settings.engine, "before_cursor_execute", lambda *given: queries.append(given[2]))
    # One pipeline first, whose queries are counted.
    fill(dag_ids[:1], runs)
    client.get("./")
    queries.clear()
    client.get("./")
    alone = len(queries)
    fill(dag_ids[1:], runs)
    failed = False

    def answer_often(name: str, page: str, prepare: Callable[[], None] = lambda: None) -> None:
        """Ask for the page, each time after `prepare`, and print what that took."""
        nonlocal failed
        prepare()
        client.get(page)
        taken, used = [], 0.0
        for _ in range(ANSWERS):
            prepare()
            queries.clear()
            begun, cpu_begun = time.perf_counter(), time.process_time()
            answer = client.get(page)
            taken.append(time.perf_counter() - begun)
            used += time.process_time() - cpu_begun
            assert answer.status_code == 200, answer.text
        cpu = used / ANSWERS
        print(  # noqa: T201 - a measurement is for the terminal
            f"  {name:38} median {statistics.median(taken):.2f} s, most {max(taken):.2f} s, CPU {cpu:.2f} s, "
            f"{len(queries)} queries{f' (with one pipeline {alone})' if page == './' else ''}, "
            f"{len(answer.content) / 1000:,.0f} kB",
            flush=True,
        )
        failed |= cpu > GOAL_SECONDS or (page == "./" and len(queries) != alone)

    for page in ("./", f"runs?dag_id={dag_ids[0]}", f"runs?dag_id={dag_ids[0]}&page=20"):
        answer_often(page, page)
    add_months(dag_ids, runs)
    for name, prepare in (("cold", forget_all), ("stale", age_documents), ("fresh", lambda: None)):
        answer_often(f"costs, {name}", "costs", prepare)
    return int(failed)


def add_months(dag_ids: list[str], runs: int) -> None:
    """Store what the runs of the last 90 days, until now, have cost."""
    from batch_inference.aws.s3 import Storage
    from tests.integration.batch_runs.cost_months import add_costs

    storage, nights = Storage("aws_test"), 90
    storage.client.create_bucket(Bucket="bucket")
    for number, dag_id in enumerate(dag_ids):
        tags = {"centre": str(number % 7)}
        add_costs(
            storage, dag_id, datetime.now(UTC), tags=tags, nights=nights, per_day=max(1, runs // nights)
        )


def forget_all() -> None:
    """Make the next answer one of an api-server that has just started."""
    from batch_runs import costs

    costs._documents.clear()
    costs._places.clear()
    costs._open_client.cache_clear()


def age_documents() -> None:
    """Make each document one that S3 is asked for again."""
    from batch_runs import costs

    for uri, document in costs._documents.items():
        costs._documents[uri] = dataclasses.replace(document, read_at=document.read_at - costs.FRESH_SECONDS)


def open_client() -> Any:
    """A client of the pages, logged in as an administrator."""
    from airflow.api_fastapi import app as airflow_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from batch_runs.mount import serve_pages

    manager = airflow_app.create_auth_manager()
    manager.init()
    token = str(manager.generate_jwt(SimpleAuthManagerUser(username="somebody", role="admin")))
    host = FastAPI()
    host.mount("/batch-inference", serve_pages)
    return TestClient(host, base_url="http://testserver/batch-inference/", cookies={"_token": token})


def fill(dag_ids: list[str], runs: int) -> None:
    """Pipelines of which every tenth run failed and every seventh had an unchanged input; the last run goes on."""
    from batch_inference.run.failures import Failure
    from batch_inference.run.outcomes import RunOutcome
    from tests.integration.batch_runs.database import Database
    from tests.unit.builders import plan

    database = Database()
    deadline = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    planned = {**plan([20_000_000] * 2).to_xcom(), "deadline": deadline}
    ended = [f"scheduled__{number:05d}" for number in range(runs - 1)]
    records: dict[str, int | None] = {"in": 100_000, "rejected": 20, "scored": 99_980}
    outcomes = {
        "published": RunOutcome(kind="published", headline="Published.", records=records, dollars=1.25,
            seconds=900.0, billed_seconds=3600.0, expected_seconds=880.0, expected_dollars=1.2),
        "unchanged": RunOutcome(kind="unchanged", headline="Unchanged.", dollars=0.0),
        "failed": RunOutcome(kind="failed", headline="The model raised KeyError: 'age'.", failed_task="transform",
            advice="Fix the code of the model, then clear transform.", dollars=0.5, expected_seconds=880.0),
    }  # fmt: skip
    kinds = {
        run_id: "failed" if number % 10 == 9 else "unchanged" if number % 7 == 6 else "published"
        for number, run_id in enumerate(ended)
    }
    for dag_id in dag_ids:
        database.add_dag(dag_id)
        failed = {run_id: "failed" for run_id, kind in kinds.items() if kind == "failed"}
        database.add_runs(dag_id, ended, states=failed)
        for state in ("success", "failed"):
            chosen = [run_id for run_id in ended if (run_id in failed) is (state == "failed")]
            database.add_instances(dag_id, chosen, {"plan": "success", "transform": state, "clean_up": state})
        database.push_xcoms(
            dag_id,
            "clean_up",
            {run_id: outcomes[kind].to_xcom() for run_id, kind in kinds.items()},
            key="outcome",
        )
        database.push_xcoms(dag_id, "plan", dict.fromkeys(ended[-100:], planned))
        database.add_runs(dag_id, ["scheduled__active"], state="running")
        database.add_instances(
            dag_id, ["scheduled__active"], {"plan": "success", "transform": "up_for_retry"}
        )
        database.push_xcom(dag_id, "scheduled__active", "plan", planned)
        failure = Failure(
            task_id="transform", try_number=1, at=0.0, error="E", headline="Lost.", message="Lost."
        )
        database.push_xcom(dag_id, "scheduled__active", "transform", failure.to_xcom(), key="failure")


if __name__ == "__main__":
    sys.exit(main())
