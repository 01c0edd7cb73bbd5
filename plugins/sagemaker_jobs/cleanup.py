"""Stop and delete what a run has left, found by a part of its name that no other run's names have."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from sagemaker_jobs.aws import call, client_of, listed, says_absent
from sagemaker_jobs.errors import RequestError
from sagemaker_jobs.janitor import Leftover, Resource, resource_of
from sagemaker_jobs.jobs import stop_job
from sagemaker_jobs.kinds import KINDS
from sagemaker_jobs.tags import tags_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

log = logging.getLogger(__name__)

_SHORTEST_PART = 6


def stop_jobs(hook: SageMakerHook, *, name_contains: str, because: str = "its run has ended") -> list[str]:
    """Stop every processing and transform job in progress whose name contains ``name_contains``; their names.

    Idempotent. Raises RequestError for a part so short that it could match jobs of others.
    """
    _check_part(name_contains)
    stopped: list[str] = []
    for kind in KINDS.values():
        running = listed(
            hook, kind.list_operation, kind.list_key, NameContains=name_contains, StatusEquals="InProgress"
        )
        names = [summary[kind.name_field] for summary in running]
        stopped += [name for name in names if stop_job(hook, kind, name, because=because)]
    return stopped


def delete_models(hook: SageMakerHook, *, name_contains: str) -> list[str]:
    """Delete every model whose name contains ``name_contains``; their names.

    One that is gone already is fine.
    """
    _check_part(name_contains)
    models = listed(hook, "list_models", "Models", NameContains=name_contains)
    names = [summary["ModelName"] for summary in models]
    return [name for name in names if _delete_model(hook, name)]


def collect(hook: SageMakerHook, *, name_begins: str) -> list[Resource]:
    """The jobs in progress and the models whose names begin so, with their tags, for the janitor to judge.

    One ListTags each, and none for what only has the text somewhere in its name: it belongs to others.
    """
    found: list[Resource] = []
    for kind in KINDS.values():
        running = listed(
            hook, kind.list_operation, kind.list_key, StatusEquals="InProgress", NameContains=name_begins
        )
        ours = [each for each in running if each[kind.name_field].startswith(name_begins)]
        found += [resource_of(kind, each, tags_of(hook, each[kind.arn_field])) for each in ours]
    models = listed(hook, "list_models", "Models", NameContains=name_begins)
    ours = [each for each in models if each["ModelName"].startswith(name_begins)]
    return [*found, *(resource_of(None, each, tags_of(hook, each["ModelArn"])) for each in ours)]


def clear_away(hook: SageMakerHook, found: Iterable[Leftover]) -> list[str]:
    """Do what the janitor decided; the names of what was stopped or deleted."""
    done: list[str] = []
    for leftover in found:
        name, kind = leftover.resource.name, leftover.resource.kind
        log.warning("%s %s: %s.", leftover.action.value, name, leftover.because)
        acted = (
            _delete_model(hook, name)
            if kind is None
            else stop_job(hook, kind, name, because=leftover.because)
        )
        done += [name] if acted else []
    return done


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
