"""Stops jobs and deletes models of a run, found by a part of their names that is unique to the run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from sagemaker_jobs.aws import call_with_retries, get_client, is_not_found_error, list_entries
from sagemaker_jobs.cleanup.janitor import Leftover, Resource, build_resource
from sagemaker_jobs.errors import RequestError
from sagemaker_jobs.job.describe import stop_job
from sagemaker_jobs.kinds import KINDS
from sagemaker_jobs.tags import read_tags

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

log = logging.getLogger(__name__)

_MIN_NAME_PART_LENGTH = 6


def stop_jobs(hook: SageMakerHook, *, name_contains: str, because: str = "its run has ended") -> list[str]:
    """Stop every processing and transform job in progress whose name contains ``name_contains``; their names.

    Idempotent. Raises RequestError for a part so short that it could match jobs of others.
    """
    _check_name_part(name_contains)
    stopped: list[str] = []
    for kind in KINDS.values():
        running = list_entries(
            hook,
            kind.list_method,
            kind.summaries_field,
            NameContains=name_contains,
            StatusEquals="InProgress",
        )
        names = [summary[kind.name_field] for summary in running]
        stopped += [name for name in names if stop_job(hook, kind, name, because=because)]
    return stopped


def delete_models(hook: SageMakerHook, *, name_contains: str) -> list[str]:
    """Delete every model whose name contains ``name_contains``; their names.

    One that is gone already is fine.
    """
    _check_name_part(name_contains)
    models = list_entries(hook, "list_models", "Models", NameContains=name_contains)
    names = [summary["ModelName"] for summary in models]
    return [name for name in names if _delete_model(hook, name)]


def list_run_resources(hook: SageMakerHook, *, name_prefix: str) -> list[Resource]:
    """The jobs in progress and the models whose names start with ``name_prefix``, with their tags.

    One ListTags call each. Names that contain the prefix elsewhere belong to others and are skipped.
    """
    found: list[Resource] = []
    for kind in KINDS.values():
        running = list_entries(
            hook, kind.list_method, kind.summaries_field, StatusEquals="InProgress", NameContains=name_prefix
        )
        ours = [each for each in running if each[kind.name_field].startswith(name_prefix)]
        found += [build_resource(kind, each, read_tags(hook, each[kind.arn_field])) for each in ours]
    models = list_entries(hook, "list_models", "Models", NameContains=name_prefix)
    ours = [each for each in models if each["ModelName"].startswith(name_prefix)]
    return [*found, *(build_resource(None, each, read_tags(hook, each["ModelArn"])) for each in ours)]


def clean_up_leftovers(hook: SageMakerHook, leftovers: Iterable[Leftover]) -> list[str]:
    """Stop the jobs and delete the models that ``find_leftovers`` returned; the names of those stopped or deleted."""
    cleaned_names: list[str] = []
    for leftover in leftovers:
        name, kind = leftover.resource.name, leftover.resource.kind
        log.warning("%s %s: %s.", leftover.action.value, name, leftover.because)
        is_removed = (
            _delete_model(hook, name)
            if kind is None
            else stop_job(hook, kind, name, because=leftover.because)
        )
        cleaned_names += [name] if is_removed else []
    return cleaned_names


def _delete_model(hook: SageMakerHook, name: str) -> bool:
    try:
        call_with_retries(get_client(hook).delete_model, {"ModelName": name})
    except ClientError as error:
        if not is_not_found_error(error):
            raise
        return False
    log.info("Deleted model %s.", name)
    return True


def _check_name_part(name_contains: str) -> None:
    if len(name_contains) < _MIN_NAME_PART_LENGTH:
        raise RequestError(
            f"name_contains is {name_contains!r}; allowed are {_MIN_NAME_PART_LENGTH} or more characters that only "
            "this run's names have; a shorter text could stop or delete jobs and models of other runs."
        )
