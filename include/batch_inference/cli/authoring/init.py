"""`batch-inference init`: lays out a repository of pipelines, or adds pipelines to an Airflow project."""

from __future__ import annotations

import string
from pathlib import Path

import click

from batch_inference import __version__
from batch_inference.config.json_schema import render_defaults_schema, render_schema

TEMPLATES = Path(__file__).with_name("templates") / "project"
#: Files of the project by their templates. `dot_` stands for a dot, which some tools leave out of packages.
FILES = {
    "dags/pipelines.py": "pipelines.py.tmpl",
    "dags/pipelines/_defaults.yaml": "defaults.yaml.tmpl",
    "dags/pipelines/.airflowignore": "dot_airflowignore.tmpl",
    ".gitignore": "dot_gitignore.tmpl",
    "README.md": "README.md.tmpl",
    "requirements.txt": "requirements.txt.tmpl",
}
SCHEMA = "dags/pipelines/pipeline.schema.json"
DEFAULTS_SCHEMA = "dags/pipelines/defaults.schema.json"
REQUIREMENT = "airflow-sagemaker-batch-inference"


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
def command(folder: Path) -> None:
    """Lay out a repository of pipelines in FOLDER, by default the working folder.

    It has one DAG file, which makes a DAG of each file below dags/pipelines/. Nothing that exists is overwritten, so it
    also works in an Astro project or any other with dags/: its include/ and plugins/ stay as they are.

    \b
    batch-inference init scoring
    cd existing-astro-project && batch-inference init
    """
    for name, content in render_files().items():
        path = folder / name
        if path.exists():
            click.echo(f"kept   {path}")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        click.echo(f"wrote  {path}")
    requirements = (folder / "requirements.txt").read_text(encoding="utf-8")
    if REQUIREMENT not in requirements:
        click.echo(f"Add to {folder / 'requirements.txt'}: {REQUIREMENT}=={__version__}")
    where = f", in {folder}" if folder.resolve() != Path.cwd() else ""
    click.echo(
        f"Next{where}: `batch-inference new churn --from FILE_OF_RECORDS`; it writes dags/pipelines/churn.yaml."
    )


def render_files() -> dict[str, str]:
    """The content of each file by its path in the project."""
    values = {"version": __version__}
    texts = {
        name: string.Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(values)
        for name, template in FILES.items()
    }
    return {**texts, SCHEMA: render_schema(), DEFAULTS_SCHEMA: render_defaults_schema()}
