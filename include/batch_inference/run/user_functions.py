"""Imports a pipeline's own functions in an Airflow task, each from the path of its file."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from batch_inference.common.errors import PipelineError
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.user_functions import list_function_files


def import_functions(pipeline: Pipeline, folder: Path) -> None:
    """Import the modules of the functions of a pipeline that was read below `folder`, for the code of the jobs.

    Raises:
        PipelineError: a file is gone or does not define its function.
    """
    for name, file in list_function_files(pipeline, folder).items():
        spec = spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise PipelineError(str(file), ("cannot be imported",))
        module = module_from_spec(spec)
        # The code of the jobs imports it by name, and finds it here.
        sys.modules[name] = module
        spec.loader.exec_module(module)
