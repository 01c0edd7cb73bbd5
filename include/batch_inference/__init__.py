"""Batch inference on SageMaker: pipeline files, plans, and the DAGs that run them.

What a DAG file needs is resolved on first use (PEP 562). Importing the package alone imports nothing: it travels into
SageMaker's containers together with `batch_inference.jobs`, and must load on Python 3.8 there.
"""

__version__ = "0.1.0"
__all__ = ["Pipeline", "__version__", "build_janitor_dag", "build_scoring_dag", "pipeline_dags"]

TYPE_CHECKING = False  # that of `typing`, without its import
if TYPE_CHECKING:
    from batch_inference.config.pipeline import Pipeline
    from batch_inference.dag.janitor import build_janitor_dag
    from batch_inference.dag.pipeline_dags import build_scoring_dag, pipeline_dags

_MODULES = {
    "Pipeline": "batch_inference.config.pipeline",
    "build_janitor_dag": "batch_inference.dag.janitor",
    "build_scoring_dag": "batch_inference.dag.pipeline_dags",
    "pipeline_dags": "batch_inference.dag.pipeline_dags",
}


def __getattr__(name: str) -> object:
    """Import what the package exports when it is first used; raises AttributeError for any other name."""
    if name not in _MODULES:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; it exports {', '.join(__all__)}"
        )
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> "list[str]":
    """The exported names, resolved or not."""
    return sorted({*globals(), *__all__})
