"""Checks access to the pages with Airflow's login and its permissions for each DAG.

Airflow mounts a plugin's app without a login, so every page here depends on `get_user` or on `ReadableDag`. Everything
that this package imports from Airflow's security is in this file, since those modules are not a public interface.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from fastapi import Depends, HTTPException, Query, Request

#: What the pages show of a DAG: its runs, their task instances, and XComs; a user needs access to all of them.
REQUIRED_ENTITIES = (None, DagAccessEntity.RUN, DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)

User = Annotated[BaseUser, Depends(get_user)]


def require_readable_dag(
    request: Request, user: User, dag_id: Annotated[str, Query(min_length=1, max_length=250)]
) -> str:
    """The request's DAG, if its user may read everything that the pages show of it.

    Airflow's own check takes a missing id, and `~`, as every DAG; here the id that is checked is the id that is shown.

    Raises:
        HTTPException: 401 without a login, 403 without the permission.
    """
    if dag_id == "~":
        raise HTTPException(404, "No DAG has this name.")
    for entity in REQUIRED_ENTITIES:
        requires_access_dag("GET", entity, dag_id)(request, user)
    return dag_id


ReadableDag = Annotated[str, Depends(require_readable_dag)]


def filter_readable_dags(request: Request, user: BaseUser, dag_ids: Iterable[str]) -> list[str]:
    """The DAGs of `dag_ids` that the user may read, by the rules of `require_readable_dag`."""
    permitted = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    return [dag_id for dag_id in dag_ids if dag_id in permitted and _may_read(request, user, dag_id)]


def _may_read(request: Request, user: BaseUser, dag_id: str) -> bool:
    try:
        require_readable_dag(request, user, dag_id)
    except HTTPException as refusal:
        if refusal.status_code == 403:
            return False
        raise
    return True
