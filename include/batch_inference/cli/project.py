"""Finds the project that a command works on: a folder with `dags/` and a folder of pipeline files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import click

from batch_inference.common.formatting import join_quoted, suggest_name
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.pipeline_files import list_pipeline_ids, load_pipeline_by_id

#: Where the pipelines folder may be, the first that exists.
PIPELINES_FOLDERS = ("dags/pipelines", "include/pipelines", "pipelines")


def convert_path(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:  # noqa: ARG001 - click's signature
    """A callback of click for a file or folder of this machine; an empty text is None, as `make` passes it."""
    return find_local_path(value, param.opts[0] if isinstance(param, click.Option) else "") if value else None


def find_local_path(text: str, option: str = "") -> Path:
    """The file or folder that an argument, or `option`, names. Raises click.UsageError where there is none."""
    path = Path(text).expanduser()
    if not path.exists():
        raise click.UsageError(f"{option} {text} does not exist (looked for {path.resolve()})".lstrip())
    return path


@dataclass(frozen=True)
class Project:
    """A folder with `dags/` and a pipelines folder: a user's repository, or a checkout of this one."""

    root: Path
    pipelines_folder: Path

    @property
    def dags_folder(self) -> Path:
        """The folder of the DAG files."""
        return self.root / "dags"

    @property
    def state_folder(self) -> Path:
        """State of runs on this machine: databases, logs, the embedded AWS's objects. LAPTOP_STATE moves it."""
        return Path(os.environ.get("LAPTOP_STATE") or self.root / ".local").resolve()

    def load_pipeline(self, pipeline_id: str | None) -> Pipeline:
        """The pipeline of an id; None is the only one of the project.

        Raises:
            PipelineError: its file is invalid.
            click.UsageError: there is none of this id, or None stands for several.
        """
        known = list_pipeline_ids(self.pipelines_folder)
        if pipeline_id is None and len(known) == 1:
            pipeline_id = known[0]
        if pipeline_id not in known:
            found = f"no pipeline {pipeline_id!r}" if pipeline_id else "several pipelines; name one"
            raise click.UsageError(
                f"{self.pipelines_folder}: found {found if known else 'no pipeline file'}; known pipelines: "
                f"{join_quoted(known[:20], conjunction='and') if known else 'none'}"
                f"{suggest_name(pipeline_id, known) if pipeline_id else ''}"
            )
        return load_pipeline_by_id(pipeline_id, self.pipelines_folder)


def find_project(start: Path | None = None) -> Project:
    """The project that `start`, by default the working folder, is in.

    Raises:
        click.ClickException: no folder from there upwards is one.
    """
    start = (start or Path.cwd()).resolve()
    for root in (start, *start.parents):
        folders = [root / name for name in PIPELINES_FOLDERS if (root / name).is_dir()]
        if folders and (root / "dags").is_dir():
            return Project(root, folders[0])
    raise click.ClickException(
        f"{start} is in no project: neither it nor a folder above has dags/ and one of "
        f"{', '.join(f'{name}/' for name in PIPELINES_FOLDERS)}; change to your project, or lay one out with "
        "`batch-inference init`"
    )
