"""`batch-inference new`: a pipeline's YAML file and DAG file from the templates."""

from __future__ import annotations

import os
import re
import string
from pathlib import Path

import click

from batch_inference.cli.project import find_project

TEMPLATES = Path(__file__).with_name("templates")


@click.command()
@click.argument("name")
def command(name: str) -> None:
    """Write the pipeline file NAME.yaml, and a DAG file for it if none builds all pipelines of the folder.

    \b
    batch-inference new churn
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise click.UsageError(
            f"found the name {name!r}; allowed are lower-case letters, digits and _, a letter first, at most 40 "
            "characters: batch-inference new churn"
        )
    project = find_project()
    targets = {"pipeline.yaml.tmpl": project.pipelines_folder / f"{name}.yaml"}
    if not any("pipeline_dags(" in path.read_text() for path in (project.root / "dags").glob("*.py")):
        targets["dag.py.tmpl"] = project.root / "dags" / f"{name}.py"
    for target in targets.values():
        if target.exists():
            raise click.UsageError(
                f"{target.relative_to(project.root)} already exists; it was not overwritten"
            )
    folder = os.path.relpath(project.pipelines_folder, project.root / "dags")
    for template, target in targets.items():
        text = string.Template((TEMPLATES / template).read_text()).substitute(name=name, folder=folder)
        target.write_text(text)
        click.echo(f"wrote {target.relative_to(project.root)}")
    click.echo(
        "Edit the YAML file: lines marked CHANGE need your own value. `batch-inference check` and Airflow report "
        "errors in it."
    )
