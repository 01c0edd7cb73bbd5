"""Builds the DAGs of all pipeline files below a folder, for one DAG file.

A file that is wrong breaks its own DAG only: it becomes an import error of its own.
"""

from __future__ import annotations

import linecache
import re
import sys
from pathlib import Path
from typing import Any

from airflow.exceptions import SerializationError
from airflow.sdk import DAG, get_parsing_context

from batch_inference.common.errors import PipelineError
from batch_inference.config.inheritance import list_matrix_keys
from batch_inference.config.pipeline import MAX_ID_LENGTH, Pipeline
from batch_inference.config.pipeline_files import (
    find_pipeline_file,
    load_pipeline_by_id,
    read_pipelines,
)
from batch_inference.dag.pipelines_folder import find_pipelines_folder, get_calling_file
from batch_inference.dag.scoring_dag import build_pipeline_dag


def pipeline_dags(folder: str | Path | None = None) -> dict[str, DAG]:
    """The DAG of each pipeline file below `folder`, by id: `globals().update(pipeline_dags("pipelines"))`.

    `folder` is relative to the calling DAG file. Default: Airflow's setting `pipelines_folder` in the section
    `batch_inference`, else `pipelines`. While a task runs, only its own pipeline is read.

    Raises:
        PipelineError: there is no such folder or, while a task runs, its pipeline's file is wrong.
    """
    root = find_pipelines_folder(folder, get_calling_file())
    dag_id = get_parsing_context().dag_id
    if dag_id is not None:
        found = find_pipeline_file(dag_id, root)
        if found is None or (found[1] is not None and found[1] not in list_matrix_keys(found[0], Pipeline)):
            return {}  # a DAG that the DAG file has from elsewhere
        return {dag_id: build_pipeline_dag(load_pipeline_by_id(dag_id, root), root)}
    dags: dict[str, DAG] = {}
    for pipeline_id, path, result in read_pipelines(root):
        try:
            if isinstance(result, PipelineError):
                raise result
            dags[pipeline_id] = build_pipeline_dag(result, root)
        except PipelineError as error:
            # A problem of building the DAG has the pipeline's id for a file.
            at = error if error is result else PipelineError(str(path), error.problems)
            dags[pipeline_id] = RefusedDag(pipeline_id, path, at)
    return dags


def build_scoring_dag(name: str, *, folder: str | Path | None = None, doc_md: str | None = None) -> DAG:
    """The DAG of one pipeline: `name` is its id, such as `risk.churn`. See `pipeline_dags` for `folder`.

    Raises:
        PipelineError: the file is absent or wrong; Airflow shows it as the DAG file's import error.
    """
    root = find_pipelines_folder(folder, get_calling_file())
    return build_pipeline_dag(load_pipeline_by_id(name, root), root, doc_md=doc_md)


class RefusedFileError(SerializationError, SyntaxError):
    """A pipeline file that is wrong. Airflow wraps all but its own kind, and a SyntaxError is shown with its line."""

    def __init__(self, error: PipelineError) -> None:
        place = re.search(r"^(?:(\S+), )?line (\d+)", error.problems[0])
        file, line = (place[1] or error.file, int(place[2])) if place else (error.file, None)
        text = None if line is None else linecache.getline(file, line)
        SyntaxError.__init__(self, str(error), (file, line, None, text))

    def __str__(self) -> str:
        return str(self.msg)


class RefusedDag(DAG):
    """Stands for the DAG of a wrong pipeline file: Airflow records its file's import error, and no DAG.

    Airflow 3.0 to 3.3 file an error of parsing under the DAG file, whose DAGs then all stop; but an error of
    serialising one DAG under that DAG's file, and they go on with the next. So this one raises when it is serialised
    by the DAG processor. Elsewhere, such as in a test that loads a DagBag, it raises when it is validated.
    """

    def __init__(self, pipeline_id: str, path: Path, error: PipelineError) -> None:
        super().__init__(re.sub(r"[^\w.-]", "_", pipeline_id)[:MAX_ID_LENGTH], schedule=None)
        self.pipeline_id, self.pipeline_file, self.error = pipeline_id, path, error

    def validate(self) -> None:
        """Raise the error, but in the DAG processor, see the class."""
        if not is_in_dag_processor():
            raise self.error
        super().validate()  # type: ignore[no-untyped-call]

    @property
    def edge_info(self) -> Any:
        """Only read to serialise the DAG: raises the error, in the name of the pipeline file."""
        self.relative_fileloc = self.fileloc = self._build_error_name()
        raise RefusedFileError(self.error)

    @edge_info.setter
    def edge_info(self, value: Any) -> None:
        """Airflow's constructor sets it."""

    def _build_error_name(self) -> str:
        """The pipeline file as Airflow names files, relative to their bundle, and the pipeline: `risk/a.yaml#risk.a`.

        The pages find a pipeline's error by it.
        """
        dag_file, in_bundle = Path(self.fileloc), Path(self.relative_fileloc or "")
        is_relative = in_bundle.parts and not in_bundle.is_absolute()
        # The pipelines folder is resolved, and a bundle may be a link, as git-sync has it.
        bundle = dag_file.parents[len(in_bundle.parts) - 1].resolve() if is_relative else None
        path = self.pipeline_file
        name = path.relative_to(bundle) if bundle is not None and bundle in path.parents else path
        # A file in a wrong place has its path for an id.
        return f"{name}" if self.pipeline_id.endswith(path.suffix) else f"{name}#{self.pipeline_id}"


def is_in_dag_processor() -> bool:
    """Whether a supervisor of Airflow started this process, which reads what is serialised here."""
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    return getattr(runner, "SUPERVISOR_COMMS", None) is not None
