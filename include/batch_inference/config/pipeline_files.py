"""Finds the pipelines' YAML files below a folder, whose folders are teams, and loads pipelines by id.

The id of `risk/churn.yaml` is `risk.churn`, and with `matrix` that of each key `risk.churn.<key>`. It leads to its file
without a look into any other. Files and folders that begin with `_` or `.` are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from batch_inference.common.errors import PipelineError
from batch_inference.common.formatting import join_quoted, suggest_name
from batch_inference.common.names import build_runs_prefix
from batch_inference.config.inheritance import NAME_PART, list_matrix_keys
from batch_inference.config.pipeline import MAX_ID_LENGTH, Pipeline, load_pipeline

SUFFIX = ".yaml"
#: The pipelines folder by DAG id, of the DAGs of this process. Tasks and callbacks find their file by it: a path in
#: the DAG would differ between the versions of a bundle.
_FOLDERS: dict[str, Path] = {}


def load_pipeline_by_id(pipeline_id: str, folder: Path | None = None) -> Pipeline:
    """The pipeline of an id below `folder`, or below the folder that the DAG of this id was built from.

    Raises:
        PipelineError: it is missing or invalid.
    """
    root = get_pipelines_folder(pipeline_id) if folder is None else folder
    found = find_pipeline_file(pipeline_id, root)
    if found is None:
        known = list_pipeline_ids(root)
        shown = join_quoted(known[:20], conjunction="and") if known else "no pipeline file"
        problem = f"found no pipeline {pipeline_id!r}; there is {shown}{suggest_name(pipeline_id, known)}"
        raise PipelineError(str(root), (problem,))
    path, matrix_key = found
    check_place(path, root)
    return load_pipeline(path, folder=root, matrix_key=matrix_key)


def register_folder(dag_id: str, folder: Path) -> None:
    """Remember the pipelines folder of a DAG of this process."""
    _FOLDERS[dag_id] = folder


def get_pipelines_folder(dag_id: str) -> Path:
    """The pipelines folder of a DAG of this process. Raises PipelineError when no DAG of this id was built."""
    try:
        return _FOLDERS[dag_id]
    except KeyError:
        problem = "no DAG file of this process builds it; call pipeline_dags() or build_scoring_dag() there"
        raise PipelineError(dag_id, (problem,)) from None


def read_pipelines(folder: Path) -> Iterator[tuple[str, Path, Pipeline | PipelineError]]:
    """Each pipeline below `folder` by id, with its file: the pipeline, or what is wrong with it.

    A file in a wrong place, whose id may be another's, comes with its path below `folder` in place of an id.
    """
    for path in list_pipeline_files(folder):
        name = path.relative_to(folder).as_posix()
        try:
            check_place(path, folder)
            name = _build_id(path, folder)
            keys = list_matrix_keys(path, Pipeline)
        except PipelineError as error:
            yield name, path, error
            continue
        for key in keys or (None,):
            pipeline_id = name if key is None else f"{name}.{key}"
            try:
                yield pipeline_id, path, load_pipeline(path, folder=folder, matrix_key=key)
            except PipelineError as error:
                yield pipeline_id, path, error


def find_shared_prefixes(pipelines: Iterable[Pipeline]) -> list[str]:
    """One sentence for each pair of pipelines of which one keeps its runs below the other's prefix in S3.

    Within one `work` the ids keep them apart; this is about pipelines that state different ones.
    """
    names_by_prefix: dict[str, list[str]] = {}
    for each in pipelines:
        prefix = build_runs_prefix(work=each.work, pipeline=each.name)
        names_by_prefix.setdefault(prefix, []).append(each.name)
    found: list[str] = []
    for prefix, names in names_by_prefix.items():
        parts = prefix.split("/")
        # `s3://bucket/` has three slashes; the prefix itself is the last.
        above = ["/".join(parts[:count]) + "/" for count in range(4, len(parts))]
        others = [(each, other) for each in above for other in names_by_prefix.get(each, ())]
        for number, name in enumerate(names):
            found += [
                f"{name}: its runs are at {prefix}, where the policies of {other} allow all below {each}; write "
                f"another work in one of them"
                for each, other in others
                if other not in names[number:]
            ]
    return found


def list_pipeline_ids(folder: Path) -> tuple[str, ...]:
    """The ids of all pipelines below `folder`, valid or not, in order of their files; reads their matrices only."""
    ids: list[str] = []
    for path in list_pipeline_files(folder):
        name = _build_id(path, folder)
        try:
            ids += [f"{name}.{key}" for key in list_matrix_keys(path, Pipeline)] or [name]
        except PipelineError:
            ids.append(name)  # whoever loads it is told
    return tuple(ids)


def list_pipeline_files(folder: Path) -> list[Path]:
    """The pipeline files below `folder`, sorted; with names that `check_place` refuses, too."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(("_", "."))]
        found += [
            Path(parent) / name
            for name in files
            if name.lower().endswith((SUFFIX, ".yml")) and not name.startswith(("_", "."))
        ]
    return sorted(found)


def find_pipeline_file(pipeline_id: str, folder: Path) -> tuple[Path, str | None] | None:
    """The file of an id, and the key of its matrix, which is not read; None when there is no such file."""
    *teams, name = pipeline_id.split(".")
    if all(NAME_PART.fullmatch(part) for part in (*teams, name)):
        path = folder.joinpath(*teams, f"{name}{SUFFIX}")
        if path.exists():
            return path, None
        if teams and (parent := folder.joinpath(*teams).with_suffix(SUFFIX)).exists():
            return parent, name
    return None


def check_place(path: Path, folder: Path) -> None:
    """Raise PipelineError for a file whose name or folders are no id, or whose files in S3 would cover a team's."""
    *teams, _ = path.relative_to(folder).parts
    if path.suffix != SUFFIX:
        raise PipelineError(str(path), (f"found the suffix {path.suffix}; allowed is {SUFFIX}: rename it",))
    for kind, part in (*(("folder", each) for each in teams), ("file", path.stem)):
        if not NAME_PART.fullmatch(part):
            problem = (
                f"found a {kind} named {part!r}; allowed are a-z, 0-9, _ and -, as it is part of the DAG's id"
            )
            raise PipelineError(str(path), (f"{problem}: rename it",))
    if len(pipeline_id := _build_id(path, folder)) > MAX_ID_LENGTH:
        problem = f"its id has {len(pipeline_id)} characters; allowed are {MAX_ID_LENGTH}: use fewer folders"
        raise PipelineError(str(path), (problem,))
    if list_pipeline_files(path.with_suffix("")):
        problem = (
            f"found beside the folder {path.stem}/ with pipelines of its own; their files in S3 and their DAGs would "
            f"have the names of this pipeline's: rename one"
        )
        raise PipelineError(str(path), (problem,))


def _build_id(path: Path, folder: Path) -> str:
    return ".".join(path.relative_to(folder).with_suffix("").parts)
