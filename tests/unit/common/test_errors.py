"""Every error of scoring is one tree, says its message, and crosses processes unchanged."""

from __future__ import annotations

import inspect
import pickle

import pytest

from batch_inference.common import errors
from batch_inference.common.errors import BatchInferenceError

EXAMPLES = {
    "PipelineError": errors.PipelineError("a.yaml", ("x is wrong", "y too")),
    "ParamsError": errors.ParamsError(("x is wrong", "y too")),
    "RequestLintError": errors.RequestLintError(("x is wrong",)),
    "RunHeldByGatesError": errors.RunHeldByGatesError("nightly-1", ("churn: all are 1",)),
    "ReconciliationError": errors.ReconciliationError("shard s: lost", "s"),
}
CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, BatchInferenceError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling(kind: type[BatchInferenceError]) -> None:
    error = EXAMPLES.get(kind.__name__) or kind("what, where, what to do")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__dict__) == (kind, str(error), error.__dict__)


def test_the_tree_in_the_documentation_names_every_class() -> None:
    assert {kind.__name__ for kind in CLASSES} == {
        line.split()[-1] if line.startswith("Ba") else line.split("── ")[1].split()[0]
        for line in (errors.__doc__ or "").splitlines()
        if "── " in line or line == "BatchInferenceError"
    }
