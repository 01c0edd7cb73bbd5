"""The cells of the matrix: an environment for each Airflow, a project that has the wheel, a run of the sample, pages.

The constraint files of Amazon MWAA are for Python 3.12 and are used with this Python; what they pin that has no release
for Python 3.11 is in `ONLY_ON_PYTHON_3_12`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pyarrow.parquet as pq

from batch_inference.cli.laptop.airflow_processes import AirflowProcesses, RestApi, find_free_ports
from batch_inference.cli.laptop.environment import (
    build_airflow_environment,
    create_s3_client,
    run_embedded_aws,
    start_migration,
    wait_for_migration,
)
from batch_inference.cli.laptop.run import run_dag
from batch_inference.cli.laptop.sample import create_buckets_and_role, upload_sample
from batch_inference.common.names import RunPaths
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.config.pipeline import Pipeline, load_pipeline
from tools.checkout import REPO

STATE_DIR = Path(os.environ.get("LAPTOP_STATE") or REPO / ".local").resolve()
UV = Path(sys.executable).with_name("uv")
CONSTRAINTS = REPO / "deploy" / "constraints"
ENVIRONMENTS = STATE_DIR / "matrix"
#: Pins of a constraint file that need Python 3.12, by Airflow's version.
ONLY_ON_PYTHON_3_12 = {"3.3.1": ("numpy", "scipy")}
#: The least that a company with Airflow and the Amazon provider has; the wheel brings the rest.
INSTALLED_BEFORE = ("apache-airflow=={version}", "apache-airflow-providers-amazon[aiobotocore]")
SAMPLE = REPO / "include" / "pipelines" / "abalone.yaml"
#: Time for the start of the api-server and all pages of a cell.
PAGES_SECONDS = 180
#: SHA-256 of the sample's rows, and their number, as this repository's own environment writes them.
SAMPLE_ROWS = 196_967
SAMPLE_SHA256 = "7f0489c8b9ea052868a5be81f0c4c35f6a41fe1a91839bc6f3406c9a52dc1734"


class CellError(Exception):
    """A cell does not hold; says what was run and how it ended."""


@dataclass(frozen=True)
class Cell:
    """An Airflow version and the file that pins what it is installed with."""

    version: str
    constraints: Path
    is_mwaa: bool = False


CELLS = (
    Cell("3.0.6", CONSTRAINTS / "mwaa" / "3.0.6" / "airflow_constraints.txt", is_mwaa=True),
    Cell("3.1.8", CONSTRAINTS / "3.1.8.txt"),
    Cell("3.2.1", CONSTRAINTS / "mwaa" / "3.2.1" / "airflow_constraints.txt", is_mwaa=True),
    Cell("3.2.2", CONSTRAINTS / "3.2.2.txt"),
    Cell("3.3.1", CONSTRAINTS / "mwaa" / "3.3.1" / "airflow_constraints.txt", is_mwaa=True),
    Cell("3.3.2", REPO / "requirements.txt"),
)

#: A project as the Astro command line lays it out: its own top-level `include`, and modules with common names.
PROJECT = {
    "include/__init__.py": '"""What the company shares between its DAGs."""\n\nCOMPANY = "Example"\n',
    "include/jobs.py": "BATCH = 7\n",
    "dags/janitor.py": (
        '"""A DAG of the company, with a file name that this package uses too."""\n\n'
        "from airflow.sdk import dag\nfrom include import COMPANY\nfrom include.jobs import BATCH\n\n\n"
        "@dag(dag_id='company_janitor', schedule=None, tags=[COMPANY, str(BATCH)])\ndef company(): ...\n\n\ncompany()\n"
    ),
    "dags/pipelines.py": (
        '"""A DAG of each pipeline file; Airflow searches files that hold the words airflow and dag."""\n\n'
        "from batch_inference import pipeline_dags\n\nglobals().update(pipeline_dags('pipelines'))\n"
    ),
    "plugins/errors.py": '"""Airflow registers it as the top-level module `errors`."""\n',
    "plugins/jobs.py": '"""And this one as `jobs`."""\n',
}


@dataclass
class Result:
    """What a cell gave: seconds by step, and figures of the sample's run."""

    version: str
    seconds: dict[str, float] = field(default_factory=dict)
    row_count: int = 0
    sha256: str = ""
    dags: tuple[str, ...] = ()

    @contextmanager
    def measure(self, step: str) -> Iterator[None]:
        """Add the time of the block."""
        started_at = time.monotonic()
        yield
        self.seconds[step] = time.monotonic() - started_at


