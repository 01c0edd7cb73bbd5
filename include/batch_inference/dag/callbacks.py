"""Airflow callbacks that call a pipeline's notifiers."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from airflow.sdk import BaseNotifier

from batch_inference.common.errors import PipelineError
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.notifications import Notifier, NotifySection, describe_exceeded_limits

log = logging.getLogger(__name__)


def build_failure_callbacks(pipeline: Pipeline) -> list[Callable[[Any], None]]:
    """The callbacks for a failed run. Raises PipelineError for a notifier that cannot be built."""
    return [*build_notifiers(pipeline, pipeline.notify.on_failure, "on_failure")]


def build_report_callback(pipeline: Pipeline) -> Callable[[Any], None] | None:
    """The success callback of `clean_up`, which notifies of exceeded limits; None when the pipeline has none.

    A notifier's templates have the sentence about the exceeded limit as `{{ exceeded }}`. Raises PipelineError for a
    notifier that cannot be built.
    """
    notify = pipeline.notify
    if notify.on_rejected is None and notify.on_cost is None:
        return None
    for setting, limit in (("on_rejected", notify.on_rejected), ("on_cost", notify.on_cost)):
        build_notifiers(pipeline, limit.notifiers if limit else (), f"{setting}.notifiers")

    def notify_if_exceeded(context: Any) -> None:
        from batch_inference.reporting.summary import parse_summary

        summary = parse_summary(context["ti"].xcom_pull(task_ids=context["ti"].task_id))
        if summary is not None:  # None: nothing was published, or the task was marked success by hand
            notify_of_exceeded_limits(pipeline, notify, summary, context)

    return notify_if_exceeded


def notify_of_exceeded_limits(
    pipeline: Pipeline, notify: NotifySection, summary: Mapping[str, Any], context: Any
) -> None:
    """Call the notifiers whose limit is exceeded. When a notifier fails, Airflow logs it and the others are called."""
    for sentence, limit in describe_exceeded_limits(notify, summary):
        log.warning("%s; notifying %s", sentence, ", ".join(each.notifier for each in limit.notifiers))
        for notifier in build_notifiers(pipeline, limit.notifiers, "above"):
            notifier({**context, "exceeded": sentence})


def build_notifiers(pipeline: Pipeline, notifiers: Iterable[Notifier], setting: str) -> list[BaseNotifier]:
    """Build the notifiers.

    Raises:
        PipelineError: an import path that is not of a notifier, or arguments that it does not accept.
    """
    return [_build_notifier(pipeline, f"notify.{setting}[{at}]", each) for at, each in enumerate(notifiers)]


def _build_notifier(pipeline: Pipeline, setting: str, section: Notifier) -> BaseNotifier:
    path = section.notifier

    def build_error(problem: str) -> PipelineError:
        return PipelineError(f"{pipeline.name}.yaml", (f"{setting}.{problem}",))

    module, _, name = path.rpartition(".")
    try:
        notifier_class: Any = getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001 - any code runs when it is imported
        problem = f"notifier: found {path!r}, which cannot be imported ({error}); install its provider"
        raise build_error(problem) from None
    if not (isinstance(notifier_class, type) and issubclass(notifier_class, BaseNotifier)):
        raise build_error(f"notifier: found {path!r}; allowed are subclasses of airflow.sdk.BaseNotifier")
    try:
        notifier: BaseNotifier = notifier_class(**dict[str, Any](section.arguments))
    except Exception as error:  # noqa: BLE001 - and when it is built
        raise build_error(f"arguments: {path} does not accept these arguments: {error}") from None
    return notifier
