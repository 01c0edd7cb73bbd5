"""`batch-inference mwaa`: builds the bundle for Amazon MWAA: `plugins.zip`, `requirements.txt` and `dags/`.

MWAA unpacks plugins.zip into /usr/local/airflow/plugins, then installs requirements.txt with pip, which names the wheel
by its path there. The project's own plugins travel beside the wheel, and its pipelines below `dags/`.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click

from batch_inference import __version__
from batch_inference.cli.authoring.init import render_files
from batch_inference.cli.project import Project, find_project
from batch_inference.common.errors import BatchInferenceError

# The newest version that AWS's API offers, and the Python of its images.
AIRFLOW_VERSION, PYTHON_VERSION = "3.0.6", "3.12"
CONSTRAINTS_URL = "https://raw.githubusercontent.com/apache/airflow"
PLUGINS_FOLDER = "/usr/local/airflow/plugins"
WHEEL_PATTERN = f"airflow_sagemaker_batch_inference-{__version__}-*.whl"
#: Where the wheel is looked for, in the project.
WHEEL_FOLDERS = (".", "dist", "wheels")
DAG_FILE, PIPELINES_FOLDER = "pipelines.py", "pipelines"
#: A DAG file that says this builds DAGs of this package.
BUILDERS = re.compile(r"\b(pipeline_dags|build_scoring_dag|build_janitor_dag)\(")
EXCLUDED_NAMES = ("__pycache__", "*.pyc")
# One fixed moment, the earliest that a zip can hold: the same code makes the same file, so that MWAA's version of it
# changes only when the code does.
ZIP_TIMESTAMP = (1980, 1, 1, 0, 0, 0)


class BundleError(BatchInferenceError):
    """The bundle cannot be built; the message says why."""


def find_wheel(root: Path) -> Path:
    """The wheel of this version in the project. Raises BundleError when there is none."""
    for folder in WHEEL_FOLDERS:
        for path in sorted((root / folder).glob(WHEEL_PATTERN)):
            return path
    raise BundleError(
        f"{root}: found no {WHEEL_PATTERN} in it, in dist/ or in wheels/; put the wheel there, or name it with --wheel"
    )


def iter_plugin_files(plugins: Path, wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Name within plugins.zip and content of each file: the wheel, and the plugins that are not in the wheel."""
    yield wheel.name, wheel.read_bytes()
    installed = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    for path in sorted(plugins.rglob("*")):
        relative = path.relative_to(plugins)
        skipped = relative.parts[0] in installed or "__pycache__" in relative.parts or path.suffix == ".pyc"
        if path.is_file() and not skipped:
            yield relative.as_posix(), path.read_bytes()


def render_requirements(wheel: Path, *, version: str, python: str) -> str:
    """MWAA's requirements.txt. The versions of what the wheel needs come from the constraints of MWAA's Airflow."""
    constraints = f"{CONSTRAINTS_URL}/constraints-{version}/constraints-{python}.txt"
    return f'--constraint "{constraints}"\n{PLUGINS_FOLDER}/{wheel.name}\n'


def copy_dags(project: Project, target: Path) -> None:
    """Copy `dags/` with the pipelines.

    Pipelines that are elsewhere are put below it. The DAG file of `batch-inference init` builds them in place of the
    project's own, which name that other place.
    """
    ignored = shutil.ignore_patterns(*EXCLUDED_NAMES)
    shutil.copytree(project.dags_folder, target, ignore=ignored, copy_function=shutil.copyfile)
    if project.pipelines_folder.is_relative_to(project.dags_folder):
        return
    for path in target.glob("*.py"):
        if BUILDERS.search(path.read_text(encoding="utf-8")):
            path.unlink()
    (target / DAG_FILE).write_text(render_files()[f"dags/{DAG_FILE}"], encoding="utf-8")
    folder = target / PIPELINES_FOLDER
    shutil.copytree(project.pipelines_folder, folder, ignore=ignored, copy_function=shutil.copyfile)


def build_bundle(
    project: Project,
    wheel: Path,
    target: Path,
    *,
    version: str = AIRFLOW_VERSION,
    python: str = PYTHON_VERSION,
) -> None:
    """Write the bundle of a project into `target`, in place of what was there."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with zipfile.ZipFile(target / "plugins.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in iter_plugin_files(project.root / "plugins", wheel):
            entry = zipfile.ZipInfo(name, ZIP_TIMESTAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    copy_dags(project, target / "dags")
    requirements = render_requirements(wheel, version=version, python=python)
    (target / "requirements.txt").write_text(requirements, encoding="utf-8")


@click.command()
@click.option("--version", default=AIRFLOW_VERSION, show_default=True, help="Airflow of the MWAA environment")
@click.option("--python", default=PYTHON_VERSION, show_default=True, help="its Python")
@click.option(
    "--wheel",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="the wheel of this package; default: the one in the project, its dist/ or wheels/",
)
@click.option("--target", type=click.Path(path_type=Path), help="folder of the bundle; default: dist/mwaa")
def command(version: str, python: str, wheel: Path | None, target: Path | None) -> None:
    """Write the bundle for Amazon MWAA: plugins.zip with the wheel in it, requirements.txt and dags/.

    \b
    batch-inference mwaa
    batch-inference mwaa --version 3.2.1 --wheel downloads/airflow_sagemaker_batch_inference-0.1.0-py3-none-any.whl
    """
    for name, value in (("--version", version), ("--python", python)):
        if not re.fullmatch(r"\d+(\.\d+){1,2}", value):
            raise click.UsageError(f"{name} is {value!r}; expected a version such as {AIRFLOW_VERSION}")
    project = find_project()
    target = target or project.root / "dist" / "mwaa"
    build_bundle(project, wheel or find_wheel(project.root), target, version=version, python=python)
    where = os.path.relpath(target)
    click.echo(
        f"{where}/ is ready for Airflow {version} on MWAA. Replace BUCKET with the environment's bucket:\n"
        f"  aws s3 sync {where}/dags s3://BUCKET/dags\n"
        f"  aws s3 cp {where}/plugins.zip s3://BUCKET/plugins.zip\n"
        f"  aws s3 cp {where}/requirements.txt s3://BUCKET/requirements.txt\n"
        "then update the environment with the new versions of plugins.zip and requirements.txt.\n"
        "requirements.txt replaces that of the environment: add its other lines first."
    )
