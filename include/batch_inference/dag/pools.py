"""Limits the jobs that run at once, over all DAGs, by an Airflow pool that counts deferred tasks.

The tasks that submit jobs and those that wait for them share the pool. Waiting tasks have the higher priority;
otherwise a burst of runs would submit all its jobs before any task waits for the first. The slot is free for a moment
between the two tasks, and between two tries of the waiting task, so at worst twice as many jobs run as there are slots.

A task cannot read a pool through the task SDK or the database, so Airflow's public REST API is used.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from airflow.sdk import Connection

from batch_inference.common.errors import PoolError
from batch_inference.config.pipeline import Pipeline
from sagemaker_jobs.airflow_compat import AirflowNotFoundException, BaseHook

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30


def check_pool(pipeline: Pipeline) -> None:
    """Check that the pipeline's pool, if it has one, limits its jobs.

    Raises:
        PoolError: there is no such pool, so its tasks would wait for ever; it limits nothing, or lets nothing run; or
            it cannot be read.
    """
    section = pipeline.pool
    if section is None:
        return
    if section.conn_id is None:
        log.warning("pool.conn_id is null: not checked that the pool %r counts deferred tasks", section.name)
        return
    validate_pool(section.name, fetch_pool(section.name, section.conn_id))


def validate_pool(name: str, pool: Any) -> None:
    """Raise PoolError unless `pool`, the REST API's response (None: not found), is a pool that limits jobs."""
    if pool is None:
        raise PoolError(
            f"pool: there is no pool {name!r}, and its tasks would wait for ever; {_pool_command(name, 4)}, with as "
            f"many slots as jobs may run at once"
        )
    slots = int(pool["slots"])
    if not pool["include_deferred"]:
        raise PoolError(
            f"pool: {name!r} does not count deferred tasks, and waiting for a job is deferred, so it limits nothing; "
            f"{_pool_command(name, slots)}"
        )
    if slots == 0:
        problem = f"pool: {name!r} has no slots, and its tasks would wait for ever"
        raise PoolError(f"{problem}; {_pool_command(name, 4)}")
    log.info("the pool %r lets %s jobs run at once", name, slots if slots > 0 else "any number of")


def fetch_pool(name: str, conn_id: str) -> Any:
    """The pool as the REST API describes it; None when it does not exist.

    Raises:
        PoolError: there is no such connection, or its user may not read pools.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise PoolError(
            f"pool: {name!r} cannot be read: there is no Airflow connection {conn_id!r}. Create one of type http "
            f"to this Airflow's own address, whose user may read pools: airflow connections add {conn_id} --conn-uri "
            f"http://user:password@host:8080. Or set pool.conn_id: null, and check the pool yourself"
        ) from error
    token = fetch_bearer_token(connection, conn_id)
    headers = {"Authorization": f"Bearer {token}"}
    answer = _call("GET", conn_id, f"/api/v2/pools/{quote(name, safe='')}", headers=headers)
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return None
    _refuse_unless_ok(answer, f"pool: the user of connection {conn_id!r} may not read pools")
    return answer.json()


def fetch_bearer_token(connection: Connection, conn_id: str) -> str:
    """A token for the REST API: for the connection's user; its password when it has no login; or an anonymous one, for
    a laptop's Airflow without authentication.

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
    """The response, whatever its status; user and password are only sent to request a token."""
    # With the client of aiohttp, which a pipeline without a pool does not need.
    from airflow.providers.http.hooks.http import HttpHook

    hook = HttpHook(method, http_conn_id=conn_id, auth_type=lambda *_: None)
    options = {"check_response": False, "timeout": TIMEOUT_SECONDS, "allow_redirects": False}
    return hook.run(path, extra_options=options, **request)


def _refuse_unless_ok(answer: Any, what: str) -> None:
    if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise PoolError(f"{what}: {answer.status_code} {answer.reason}")
    answer.raise_for_status()


def _pool_command(name: str, slots: int) -> str:
    return f'run: airflow pools set {name} {slots} "SageMaker jobs" --include-deferred'
