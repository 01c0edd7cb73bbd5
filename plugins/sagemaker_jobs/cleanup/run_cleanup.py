"""Stops jobs and deletes models: all of a run, or those that the janitor found."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from sagemaker_jobs.aws import call_with_retries, get_client, is_not_found_error, list_entries
from sagemaker_jobs.cleanup.janitor import Action, Leftover, Resource, build_resource
from sagemaker_jobs.job.describe import stop_job
from sagemaker_jobs.kinds import KINDS
from sagemaker_jobs.tags import read_tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

log = logging.getLogger(__name__)


def clean_up_run(
    hook: SageMakerHook,
    *,
    name_prefix: str,
    tags: Mapping[str, str],
    because: str,
    name_part: str | None = None,
) -> list[str]:
    """Stop the jobs and delete the models of a run; their names.

    Of those whose names start with ``name_prefix``, the run's have ``tags`` or, where the role may not read tags,
    ``name_part`` in their names. Idempotent.
    """
    return clean_up_leftovers(
        hook,
        [
            Leftover(each, Action.DELETE if each.kind is None else Action.STOP, because)
            for each in list_running_jobs_and_models(hook, name_prefix=name_prefix)
            if tags.items() <= each.tags.items() or (name_part is not None and name_part in each.name)
        ],
    )


def list_running_jobs_and_models(hook: SageMakerHook, *, name_prefix: str) -> list[Resource]:
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
