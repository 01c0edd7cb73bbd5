"""Collects errors, so that a person reads about all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from batch_inference.common.errors import BatchInferenceError, SetupError


class ErrorCollector:
    """Collects the errors of steps that do not depend on each other."""

    def __init__(self) -> None:
        self._errors: list[BatchInferenceError] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Keep an error of this package; the block ends with it, and what follows the block goes on."""
        try:
            yield
        except BatchInferenceError as error:
            self._errors.append(error)

    def raise_all(self) -> None:
        """Raise one collected error as it is, and several as a SetupError with all their problems."""
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            problems = (getattr(error, "problems", (str(error),)) for error in self._errors)
            raise SetupError(tuple(problem for each in problems for problem in each))
