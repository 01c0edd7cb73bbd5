"""Checks access to the pages with Airflow's login and its permissions for each DAG.

Airflow mounts a plugin's app without a login, so every page here depends on `get_user` or on `ReadableDag`. Everything
that this package imports from Airflow's security is in this file, since those modules are not a public interface.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException, Query, Request
from sqlalchemy.orm import Session

from sagemaker_jobs.airflow_compat import has_feature

#: What the pages show of a DAG: its runs, their task instances, and XComs; a user needs access to all of them.
REQUIRED_ENTITIES = (None, DagAccessEntity.RUN, DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)

#: Airflow's cookie of a login; `static/login.js` fills it in from the UI's own store with Airflow 3.0.
LOGIN_COOKIE = "_token"


async def get_user_by_cookie(request: Request) -> BaseUser:
    """The user of a request to Airflow 3.0, whose `get_user` takes the token and looks for no cookie.

    Raises:
        HTTPException: 401 without a login or with one that has expired, 403 with one that is not Airflow's.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token if scheme.lower() == "bearer" else request.cookies.get(LOGIN_COOKIE, "")
    if not token:
        raise HTTPException(401, "Not logged in.")
    get_user_of_token: Any = get_user
    user: BaseUser = await get_user_of_token(token)
    return user


User = Annotated[BaseUser, Depends(get_user if has_feature("login by cookie") else get_user_by_cookie)]


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
        _require_access(request, user, entity, dag_id)
    return dag_id


def _require_access(request: Request, user: BaseUser, entity: DagAccessEntity | None, dag_id: str) -> None:
    if has_feature("login by cookie"):
        requires_access_dag("GET", entity, dag_id)(request, user)
    # Airflow 3.0's own check takes the DAG from the path only.
    elif not get_auth_manager().is_authorized_dag(
        method="GET", access_entity=entity, details=DagDetails(id=dag_id), user=user
    ):
        raise HTTPException(403, "Forbidden")


ReadableDag = Annotated[str, Depends(require_readable_dag)]


def filter_readable_dags(session: Session, user: BaseUser, dag_ids: Iterable[str]) -> list[str]:
    """The DAGs of `dag_ids` that the user may read, by the rules of `require_readable_dag`.

    Asks the database once for all of them, where Airflow's own check of one DAG asks for its team each time.
    """
    manager = get_auth_manager()
    permitted = manager.get_authorized_dag_ids(user=user, method="GET")
    candidates = [dag_id for dag_id in dag_ids if dag_id in permitted]
    teams: dict[str, str | None] = {}
    if candidates and has_feature("teams of DAGs"):
        teams = DagModel.get_dag_id_to_team_name_mapping(candidates, session=session)

    def may_read(dag_id: str) -> bool:
        details = DagDetails(id=dag_id, **({"team_name": teams.get(dag_id)} if teams else {}))
        return all(
            manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user)
            for entity in REQUIRED_ENTITIES
        )

    return [dag_id for dag_id in candidates if may_read(dag_id)]


def may_read_import_errors(user: BaseUser) -> bool:
    """Whether Airflow shows the user the errors of files of which it has no DAG."""
    return bool(get_auth_manager().is_authorized_view(access_view=AccessView.IMPORT_ERRORS, user=user))
