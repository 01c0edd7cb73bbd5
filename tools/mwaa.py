"""`make mwaa`: what Amazon MWAA takes, in `dist/mwaa/`: `plugins.zip`, `requirements.txt` and `dags/`.

MWAA unpacks plugins.zip into `plugins/` of its AIRFLOW_HOME and forbids PYTHONPATH, so `include/` travels inside it:
Airflow puts `plugins/` on the path of all of its processes. The embedded AWS and the sample's generator stay behind.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tools.laptop import REPO

TARGET = REPO / "dist" / "mwaa"
# The newest of AWS's MWAA images that is known to us, and the Python that it brings.
VERSION, PYTHON = "3.3.1", "3.12"
CONSTRAINTS = (
    "https://raw.githubusercontent.com/apache/airflow/constraints-{version}/constraints-{python}.txt"
)
#: Parts of include/ that only a laptop needs.
LEFT_OUT = {"local_aws", "samples"}
NOT_DEPLOYED = {"__pycache__", "ruff.toml"}
#: Airflow executes each .py file below plugins/ as a plugin, unless this hides it.
IGNORED = "# include/ is imported by name: plugins/ is on the path.\ninclude/\n"
# One fixed moment, the earliest that a zip can hold: the same code makes the same file, so that MWAA's version of it
# changes only when the code does.
MOMENT = (1980, 1, 1, 0, 0, 0)


class BundleError(Exception):
    """The bundle cannot be made; the message says why."""


def files_below(folder: Path) -> Iterator[Path]:
    """The files to deploy, in order, as paths relative to `folder`."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not NOT_DEPLOYED.intersection(relative.parts) and path.suffix != ".pyc":
            yield relative


def plugin_files(root: Path) -> Iterator[tuple[str, bytes]]:
    """Name within plugins.zip and content of each file. Raises BundleError when two claim one name."""
    plugins, include = root / "plugins", root / "include"
    if (plugins / "include").exists():
        raise BundleError(
            f"{plugins / 'include'} exists, and include/ needs its place in plugins.zip; rename it"
        )
    for relative in files_below(plugins):
        content = (plugins / relative).read_bytes()
        if relative.as_posix() == ".airflowignore":
            content = content.rstrip() + b"\n" + IGNORED.encode()
        yield relative.as_posix(), content
    for relative in files_below(include):
        if relative.parts[0] not in LEFT_OUT:
            yield f"include/{relative.as_posix()}", (include / relative).read_bytes()


def requirements(source: str, *, version: str, python: str) -> str:
    """MWAA's requirements.txt from the text of requirements.in.

    The packages are named without versions, since those come from the constraints of MWAA's Airflow, and Airflow itself
    is there already.
    """
    lines = (line.split("#")[0].strip() for line in source.splitlines())
    names = [re.split(r"[=<>!~; ]", line)[0] for line in lines if line]
    wanted = [name for name in names if name != "apache-airflow"]
    return "\n".join([f'--constraint "{CONSTRAINTS.format(version=version, python=python)}"', *wanted]) + "\n"


def build(root: Path, target: Path, *, version: str = VERSION, python: str = PYTHON) -> None:
    """Write the bundle of the checkout `root` into `target`, in place of what was there.

    Raises:
        BundleError: the checkout holds something that cannot travel.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with zipfile.ZipFile(target / "plugins.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in plugin_files(root):
            entry = zipfile.ZipInfo(name, MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    for relative in files_below(root / "dags"):
        copy = target / "dags" / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / "dags" / relative, copy)
    text = requirements((root / "requirements.in").read_text(), version=version, python=python)
    (target / "requirements.txt").write_text(text)


def main() -> int:
    """Build, and say what to do with it; the exit status."""
    parser = argparse.ArgumentParser(prog="make mwaa", description=__doc__)
    parser.add_argument(
        "--version", default=VERSION, help=f"Airflow version of the MWAA environment ({VERSION})"
    )
    parser.add_argument("--python", default=PYTHON, help=f"its Python ({PYTHON})")
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()
    for name, value in (("--version", arguments.version), ("--python", arguments.python)):
        if not re.fullmatch(r"\d+(\.\d+){1,2}", value):
            print(f"make mwaa: {name} is {value!r}; allowed is a version such as {VERSION}", file=sys.stderr)
            return 2
    try:
        build(REPO, arguments.target, version=arguments.version, python=arguments.python)
    except BundleError as error:
        print(f"make mwaa: {error}", file=sys.stderr)
        return 1
    where = os.path.relpath(arguments.target)
    print(
        f"{where}/ is ready for Airflow {arguments.version} on MWAA. With BUCKET the environment's own:\n"
        f"  aws s3 sync {where}/dags s3://BUCKET/dags\n"
        f"  aws s3 cp {where}/plugins.zip s3://BUCKET/plugins.zip\n"
        f"  aws s3 cp {where}/requirements.txt s3://BUCKET/requirements.txt\n"
        "then update the environment with the new versions of plugins.zip and requirements.txt.\n"
        "These two replace the environment's own: if it has plugins or requirements already, put them together first."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
