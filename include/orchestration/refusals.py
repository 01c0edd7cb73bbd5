"""Errors that no second try mends are not tried again: the same input gives the same answer, after two more delays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from airflow.sdk.exceptions import AirflowFailException

from include.jobs.errors import JobError
from include.scoring.errors import ScoringError

P = ParamSpec("P")
R = TypeVar("R")


def final(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with our own refusals raised as AirflowFailException, which Airflow does not retry.

    Everything else, such as a throttled call or a lost connection, is raised as it is and is retried.
    """

    @functools.wraps(function)
    def body(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (ScoringError, JobError) as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error

    return body
