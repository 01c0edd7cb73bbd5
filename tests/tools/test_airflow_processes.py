"""Airflow's processes on a laptop, whose database is SQLite."""

from __future__ import annotations

import io
import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tools.airflow_processes import COMPONENTS, RestApi, database_for
from tools.laptop import LaptopError


def test_who_writes_to_the_database_waits_a_minute_for_its_turn_and_the_api_server_three_seconds(
    tmp_path: Path,
) -> None:
    """SQLite itself says how long, in milliseconds."""
    waits = {}
    for component in COMPONENTS:
        url = database_for(component, f"sqlite:///{tmp_path / 'airflow.db'}")
        with create_engine(url).connect() as connection:
            waits[component] = connection.execute(text("PRAGMA busy_timeout")).scalar()
    assert waits == {"api-server": 3_000, "scheduler": 60_000, "dag-processor": 60_000, "triggerer": 60_000}


def test_another_database_is_left_as_it_is() -> None:
    assert (
        database_for("scheduler", "postgresql+psycopg2://a:b@host/airflow")
        == "postgresql+psycopg2://a:b@host/airflow"
    )


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


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([LOCKED, LOCKED, (200, {"dag_run_id": "x"})], {"dag_run_id": "x"}),
        ([(500, {"detail": "Internal"})], LaptopError),
        ([(409, {"detail": "there is one"})], LaptopError),
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
    monkeypatch.setitem(api.__dict__, "bearer", "token")
    if outcome is LaptopError:
        with pytest.raises(LaptopError):
            api.call("POST", "/dags/x/dagRuns", {})
    else:
        assert api.call("POST", "/dags/x/dagRuns", {}) == outcome
    assert sent.left == []
