"""`batch-inference mwaa`: builds the bundle for Amazon MWAA: `plugins.zip`, `requirements.txt` and `dags/`.

MWAA unpacks plugins.zip into `plugins/` of its AIRFLOW_HOME and forbids PYTHONPATH, so it contains what lies in
`include/`: Airflow puts `plugins/` on the path of all of its processes. The embedded AWS and the sample's generator are
left out.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click

from batch_inference.cli.project import find_project
from batch_inference.common.errors import BatchInferenceError

# The newest known MWAA image of AWS, and its Python.
AIRFLOW_VERSION, PYTHON_VERSION = "3.3.1", "3.12"
CONSTRAINTS_URL = "https://raw.githubusercontent.com/apache/airflow"
#: The folder that only a laptop needs, below include/.
EXCLUDED_FOLDER = Path("batch_inference/samples")
EXCLUDED_NAMES = {"__pycache__", "ruff.toml"}
# One fixed moment, the earliest that a zip can hold: the same code makes the same file, so that MWAA's version of it
# changes only when the code does.
ZIP_TIMESTAMP = (1980, 1, 1, 0, 0, 0)


class BundleError(BatchInferenceError):
    """The bundle cannot be built; the message says why."""


def iter_deployed_files(folder: Path) -> Iterator[Path]:
    """The files to deploy, in order, as paths relative to `folder`."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not EXCLUDED_NAMES.intersection(relative.parts) and path.suffix != ".pyc":
            yield relative


def iter_plugin_files(root: Path) -> Iterator[tuple[str, bytes]]:
    """Name within plugins.zip and content of each file. Raises BundleError when two claim one name."""
    plugins, include = root / "plugins", root / "include"
    names = sorted(path.name for path in include.iterdir() if path.name not in EXCLUDED_NAMES)
    for name in names:
        if (plugins / name).exists():
            raise BundleError(
                f"{plugins / name} exists, but plugins.zip needs this path for include/{name}; rename it"
            )
    for relative in iter_deployed_files(plugins):
        content = (plugins / relative).read_bytes()
        if relative.as_posix() == ".airflowignore":
            # Airflow executes each .py file below plugins/ as a plugin, unless this hides it.
            hidden = [f"{name}/" if (include / name).is_dir() else name for name in names]
            lines = ["# Imported by name: plugins/ is on the path.", *hidden]
            content = content.rstrip() + b"\n" + "".join(f"{line}\n" for line in lines).encode()
        yield relative.as_posix(), content
    for relative in iter_deployed_files(include):
        if EXCLUDED_FOLDER not in relative.parents:
            yield relative.as_posix(), (include / relative).read_bytes()


def render_requirements(source: str, *, version: str, python: str) -> str:
    """MWAA's requirements.txt from the text of requirements.in.

    The packages have no versions: those come from the constraints of MWAA's Airflow. Airflow itself is omitted, as MWAA
    installs it.
    """
    lines = (line.split("#")[0].strip() for line in source.splitlines())
    names = [re.split(r"[=<>!~; ]", line)[0] for line in lines if line]
    wanted = [name for name in names if name != "apache-airflow"]
    constraints = f"{CONSTRAINTS_URL}/constraints-{version}/constraints-{python}.txt"
    return "\n".join([f'--constraint "{constraints}"', *wanted, ""])


def build_bundle(
    root: Path, target: Path, *, version: str = AIRFLOW_VERSION, python: str = PYTHON_VERSION
) -> None:
    """Write the bundle of the checkout `root` into `target`, in place of what was there.

    Raises:
        BundleError: a path of the checkout has no place in the bundle.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with zipfile.ZipFile(target / "plugins.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in iter_plugin_files(root):
            entry = zipfile.ZipInfo(name, ZIP_TIMESTAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    ignore = shutil.ignore_patterns(*EXCLUDED_NAMES, "*.pyc")
    shutil.copytree(root / "dags", target / "dags", ignore=ignore, copy_function=shutil.copyfile)
    text = render_requirements((root / "requirements.in").read_text(), version=version, python=python)
    (target / "requirements.txt").write_text(text)


@click.command()
@click.option(
    "--version", default=AIRFLOW_VERSION, show_default=True, help="Airflow version of the MWAA environment"
)
@click.option("--python", default=PYTHON_VERSION, show_default=True, help="its Python")
@click.option(
    "--target",
    type=click.Path(path_type=Path),
    help="folder of the bundle; default: dist/mwaa",
)
def command(version: str, python: str, target: Path | None) -> None:
    """Write the bundle for Amazon MWAA: plugins.zip, requirements.txt and dags/."""
    for name, value in (("--version", version), ("--python", python)):
        if not re.fullmatch(r"\d+(\.\d+){1,2}", value):
            raise click.UsageError(f"{name} is {value!r}; expected a version such as {AIRFLOW_VERSION}")
    root = find_project().root
    target = target or root / "dist" / "mwaa"
    build_bundle(root, target, version=version, python=python)
    where = os.path.relpath(target)
    click.echo(
        f"{where}/ is ready for Airflow {version} on MWAA. Replace BUCKET with the environment's bucket:\n"
        f"  aws s3 sync {where}/dags s3://BUCKET/dags\n"
        f"  aws s3 cp {where}/plugins.zip s3://BUCKET/plugins.zip\n"
        f"  aws s3 cp {where}/requirements.txt s3://BUCKET/requirements.txt\n"
        "then update the environment with the new versions of plugins.zip and requirements.txt.\n"
        "Both files replace those of the environment: if it already has plugins or requirements, merge them first."
    )
