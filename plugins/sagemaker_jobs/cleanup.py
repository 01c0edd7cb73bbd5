"""Stop and delete what a run has left, found by a part of its name that no other run's names have."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from sagemaker_jobs.aws import call, client_of, says_absent
from sagemaker_jobs.errors import RequestError
from sagemaker_jobs.jobs import stop_job
from sagemaker_jobs.kinds import KINDS

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

log = logging.getLogger(__name__)

_SHORTEST_PART = 6
_PAGE = 100


def stop_jobs(hook: SageMakerHook, *, name_contains: str, because: str = "its run has ended") -> list[str]:
    """Stop every processing and transform job in progress whose name contains ``name_contains``; their names.

    Idempotent. Raises RequestError for a part so short that it could match jobs of others.
    """
    _check_part(name_contains)
    stopped: list[str] = []
    for kind in KINDS.values():
        pages = (
            client_of(hook)
            .get_paginator(kind.list_operation)
            .paginate(
                NameContains=name_contains, StatusEquals="InProgress", PaginationConfig={"PageSize": _PAGE}
            )
        )
        names = [summary[kind.name_field] for page in pages for summary in page[kind.list_key]]
        stopped += [name for name in names if stop_job(hook, kind, name, because=because)]
    return stopped


def delete_models(hook: SageMakerHook, *, name_contains: str) -> list[str]:
    """Delete every model whose name contains ``name_contains``; their names.

    One that is gone already is fine.
    """
    _check_part(name_contains)
    pages = (
        client_of(hook)
        .get_paginator("list_models")
        .paginate(NameContains=name_contains, PaginationConfig={"PageSize": _PAGE})
    )
    names = [summary["ModelName"] for page in pages for summary in page["Models"]]
    return [name for name in names if _delete_model(hook, name)]


def _delete_model(hook: SageMakerHook, name: str) -> bool:
    try:
        call(client_of(hook).delete_model, {"ModelName": name})
    except ClientError as error:
        if not says_absent(error):
            raise
        return False
    log.info("Deleted model %s.", name)
    return True


def _check_part(name_contains: str) -> None:
    if len(name_contains) < _SHORTEST_PART:
        raise RequestError(
            f"name_contains is {name_contains!r}; allowed are {_SHORTEST_PART} or more characters that only "
            "the run's own names have, so that nothing of another run is stopped or deleted."
        )
