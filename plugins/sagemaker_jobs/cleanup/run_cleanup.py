"""Stops jobs and deletes models: all of a run, or those that the janitor found."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from sagemaker_jobs.aws import call_with_retries, get_client, is_not_found_error, list_entries
from sagemaker_jobs.cleanup.janitor import Leftover, Resource, build_resource
from sagemaker_jobs.job.describe import stop_job
from sagemaker_jobs.kinds import KINDS, JobKind
from sagemaker_jobs.tags import read_tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

log = logging.getLogger(__name__)

#: A part of a name that is shorter than this may be in the names of another run.
MIN_NAME_PART_LENGTH = 6


def clean_up_run(
    hook: SageMakerHook,
    *,
    name_prefix: str,
    tags: Mapping[str, str],
    because: str,
    name_part: str | None = None,
) -> list[str]:
    """Stop the jobs and delete the models of a run; their names.

    Of those whose names start with ``name_prefix``, the run's have ``name_part`` in their names, or ``tags``. Those
    known by name go first: neither a refused nor a failing ListTags keeps a job running. Idempotent.

    Raises:
        ValueError: ``name_part`` is so short that the names of other runs may have it.
    """
    if name_part is not None and len(name_part) < MIN_NAME_PART_LENGTH:
        raise ValueError(
            f"name_part is {name_part!r}; allowed are {MIN_NAME_PART_LENGTH} or more characters that only the run's "
            "own names have, so that nothing of another run is stopped or deleted"
        )

    by_name: list[tuple[JobKind | None, Mapping[str, Any]]] = []
    others: list[tuple[JobKind | None, Mapping[str, Any]]] = []
    for kind, entry in _list_entries(hook, name_prefix):
        is_named = (
            name_part is not None and name_part in entry["ModelName" if kind is None else kind.name_field]
        )
        (by_name if is_named else others).append((kind, entry))
    named = (build_resource(kind, entry, {}) for kind, entry in by_name)
    cleaned_names = clean_up_leftovers(hook, (Leftover(each, because) for each in named))
    read = (_read_resource(hook, kind, entry) for kind, entry in others)
    tagged = (each for each in read if tags.items() <= each.tags.items())
    return cleaned_names + clean_up_leftovers(hook, (Leftover(each, because) for each in tagged))


def list_running_jobs_and_models(hook: SageMakerHook, *, name_prefix: str) -> list[Resource]:
    """The jobs in progress and the models whose names start with ``name_prefix``, with their tags.

    One ListTags call each. Names that contain the prefix elsewhere belong to others and are skipped.
    """
    return [_read_resource(hook, kind, entry) for kind, entry in _list_entries(hook, name_prefix)]


def _list_entries(
    hook: SageMakerHook, name_prefix: str
) -> Iterator[tuple[JobKind | None, Mapping[str, Any]]]:
    for kind in KINDS.values():
        running = list_entries(
            hook, kind.list_method, kind.summaries_field, StatusEquals="InProgress", NameContains=name_prefix
        )
        yield from ((kind, each) for each in running if each[kind.name_field].startswith(name_prefix))
    models = list_entries(hook, "list_models", "Models", NameContains=name_prefix)
    yield from ((None, each) for each in models if each["ModelName"].startswith(name_prefix))


def _read_resource(hook: SageMakerHook, kind: JobKind | None, entry: Mapping[str, Any]) -> Resource:
    return build_resource(kind, entry, read_tags(hook, entry["ModelArn" if kind is None else kind.arn_field]))


def clean_up_leftovers(hook: SageMakerHook, leftovers: Iterable[Leftover]) -> list[str]:
    """Stop the jobs and delete the models that ``find_leftovers`` returned; the names of those stopped or deleted."""
    cleaned_names: list[str] = []
    for leftover in leftovers:
        name, kind, because = leftover.resource.name, leftover.resource.kind, leftover.because
        log.warning("%s %s: %s.", "delete" if kind is None else "stop", name, because)
        if _delete_model(hook, name) if kind is None else stop_job(hook, kind, name, because=because):
            cleaned_names.append(name)
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