def run(command: list[str | Path], **options: Any) -> str:
    """The output of a command. Raises CellError, with the end of its output, when it fails."""
    done = subprocess.run(
        list(map(str, command)),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        **options,
    )
    if done.returncode != 0:
        raise CellError(
            f"{' '.join(map(str, command[:8]))} ended with {done.returncode}:\n{done.stdout[-3000:]}"
        )
    return str(done.stdout)


def read_constraints(cell: Cell) -> str:
    """The cell's pins, without those that need Python 3.12."""
    lines = cell.constraints.read_text().splitlines()
    dropped = ONLY_ON_PYTHON_3_12.get(cell.version, ()) if sys.version_info < (3, 12) else ()
    return "\n".join(line for line in lines if line.partition("==")[0] not in dropped) + "\n"


def build_environment(cell: Cell, wheel: Path) -> Path:
    """The Python of an environment with the cell's Airflow and the wheel; kept by digest of pins and requirements.

    Raises:
        CellError: the wheel's requirements do not fit the pins, or `pip check` finds a conflict.
    """
    constraints = read_constraints(cell)
    requirements = [text.format(version=cell.version) for text in INSTALLED_BEFORE]
    content = json.dumps([constraints, requirements, read_requirements(wheel), sys.version])
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    folder = ENVIRONMENTS / f"{cell.version}-{digest}"
    python = folder / "bin" / "python"
    pins = ENVIRONMENTS / f"{cell.version}-{digest}.txt"
    if not pins.exists():
        shutil.rmtree(folder, ignore_errors=True)
        run([UV, "venv", "--quiet", "--python", sys.executable, folder])
        partial = pins.with_suffix(".part")
        partial.write_text(constraints)
        run(
            [
                UV,
                "pip",
                "install",
                "--quiet",
                "--python",
                python,
                "--constraint",
                partial,
                *requirements,
                wheel,
            ]
        )
        partial.rename(pins)
    run([UV, "pip", "install", "--quiet", "--python", python, "--no-deps", "--reinstall", wheel])
    run([UV, "pip", "check", "--quiet", "--python", python])
    return python


