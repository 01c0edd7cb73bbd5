"""The MWAA bundle, unpacked and installed as MWAA does it: an AIRFLOW_HOME of its own, and no PYTHONPATH.

Its Airflow is the newest that MWAA offers, with the constraints of its image, which has Python 3.12.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas
import pytest

from batch_inference.cli.aws.mwaa import (
    AIRFLOW_VERSION,
    PLUGINS_FOLDER,
    WHEEL_PATTERN,
    BundleError,
    build_bundle,
    find_wheel,
    render_requirements,
)
from batch_inference.cli.laptop.environment import (
    CREDENTIALS,
    build_aws_connection,
    create_s3_client,
    run_embedded_aws,
)
from batch_inference.cli.laptop.sample import create_buckets_and_role, make_sample, upload_sample
from batch_inference.cli.main import main
from batch_inference.cli.project import find_project
from batch_inference.config.pipeline import load_pipeline
from tests.end_to_end.directly import input_lines
from tests.preloading import copy_local_settings
from tools.checkout import REPO
from tools.wheel import UV, build_wheel

ROWS = 2_000
CONSTRAINTS = REPO / "deploy" / "constraints" / "mwaa" / AIRFLOW_VERSION
OUTPUT = "mwaa-output/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` writes."""
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def bundle(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make mwaa` writes."""
    target = tmp_path_factory.mktemp("dist") / "mwaa"
    build_bundle(find_project(REPO), wheel, target)
    return target


@pytest.fixture(scope="module")
def home(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An AIRFLOW_HOME as MWAA lays it out."""
    home = tmp_path_factory.mktemp("mwaa") / "usr" / "local" / "airflow"
    shutil.copytree(bundle / "dags", home / "dags")
    with zipfile.ZipFile(bundle / "plugins.zip") as archive:
        archive.extractall(home / "plugins")
    return home


@pytest.fixture(scope="module")
def python(home: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an image: Airflow, then requirements.txt with what may not be overridden as constraints."""
    folder = tmp_path_factory.mktemp("image")
    python = folder / "venv" / "bin" / "python"
    requirements = (bundle / "requirements.txt").read_text()
    url = re.search(r'"(https://\S+)"', requirements)
    assert url is not None
    requirements = requirements.replace(url[1], str(CONSTRAINTS / "airflow_constraints.txt"))
    (folder / "requirements.txt").write_text(requirements.replace(PLUGINS_FOLDER, str(home / "plugins")))
    constraints = ["--constraint", str(CONSTRAINTS / "essential_constraints.txt")]
    image = [
        "--constraint",
        str(CONSTRAINTS / "airflow_constraints.txt"),
        f"apache-airflow[amazon]=={AIRFLOW_VERSION}",
    ]
    for arguments in (
        ["venv", "--python", sys.executable, str(folder / "venv")],
        ["pip", "install", "--python", str(python), *image],
        ["pip", "install", "--python", str(python), *constraints, "-r", str(folder / "requirements.txt")],
        ["pip", "check", "--python", str(python)],
    ):
        subprocess.run([str(UV), "--quiet", *arguments], check=True)
    return python


def run_python(python: Path, home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A fresh Python with MWAA's environment and nothing of this process's; it starts in an empty folder."""
    elsewhere = home.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(elsewhere),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        **more,
    }
    return subprocess.run(
        [str(python), *arguments],
        env=environment,
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def parsed(python: Path, home: Path) -> dict[str, Any]:
    """What Airflow finds in that home."""
    done = run_python(python, home, str(Path(__file__).with_name("parse_dags.py")))
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_every_dag_parses(parsed: dict[str, Any]) -> None:
    """The sample's and the janitor, from one DAG file."""
    assert parsed["airflow"] == AIRFLOW_VERSION
    assert parsed["import_errors"] == {}
    assert {"abalone", "janitor"} <= set(parsed["dags"])
    assert {"plan", "preprocess", "transform", "join", "publish", "clean_up"} <= set(
        parsed["dags"]["abalone"]
    )


def test_the_code_is_the_installed_one_and_the_plugin_is_loaded_once(
    parsed: dict[str, Any], python: Path
) -> None:
    """Nothing is found in this checkout by chance."""
    for name in ("batch_inference", "sagemaker_jobs", "batch_inference.dag.scoring_dag"):
        assert Path(parsed["files"][name]).is_relative_to(python.parent.parent), parsed["files"][name]
    assert parsed["plugin_errors"] == {}
    assert parsed["plugins"].count("batch_inference") == 1


def test_plugins_zip_is_the_wheel(bundle: Path, wheel: Path) -> None:
    """This checkout has no plugins but those in the wheel."""
    archive = zipfile.ZipFile(bundle / "plugins.zip")
    assert sorted(archive.namelist()) == [".airflowignore", wheel.name]
    assert archive.read(wheel.name) == wheel.read_bytes()
    names = {path.relative_to(bundle / "dags").as_posix() for path in (bundle / "dags").rglob("*.*")}
    assert {"pipelines.py", "pipelines/abalone.yaml"} <= names


def test_the_projects_own_plugins_and_dags_travel_too(wheel: Path, tmp_path: Path) -> None:
    """A project of `init`: the DAG files as they are. The same files make the same zip."""
    assert main(["init", str(tmp_path / "mine")]) == 0
    for name in ("plugins/own/lib.py", "dags/own.py", "plugins/own/__pycache__/lib.pyc"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text("x = 1\n")
    project, made = find_project(tmp_path / "mine"), []
    for change in ("x = 1\n", "x = 1\n", "x = 2\n"):
        (project.root / "plugins" / "own" / "lib.py").write_text(change)
        build_bundle(project, wheel, tmp_path / "target")
        made.append((tmp_path / "target" / "plugins.zip").read_bytes())
    assert made[0] == made[1] != made[2]
    assert zipfile.ZipFile(tmp_path / "target" / "plugins.zip").namelist() == [wheel.name, "own/lib.py"]
    for name in ("own.py", "pipelines.py", "pipelines/_defaults.yaml"):
        assert (tmp_path / "target" / "dags" / name).read_bytes() == (project.dags_folder / name).read_bytes()


def test_requirements_are_the_constraints_and_the_wheel(bundle: Path, wheel: Path) -> None:
    """By its path: no index is asked for the package's name."""
    assert (bundle / "requirements.txt").read_text().splitlines() == [
        '--constraint "https://raw.githubusercontent.com/apache/airflow/constraints-3.0.6/constraints-3.12.txt"',
        f"/usr/local/airflow/plugins/{wheel.name}",
    ]
    assert "constraints-3.2.1/constraints-3.12.txt" in render_requirements(
        wheel, version="3.2.1", python="3.12"
    )


def test_a_wheel_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="found no airflow_sagemaker_batch_inference-"):
        find_wheel(tmp_path)
    (tmp_path / "dist").mkdir()
    wheel = tmp_path / "dist" / WHEEL_PATTERN.replace("*", "py3-none-any")
    wheel.touch()
    assert find_wheel(tmp_path) == wheel


@pytest.mark.end_to_end
@pytest.mark.timeout(600)
def test_the_unpacked_dag_scores_the_sample(python: Path, home: Path, tmp_path: Path) -> None:
    """Started with Airflow's own command, in a process without PYTHONPATH."""
    copy_local_settings(home)
    make_sample(tmp_path, rows=ROWS, seed=3)
    pipeline = load_pipeline(home / "dags" / "pipelines" / "abalone.yaml")
    with run_embedded_aws(tmp_path / "aws") as endpoint:
        client = create_s3_client(endpoint)
        create_buckets_and_role(client, pipeline)
        upload_sample(client, pipeline, tmp_path)
        environment = {**CREDENTIALS, "AIRFLOW_CONN_AWS_DEFAULT": build_aws_connection(endpoint)}
        migrated = run_python(python, home, "-m", "airflow", "db", "migrate", **environment)
        assert migrated.returncode == 0, migrated.stderr[-2000:]
        conf = json.dumps(
            {"output_uri": f"s3://batch-inference-sample/{OUTPUT}", "transform_instance_count": 1}
        )
        done = run_python(
            python, home, "-m", "airflow", "dags", "test", "abalone", "--conf", conf, **environment
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        manifest = json.loads(read(client, f"{OUTPUT}_manifest.json"))
        rows = sum(
            len(
                pandas.read_parquet(
                    io.BytesIO(read(client, file["uri"].removeprefix("s3://batch-inference-sample/")))
                )
            )
            for file in manifest["files"]
        )
    records = manifest["records"]
    assert records["in"] == len(input_lines(tmp_path / "data"))
    assert rows == records["scored"] == records["in"] - records["rejected"] > ROWS / 2


def read(client: Any, key: str) -> bytes:
    """One object of the sample's bucket."""
    content: bytes = client.get_object(Bucket="batch-inference-sample", Key=key)["Body"].read()
    return content
