"""A pool limits jobs only if it is there and counts tasks that wait deferred; `plan` looks before anything is spent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from batch_inference.common.errors import PoolError
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag import planned_jobs
from batch_inference.dag.pools import check_pool
from tests.unit.builders import pipeline

POOLS = {
    "good": {"name": "good", "slots": 4, "include_deferred": True},
    "endless": {"name": "endless", "slots": -1, "include_deferred": True},
    "open": {"name": "open", "slots": 7, "include_deferred": False},
    "none": {"name": "none", "slots": 0, "include_deferred": True},
}
TOKEN, USER = "the-token", {"username": "reader", "password": "secret"}


class Api(BaseHTTPRequestHandler):
    """As much of Airflow's REST API as looking at a pool takes; `seen` holds what came without its answer."""

    seen: list[tuple[str, str, str | None]] = []  # noqa: RUF012 - shared on purpose: one handler for each request
    anybody = False

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._note()
        self._answer(*((201, {"access_token": TOKEN}) if body == USER else (401, {})))

    def do_GET(self) -> None:
        self._note()
        if self.path == "/auth/token":
            self._answer(*((201, {"access_token": TOKEN}) if self.anybody else (403, {})))
            return
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401 if "Basic" not in str(self.headers["Authorization"]) else 500, {})
            return
        found = POOLS.get(unquote(self.path.removeprefix("/api/v2/pools/")))
        self._answer(*((200, found) if found else (404, {"detail": "not found"})))

    def _note(self) -> None:
        self.seen.append((self.command, self.path, self.headers["Authorization"]))

    def _answer(self, status: int, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Tests read no access log."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Host and port of the API."""
    server = HTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def connections(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection for each way to say who one is."""
    Api.seen.clear()
    monkeypatch.setattr(Api, "anybody", False)
    for name, who in (
        ("api", "reader:secret@"),
        ("wrong", "reader:guess@"),
        ("token", f":{TOKEN}@"),
        ("old", ":expired@"),
        ("nobody", ""),
    ):
        monkeypatch.setenv(f"AIRFLOW_CONN_AIRFLOW_{name}".upper(), f"http://{who}{address}")


def pooled(name: str, conn_id: str | None = "airflow_api") -> Pipeline:
    """A pipeline with this pool."""
    return pipeline({"pool": {"name": name, "conn_id": conn_id}})


@pytest.mark.parametrize("name", ["good", "endless"])
def test_a_pool_that_counts_deferred_tasks_is_right(name: str) -> None:
    """User and password are shown where a token is given, and nowhere else."""
    check_pool(pooled(name))
    assert Api.seen == [
        ("POST", "/auth/token", None),
        ("GET", f"/api/v2/pools/{name}", f"Bearer {TOKEN}"),
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "missing",
            r"no pool 'missing', .* airflow pools set missing 4 \"SageMaker jobs\" --include-deferred",
        ),
        (
            "open",
            r"'open' does not count deferred .* airflow pools set open 7 \"SageMaker jobs\" --include-deferred",
        ),
        ("none", r"'none' has no slots"),
    ],
)
def test_any_other_is_refused_with_the_command_that_mends_it(name: str, said: str) -> None:
    """Airflow itself says nothing: tasks of a missing pool wait for ever, and others run without a limit."""
    with pytest.raises(PoolError, match=said):
        check_pool(pooled(name))


def test_without_a_pool_nobody_is_asked() -> None:
    """Nor where the pipeline says that nobody shall look."""
    check_pool(pipeline())
    check_pool(pooled("missing", conn_id=None))
    assert Api.seen == []


def test_who_looks_may_be_told_by_a_token_or_need_not_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection with a password alone; and none at all where Airflow takes everybody for an admin."""
    check_pool(pooled("good", "airflow_token"))
    assert [path for _, path, _ in Api.seen] == ["/api/v2/pools/good"]
    monkeypatch.setattr(Api, "anybody", True)
    check_pool(pooled("good", "airflow_nobody"))


@pytest.mark.parametrize(
    ("conn_id", "said"),
    [
        ("airflow_wrong", "gives the user of connection 'airflow_wrong' no token: 401"),
        ("airflow_old", "the user of connection 'airflow_old' may not read pools: 401"),
        ("airflow_nobody", "gives the user of connection 'airflow_nobody' no token: 403"),
        (
            "airflow_absent",
            "no Airflow connection 'airflow_absent'. .* airflow connections add airflow_absent",
        ),
    ],
)
def test_a_pool_that_cannot_be_looked_at_is_refused(conn_id: str, said: str) -> None:
    """Not knowing is no limit; the password is in no message."""
    with pytest.raises(PoolError, match=said) as raised:
        check_pool(pooled("good", conn_id))
    assert "guess" not in str(raised.value)


def test_waiting_goes_before_submitting() -> None:
    """In the same pool; by Airflow's own rule the one that comes first in the chain would weigh more."""
    submits, waits = (planned_jobs.build_pool_args(pooled("good"), waits=waits) for waits in (False, True))
    assert submits["pool"] == waits["pool"] == "good"
    assert submits["weight_rule"] == waits["weight_rule"] == "absolute"
    assert waits["priority_weight"] > submits["priority_weight"]
    assert (
        planned_jobs.build_pool_args(pipeline(), waits=False)
        == planned_jobs.build_pool_args(pipeline(), waits=True)
        == {}
    )
