"""Airflow's names that moved or were added between 3.0.6 and 3.3, each from its place in the installed version.

Only this module knows which version has what. A name is imported when it is first used, so that a DAG file does not
import what only a task or the pages need. `AVAILABLE_SINCE` has the features that a version may lack.
"""

from __future__ import annotations

import asyncio
import re
import threading
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.providers.standard.exceptions import HITLRejectException
    from airflow.providers.standard.operators.hitl import ApprovalOperator
    from airflow.sdk import BaseHook, TriggerRule
    from airflow.sdk.bases.skipmixin import SkipMixin
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        DownstreamTasksSkipped,
        TaskDeferred,
    )
    from airflow.sdk.execution_time.comms import CreateHITLDetailPayload
    from airflow.sdk.listener import get_listener_manager
    from airflow.serialization.serialized_objects import DagSerialization
    from sqlalchemy.sql import Select

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRescheduleException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "ApprovalOperator",
    "BaseHook",
    "CreateHITLDetailPayload",
    "DagBag",
    "DagSerialization",
    "DownstreamTasksSkipped",
    "HITLRejectException",
    "Select",
    "SkipMixin",
    "TaskDeferred",
    "TriggerRule",
    "conf",
    "get_listener_manager",
]

AIRFLOW_VERSION_TEXT = version("apache-airflow-core")
#: The installed Airflow: major, minor, patch; a suffix such as rc1 is dropped.
AIRFLOW_VERSION = tuple(int(number) for number in re.findall(r"\d+", AIRFLOW_VERSION_TEXT)[:3])

#: The first version that has a feature, by the feature's name.
AVAILABLE_SINCE = {
    "approval": (3, 1),
    "external views": (3, 1),
    "login by cookie": (3, 1),
    "nested values in an event's extra": (3, 1),
    "partition key of an event": (3, 3),
    "retries begin with execute": (3, 1, 1),
    "supervisor answers threads": (3, 2, 2),
    "teams of DAGs": (3, 2),
    "trigger on_kill": (3, 3),
}

_EXCEPTIONS = ((3, 2), "airflow.sdk.exceptions", "airflow.exceptions")
#: By name: the first version that has it at the new place, that place, and the place in versions before (with the name
#: there, after a colon, where it differs).
_PLACES: dict[str, tuple[tuple[int, ...], str, str]] = {
    "AirflowException": _EXCEPTIONS,
    "AirflowFailException": _EXCEPTIONS,
    "AirflowNotFoundException": _EXCEPTIONS,
    "AirflowRescheduleException": _EXCEPTIONS,
    "AirflowSensorTimeout": _EXCEPTIONS,
    "AirflowSkipException": _EXCEPTIONS,
    "AirflowTaskTimeout": _EXCEPTIONS,
    "DownstreamTasksSkipped": _EXCEPTIONS,
    "TaskDeferred": _EXCEPTIONS,
    "BaseHook": ((3, 1), "airflow.sdk", "airflow.hooks.base"),
    "DagBag": ((3, 2), "airflow.dag_processing.dagbag", "airflow.models.dagbag"),
    "DagSerialization": (
        (3, 2),
        "airflow.serialization.serialized_objects",
        "airflow.serialization.serialized_objects:SerializedDAG",
    ),
    "SkipMixin": ((3, 2), "airflow.sdk.bases.skipmixin", "airflow.providers.standard.utils.skipmixin"),
    "TriggerRule": ((3, 1), "airflow.sdk", "airflow.utils.trigger_rule"),
    "conf": ((3, 2), "airflow.sdk.configuration", "airflow.configuration"),
    "get_listener_manager": ((3, 2), "airflow.sdk.listener", "airflow.listeners.listener"),
    "redact": (
        (3, 1),
        "airflow.sdk._shared.secrets_masker",
        "airflow.sdk.execution_time.secrets_masker",
    ),
}
#: Names that are where they were in all versions that have them, here since something about them is particular:
#: approval exists from 3.1 on, and SQLAlchemy 1.4, of Airflow 3.0, has `Select` only below `sqlalchemy.sql`.
_SAME_PLACE = {
    "ApprovalOperator": "airflow.providers.standard.operators.hitl",
    "CreateHITLDetailPayload": "airflow.sdk.execution_time.comms",
    "HITLRejectException": "airflow.providers.standard.exceptions",
    "Select": "sqlalchemy.sql",
}


def has_feature(feature: str) -> bool:
    """Whether the installed Airflow has the feature, a key of `AVAILABLE_SINCE`."""
    return AVAILABLE_SINCE[feature] <= AIRFLOW_VERSION


def load_dag_bag(folder: str | Path, *, bundle_path: Path) -> DagBag:
    """The DAGs of the files in `folder`, and their import errors; the bundle is Airflow's own, of the DAGs folder."""
    named = {"bundle_name": "dags-folder"} if AIRFLOW_VERSION >= (3, 2) else {}
    return __getattr__("DagBag")(folder, bundle_path=bundle_path, **named)  # type: ignore[no-any-return]


def mask_secrets(value: Any) -> Any:
    """A text, or a JSON-safe value, with `***` in place of the secrets that Airflow masks in logs.

    Unchanged where the installed Airflow has no masker at the place that is known here.
    """
    try:
        redact = __getattr__("redact")
    except (ImportError, AttributeError):
        return value
    return redact(value)


def let_threads_ask_supervisor() -> None:
    """Let the threads of a triggerer ask its supervisor through the event loop, in which this is called.

    Before 3.2.2 two questions at once, of a connection or a task's state, mix up their answers, and the triggerer ends
    (apache/airflow#64620). Hooks ask in threads. Later versions do what this does.
    """
    task_runner = import_module("airflow.sdk.execution_time.task_runner")
    decoder: Any = type(getattr(task_runner, "SUPERVISOR_COMMS", None))
    if has_feature("supervisor answers threads") or not hasattr(decoder, "_async_reader"):
        return
    loop, loop_thread = asyncio.get_running_loop(), threading.get_ident()
    if getattr(decoder.send, "loop", None) is loop:
        return
    send_here = decoder.send

    def send(comms: Any, msg: Any) -> Any:
        if threading.get_ident() == loop_thread:
            return send_here(comms, msg)
        return asyncio.run_coroutine_threadsafe(comms.asend(msg), loop).result()

    send.loop = loop  # type: ignore[attr-defined]
    decoder.send = send


def __getattr__(name: str) -> Any:
    if name in _SAME_PLACE:
        place = _SAME_PLACE[name]
    elif name in _PLACES:
        since, new, old = _PLACES[name]
        place = new if since <= AIRFLOW_VERSION else old
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, spelling = place.partition(":")
    value = globals()[name] = getattr(import_module(module), spelling or name)
    return value
