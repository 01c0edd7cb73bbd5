"""Finds the folder of the pipeline files: what a DAG file says, or Airflow's configuration."""

from __future__ import annotations

import sys
from pathlib import Path

from batch_inference.common.errors import PipelineError
from sagemaker_jobs.airflow_compat import conf

#: `AIRFLOW__BATCH_INFERENCE__PIPELINES_FOLDER`: the folder where a DAG file names none.
CONFIG_SECTION, CONFIG_KEY = "batch_inference", "pipelines_folder"
DEFAULT_FOLDER = "pipelines"


def get_calling_file() -> str:
    """The file that called the caller of this function: the DAG file."""
    return str(sys._getframe(2).f_globals.get("__file__", ""))


def find_pipelines_folder(folder: str | Path | None, dag_file: str) -> Path:
    """The pipelines folder of a DAG file, see `pipeline_dags`. Raises PipelineError when there is no such folder."""
    stated = folder or conf.get(CONFIG_SECTION, CONFIG_KEY, fallback=None) or DEFAULT_FOLDER
    path = Path(dag_file).resolve().parent / stated
    if not path.is_dir():
        setting = f"AIRFLOW__{CONFIG_SECTION.upper()}__{CONFIG_KEY.upper()}"
        problem = f"is no folder; name that of the pipeline files in {Path(dag_file).name}, or in {setting}"
        raise PipelineError(str(path), (problem,))
    return path.resolve()
