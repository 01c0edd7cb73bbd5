"""Marks deterministic errors as non-retryable."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from airflow.sdk.exceptions import AirflowFailException

from batch_inference.common.errors import BatchInferenceError
from batch_inference.jobs.common.errors import JobError

P = ParamSpec("P")
R = TypeVar("R")


def no_retry(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function: our own errors become AirflowFailException, which Airflow does not retry.

    Other errors, such as a throttled call or a lost connection, are raised unchanged and are retried.
    """

    @functools.wraps(function)
    def call_without_retry(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (BatchInferenceError, JobError) as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error

    return call_without_retry