def read_requirements(wheel: Path) -> list[str]:
    """The lines `Requires-Dist` of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return sorted(re.findall(r"^Requires-Dist: (.+)$", archive.read(name).decode(), re.MULTILINE))


def lay_out_project(root: Path) -> None:
    """Write the company's project, with the sample's pipeline file beside its DAG file."""
    shutil.rmtree(root, ignore_errors=True)
    for name, content in PROJECT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "dags" / "pipelines").mkdir()
    shutil.copy(SAMPLE, root / "dags" / "pipelines")


def run_cell(cell: Cell, wheel: Path, state: Path) -> Result:
    """Install the wheel beside the cell's Airflow, run the sample to its end on the embedded AWS, and read its rows.

    The embedded AWS runs from this environment; the cell has its address only.

    Raises:
        CellError: a step fails, a DAG file has an import error, or the run does not end in success.
        LaptopError: Airflow or the embedded AWS does not start.
    """
    result = Result(cell.version)
    with result.measure("environment"):
        python = build_environment(cell, wheel)
    root = state / "project"
    lay_out_project(root)
    pipeline = load_pipeline(SAMPLE)
    for folder in ("aws", "airflow"):
        shutil.rmtree(state / folder, ignore_errors=True)
    with run_embedded_aws(state / "aws") as endpoint:
        environment = build_airflow_environment(state / "airflow", endpoint, root=root)
        environment["PYTHONPATH"] = str(root)
        with result.measure("database"):
            migration = start_migration(environment, python=str(python))
            client = create_s3_client(endpoint)
            create_buckets_and_role(client, pipeline)
            upload_sample(client, pipeline, STATE_DIR / "sample", with_data=True)
            wait_for_migration(migration, environment)
        with result.measure("sample"):
            log = state / "airflow.log"
            ended = run_dag(pipeline.name, {}, environment, log, str(python))
        if ended.state != "success" or ended.run_id is None or ended.import_errors:
            raise CellError(
                f"the run of the sample ended as {ended.state}: {ended.errors}; import errors: {ended.import_errors}\n"
                f"{log.read_text(errors='replace')[-6000:]}"
            )
        with result.measure("pages"):
            check_pages(python, environment, pipeline.name, ended.run_id)
        result.dags = tuple(ended.dags)
        result.row_count, result.sha256 = read_rows(client, pipeline, ended.run_id, state)
    return result


def check_pages(python: Path, environment: Mapping[str, str], dag_id: str, run_id: str) -> None:
    """Read the pages of the run, as an administrator, from the cell's api-server.

    Raises:
        CellError: a page has an error, or not what it should show; carries the end of the api-server's log.
        LaptopError: a process of Airflow ends.
    """
    (port,) = find_free_ports(1)
    airflow = AirflowProcesses(environment, api_port=port, python=str(python))
    # The run did without the dag-processor, which writes the DAG to the database.
    airflow.start("api-server", "dag-processor")
    try:
        deadline = time.monotonic() + PAGES_SECONDS
        for page, words in {
            "": (dag_id, "Last 30 runs"),
            f"runs?{urlencode({'dag_id': dag_id})}": ("published after",),
            f"run?{urlencode({'dag_id': dag_id, 'run_id': run_id})}": (
                "records in",
                "Timeline",
                "Why this size",
            ),
            f"task?{urlencode({'dag_id': dag_id, 'run_id': run_id, 'task_id': 'transform'})}": (
                "What this task does",
            ),
            "costs": (dag_id, f"{SAMPLE_ROWS:,}</strong> records"),
        }.items():
            text = "no answer"
            while (missing := [each for each in words if each not in text]) or "data-loading" in text:
                if time.monotonic() > deadline:
                    log = airflow.get_log_path("api-server").read_text(errors="replace")[-3000:]
                    raise CellError(f"/batch-inference/{page} lacks {missing} in {text[:2000]}\n{log}")
                airflow.raise_if_dead()
                time.sleep(0.5)
                text = _read_page(airflow.api, page)
    finally:
        airflow.stop()


def _read_page(api: RestApi, page: str) -> str:
    """A page's HTML, or why there is none yet."""
    try:
        headers = {"Authorization": f"Bearer {api.bearer_token}"}
        with urlopen(Request(f"{api.url}/batch-inference/{page}", headers=headers), timeout=30) as answer:
            return unescape(answer.read().decode())
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def read_rows(client: Any, pipeline: Pipeline, run_id: str, state: Path) -> tuple[int, str]:
    """The number of rows that a run published, and the SHA-256 of their JSON lines, sorted."""
    paths = RunPaths.from_run_id(work=pipeline.work, pipeline=pipeline.name, run_id=run_id)
    plan = _read_json(client, paths.plan)
    manifest = _read_json(client, f"{plan['output_uri']}_manifest.json")
    lines: list[str] = []
    for number, file in enumerate(manifest["files"]):
        part = state / f"part-{number}.parquet"
        bucket, key = split_s3_uri(file["uri"])
        client.download_file(bucket, key, str(part))
        lines += [json.dumps(row, default=str) for row in pq.read_table(part).to_pylist()]
        part.unlink()
    return len(lines), hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _read_json(client: Any, uri: str) -> Any:
    bucket, key = split_s3_uri(uri)
    return json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())


def check_rows(result: Result) -> None:
    """Raise CellError unless the rows are the sample's."""
    if (result.row_count, result.sha256) != (SAMPLE_ROWS, SAMPLE_SHA256):
        found, wanted = (
            f"{result.row_count:,} rows, {result.sha256}",
            f"{SAMPLE_ROWS:,} rows, {SAMPLE_SHA256}",
        )
        raise CellError(f"the sample's rows differ with Airflow {result.version}: {found}; expected {wanted}")


def run_faults(python: Path, state: Path) -> str:
    """Run the short fault suite, on SQLite, and the late run, with the Airflow of a cell; how many cases passed, and in
    what time.

    Raises:
        CellError: a case failed, or none ran.
    """
    command: list[str | Path] = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [
        f"--basetemp={state / 'faults'}",
        "tests/faults/test_on_sqlite.py",
        "tests/faults/test_late_run.py",
    ]
    output = run(command, cwd=REPO, env={**os.environ, "FAULTS_PYTHON": str(python)})
    # Warnings of the interpreter's shutdown may follow.
    closing = re.findall(r"^\d+ passed.* in .*$", output, re.MULTILINE)
    if not closing:
        raise CellError(f"the fault suite passed no case:\n{output[-3000:]}")
    return str(closing[-1])
