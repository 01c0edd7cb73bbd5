"""Write the locks (deployment, development, image) from their `.in` files, for Python 3.11 and 3.12 alike."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")
RUNTIME_LOCK, DEVELOPMENT_LOCK, IMAGE_LOCK = "requirements", "requirements-dev", "deploy/requirements"


def compile_lock(name: str, output: Path, *, constraint: Path | None = None) -> None:
    """Resolve `<name>.in` into `output`, keeping the versions `output` already names where they still fit.

    Each version has the SHA-256 of its files as the package index serves them, which installing checks.

    Raises:
        subprocess.CalledProcessError: when uv finds no set of versions that fits.
    """
    command = [str(UV), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", f"{name}.in"]
    command += ["--no-header", "--no-emit-index-url", "--no-emit-find-links", "--generate-hashes"]
    command += ["--output-file", str(output)]
    if constraint is not None:
        command += ["--constraint", str(constraint), "--no-annotate"]
    subprocess.run(command, cwd=REPO, check=True)


def write_locks(folder: Path = REPO) -> None:
    """Write the locks into `folder`; the runtime lock constrains the other two."""
    runtime = folder / f"{RUNTIME_LOCK}.txt"
    compile_lock(RUNTIME_LOCK, runtime)
    compile_lock(DEVELOPMENT_LOCK, folder / f"{DEVELOPMENT_LOCK}.txt", constraint=runtime)
    (folder / "deploy").mkdir(exist_ok=True)
    compile_lock(IMAGE_LOCK, folder / f"{IMAGE_LOCK}.txt", constraint=runtime)


#: Airflow's versions that are locked beside the one of `requirements.in`, each with the day after which no package
#: counts: some days after its release.
AIRFLOW_LOCKS_FOLDER = REPO / "deploy" / "constraints"
AIRFLOW_LOCKS = {"3.1.8": "2026-03-14", "3.2.2": "2026-06-01"}


def lock_airflow(version: str, folder: Path = AIRFLOW_LOCKS_FOLDER) -> Path:
    """Lock what `requirements.in` names with another Airflow, as the package index was then; returns the file.

    Raises:
        subprocess.CalledProcessError: when uv finds no set of versions that fits.
    """
    names = [line.partition("==")[0] for line in (REPO / f"{RUNTIME_LOCK}.in").read_text().splitlines()]
    lines = [f"apache-airflow=={version}" if name == "apache-airflow" else name for name in names]
    output = folder / f"{version}.txt"
    command = [str(UV), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "-"]
    command += [
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--generate-hashes",
    ]
    command += ["--exclude-newer", AIRFLOW_LOCKS[version], "--output-file", str(output)]
    subprocess.run(
        command, cwd=REPO, check=True, text=True, input="\n".join(lines), stdout=subprocess.DEVNULL
    )
    return output


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        lock_airflow(argument)
    if not sys.argv[1:]:
        write_locks()
