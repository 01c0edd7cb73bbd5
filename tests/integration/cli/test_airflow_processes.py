"""Airflow's processes on a laptop, whose database is SQLite."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from batch_inference.cli.laptop.airflow_processes import COMPONENTS, RestApi, add_sqlite_timeout
from batch_inference.cli.laptop.environment import LaptopError, build_airflow_environment
from tools.checkout import REPO


def test_who_writes_to_the_database_waits_a_minute_for_its_turn_and_the_api_server_three_seconds(
    tmp_path: Path,
) -> None:
    """SQLite itself says how long, in milliseconds."""
    waits = {}
    for component in COMPONENTS:
        url = add_sqlite_timeout(component, f"sqlite:///{tmp_path / 'airflow.db'}")
        with create_engine(url).connect() as connection:
            waits[component] = connection.execute(text("PRAGMA busy_timeout")).scalar()
    assert waits == {"api-server": 3_000, "scheduler": 60_000, "dag-processor": 60_000, "triggerer": 60_000}


def test_another_database_is_left_as_it_is() -> None:
    assert (
        add_sqlite_timeout("scheduler", "postgresql+psycopg2://a:b@host/airflow")
        == "postgresql+psycopg2://a:b@host/airflow"
    )


def test_the_laptops_airflow_does_not_wait_for_the_disk_each_time_it_writes(tmp_path: Path) -> None:
    """1 is NORMAL; sqlite3's default, FULL, is 2. Airflow sets the write-ahead log itself."""
    ask = (
        "from sqlalchemy import text\n"
        "from airflow.settings import engine\n"
        "with engine.connect() as connection:\n"
        "    for pragma in ('synchronous', 'journal_mode'):\n"
        "        print('answer', connection.execute(text(f'PRAGMA {pragma}')).scalar())\n"
    )
    environment = build_airflow_environment(tmp_path, "http://127.0.0.1:1", root=REPO)
    done = subprocess.run(
        [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "answer" in line] == ["answer 1", "answer wal"]


class Answers:
    """In place of urllib: one answer after the other."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.left = list(answers)

    def __call__(self, request: Any, timeout: float) -> Any:
        status, body = self.left.pop(0)
        content = io.BytesIO(json.dumps(body).encode())
        if status >= 400:
            raise urllib.error.HTTPError(request.full_url, status, "no", {}, content)  # type: ignore[arg-type]
        return content


LOCKED = (500, {"detail": {"reason": "Database error", "statement": "hidden"}})
LOCKED_TO_BACKFILLS = (503, {"detail": "Database is locked. Backfill creation is not supported on SQLite"})


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([LOCKED, LOCKED, (200, {"dag_run_id": "x"})], {"dag_run_id": "x"}),
        ([(500, {"detail": "Internal"})], LaptopError),
        ([(409, {"detail": "there is one"})], LaptopError),
        ([(500, "Internal Server Error"), (200, {"dag_run_id": "x"})], {"dag_run_id": "x"}),
        ([LOCKED_TO_BACKFILLS, (200, {"id": 1})], {"id": 1}),
        ([LOCKED] * 8, LaptopError),
    ],
)
def test_a_call_is_repeated_while_the_database_is_locked_and_in_no_other_case(
    monkeypatch: pytest.MonkeyPatch, answers: list[Any], outcome: Any
) -> None:
    sent = Answers(*answers)
    monkeypatch.setattr("urllib.request.urlopen", sent)
    monkeypatch.setattr("time.sleep", lambda _: None)
    api = RestApi("http://127.0.0.1:1")
    monkeypatch.setitem(api.__dict__, "bearer_token", "token")
    if outcome is LaptopError:
        with pytest.raises(LaptopError):
            api.call("POST", "/dags/x/dagRuns", {})
    else:
        assert api.call("POST", "/dags/x/dagRuns", {}) == outcome
    assert sent.left == []
