"""Saves moto's services at a clean stop and restores them: their backends pickle, except SQS's, which holds locks."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import moto
from moto.backends import get_backend

# Its overloads require literal names.
_get_backends = cast("Callable[[str], Any]", get_backend)
SERVICES = ("s3", "iam", "sts", "logs", "cloudwatch", "glue", "sns")


class MotoStateError(RuntimeError):
    """The saved state cannot be read back; the message says which file and what to do."""


def save_moto_state(path: Path) -> None:
    """Write the state of SERVICES to `path`, atomically."""
    state = {
        service: {
            (account, region): backend.__dict__
            for account, region, backend in _get_backends(service).iter_backends()
        }
        for service in SERVICES
        # A service that was never used is not loaded for this.
        if f"moto.{service}.models" in sys.modules
    }
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        pickle.dump({"moto": moto.__version__, "state": state}, file, protocol=pickle.HIGHEST_PROTOCOL)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def restore_moto_state(path: Path) -> None:
    """Restore what `save_moto_state` wrote; nothing happens if there is no file.

    Raises MotoStateError when the file does not load, e.g. because another moto wrote it.
    """
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            saved: dict[str, Any] = pickle.load(file)  # noqa: S301 - our own file, in our own data directory
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, KeyError, TypeError) as error:
        raise MotoStateError(
            f"{path}: cannot be restored ({error!r}); this is moto {moto.__version__}. "
            "Move the file away to start with an empty S3, or install the moto that wrote it"
        ) from error
    for service, backends in saved["state"].items():
        backend_dict = _get_backends(service)
        for (account, region), state in backends.items():
            backend_dict[account][region].__dict__.update(state)
