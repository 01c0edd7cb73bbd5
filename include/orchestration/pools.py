"""A limit on jobs that run at once, over all DAGs: a pool of Airflow's that counts tasks which wait deferred.

Submitting and waiting tasks share the pool. One that waits goes before one that submits, or the jobs of a burst of runs
would all be started, one after the other, before anybody waits for the first. A slot is free for a moment between the
two, and between two tries of the waiting task, so at worst twice as many jobs run as there are slots.

A task cannot ask for a pool through the task SDK, and has no database; what is left is Airflow's public REST API.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from include.scoring.config import Pipeline
from include.scoring.errors import PoolError

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30


def submitting(pipeline: Pipeline) -> dict[str, Any]:
    """Arguments of a task that submits a job of this pipeline."""
    return _arguments(pipeline, priority_weight=1)


def waiting(pipeline: Pipeline) -> dict[str, Any]:
    """Arguments of a task that waits for a job of this pipeline."""
    return _arguments(pipeline, priority_weight=10)


def check_pool(pipeline: Pipeline) -> None:
    """Return when the pipeline's pool limits its jobs, or it has none.

    Raises:
        PoolError: there is no such pool, in which case its tasks would wait for ever; it limits nothing, or lets
            nothing run; or it cannot be looked at.
    """
    section = pipeline.pool
    if section is None:
        return
    if section.conn_id is None:
        log.warning("nobody looked whether the pool %r exists and counts deferred tasks", section.name)
        return
    judge(section.name, found_pool(section.name, section.conn_id))


def judge(name: str, found: Any) -> None:
    """Raise PoolError unless `found`, the REST API's answer (None: there is none), is a pool that limits jobs."""
    if found is None:
        raise PoolError(
            f"pool: there is no pool {name!r}, and its tasks would wait for ever; {_make(name, 4)}, with as many slots "
            f"as jobs may run at once"
        )
    slots = int(found["slots"])
    if not found["include_deferred"]:
        raise PoolError(
            f"pool: {name!r} does not count deferred tasks, and waiting for a job is deferred, so it limits nothing; "
            f"{_make(name, slots)}"
        )
    if slots == 0:
        raise PoolError(f"pool: {name!r} has no slots, and its tasks would wait for ever; {_make(name, 4)}")
    log.info("the pool %r lets %s jobs run at once", name, slots if slots > 0 else "any number of")


def found_pool(name: str, conn_id: str) -> Any:
    """The pool as the REST API describes it, or None where there is none.

    Raises:
        PoolError: there is no such connection, or its user may not look at pools.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise PoolError(
            f"pool: {name!r} cannot be looked at, as there is no Airflow connection {conn_id!r}. Make one of type http "
            f"to this Airflow's own address, whose user may read pools: airflow connections add {conn_id} --conn-uri "
            f"http://user:password@host:8080. Or write pool.conn_id: null, and see to the pool yourself"
        ) from error
    token = bearer_token(connection, conn_id)
    headers = {"Authorization": f"Bearer {token}"}
    answer = _call("GET", conn_id, f"/api/v2/pools/{quote(name, safe='')}", headers=headers)
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return None
    _refuse_unless_ok(answer, f"pool: the user of connection {conn_id!r} may not look at pools")
    return answer.json()


def bearer_token(connection: Connection, conn_id: str) -> str:
    """A token for the REST API: for the connection's user; its password where it has no login; or anybody's, on a
    laptop whose Airflow asks nobody who they are.

    Raises:
        PoolError: user and password are refused.
    """
    if connection.login:
        user = {"username": connection.login, "password": connection.password}
        answer = _call("POST", conn_id, "/auth/token", json=user)
    elif connection.password:
        return str(connection.password)
    else:
        answer = _call("GET", conn_id, "/auth/token")
    _refuse_unless_ok(answer, f"pool: Airflow gives the user of connection {conn_id!r} no token")
    return str(answer.json()["access_token"])


def _call(method: str, conn_id: str, path: str, **request: Any) -> Any:
    """The answer, whatever its status; user and password go nowhere but into a request for a token."""
    hook = HttpHook(method, http_conn_id=conn_id, auth_type=lambda *_: None)
    options = {"check_response": False, "timeout": TIMEOUT_SECONDS, "allow_redirects": False}
    return hook.run(path, extra_options=options, **request)


def _refuse_unless_ok(answer: Any, what: str) -> None:
    if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise PoolError(f"{what}: {answer.status_code} {answer.reason}")
    answer.raise_for_status()


def _make(name: str, slots: int) -> str:
    return f'run: airflow pools set {name} {slots} "SageMaker jobs" --include-deferred'


def _arguments(pipeline: Pipeline, *, priority_weight: int) -> dict[str, Any]:
    if pipeline.pool is None:
        return {}
    # By Airflow's own rule a task weighs as much as all after it, so a submitting one more than its waiting one.
    return {"pool": pipeline.pool.name, "priority_weight": priority_weight, "weight_rule": "absolute"}
