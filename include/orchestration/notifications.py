"""The notifiers that a pipeline names, as Airflow's callbacks."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from airflow.sdk import BaseNotifier

from include.scoring.config import Pipeline
from include.scoring.errors import PipelineError
from include.scoring.notices import Notifier, NotifySection, exceeded

log = logging.getLogger(__name__)


def on_failure(pipeline: Pipeline) -> list[Callable[[Any], None]]:
    """Who is told when a run fails. Raises PipelineError for a notifier that cannot be made."""
    return [*made(pipeline, pipeline.notify.on_failure, "on_failure")]


def on_report(pipeline: Pipeline) -> Callable[[Any], None] | None:
    """The callback of `report` that tells about a run above a limit, or None when nobody asked for that.

    The sentence about what was exceeded is `{{ exceeded }}` in a notifier's templates. Raises PipelineError for a
    notifier that cannot be made.
    """
    notify = pipeline.notify
    if notify.on_rejected is None and notify.on_cost is None:
        return None
    for when, above in (("on_rejected", notify.on_rejected), ("on_cost", notify.on_cost)):
        made(pipeline, above.notifiers if above else (), f"{when}.notifiers")

    def tell(context: Any) -> None:
        facts = context["ti"].xcom_pull(task_ids=context["ti"].task_id)
        if facts is not None:  # None: marked success by hand
            tell_about(pipeline, notify, facts, context)

    return tell


def tell_about(pipeline: Pipeline, notify: NotifySection, facts: dict[str, Any], context: Any) -> None:
    """Call the notifiers whose limit `facts` exceed. A notifier that fails is logged by Airflow and stops no other."""
    for sentence, above in exceeded(notify, facts):
        log.warning("%s; telling %s", sentence, ", ".join(each.notifier for each in above.notifiers))
        for notifier in made(pipeline, above.notifiers, "above"):
            notifier({**context, "exceeded": sentence})


def made(pipeline: Pipeline, notifiers: Iterable[Notifier], when: str) -> list[BaseNotifier]:
    """The notifiers themselves.

    Raises:
        PipelineError: an import path that leads to no notifier, or arguments that it does not take.
    """
    return [_made(pipeline, f"notify.{when}[{number}]", each) for number, each in enumerate(notifiers)]


def _made(pipeline: Pipeline, where: str, named: Notifier) -> BaseNotifier:
    module, _, name = named.notifier.rpartition(".")
    try:
        kind: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PipelineError(
            f"{pipeline.name}.yaml",
            (
                f"{where}.notifier: found {named.notifier!r}, which cannot be imported ({error}); install its provider",
            ),
        ) from None
    if not (isinstance(kind, type) and issubclass(kind, BaseNotifier)):
        raise PipelineError(
            f"{pipeline.name}.yaml",
            (
                f"{where}.notifier: found {named.notifier!r}; allowed are subclasses of airflow.sdk.BaseNotifier",
            ),
        )
    try:
        notifier: BaseNotifier = kind(**dict[str, Any](named.arguments))
    except TypeError as error:
        raise PipelineError(
            f"{pipeline.name}.yaml",
            (f"{where}.arguments: {named.notifier} does not take what was found: {error}",),
        ) from None
    return notifier
