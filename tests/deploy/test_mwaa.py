"""The MWAA bundle, unpacked as MWAA does it: an AIRFLOW_HOME of its own, and no PYTHONPATH."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas
import pytest

from batch_inference.cli.laptop.environment import (
    CREDENTIALS,
    build_aws_connection,
    create_s3_client,
    run_embedded_aws,
)
from batch_inference.cli.laptop.sample import create_buckets, make_sample, upload_sample
from batch_inference.cli.mwaa import BundleError, build_bundle, render_requirements
from batch_inference.config.pipeline import load_pipeline
from tests.end_to_end.directly import input_lines
from tests.preloading import copy_local_settings
from tools.checkout import REPO

ROWS = 2_000
OUTPUT = "mwaa-output/"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make mwaa` writes."""
    target = tmp_path_factory.mktemp("dist") / "mwaa"
    build_bundle(REPO, target)
    return target


@pytest.fixture(scope="module")
def home(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An AIRFLOW_HOME as MWAA lays it out."""
    home = tmp_path_factory.mktemp("mwaa") / "usr" / "local" / "airflow"
    shutil.copytree(bundle / "dags", home / "dags")
    with zipfile.ZipFile(bundle / "plugins.zip") as archive:
        archive.extractall(home / "plugins")
    return home


def run_python(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
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
        [sys.executable, *arguments],
        env=environment,
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def parsed(home: Path) -> dict[str, Any]:
    """What Airflow finds in that home."""
    done = run_python(home, str(Path(__file__).with_name("parse_dags.py")))
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_every_dag_parses(parsed: dict[str, Any]) -> None:
    """Each file of dags/ gives a DAG, and none an error."""
    assert parsed["import_errors"] == {}
    assert len(parsed["dags"]) == len(list((REPO / "dags").glob("*.py")))
    assert {"plan", "preprocess", "transform", "join", "publish", "clean_up"} <= set(
        parsed["dags"]["abalone"]
    )


def test_the_code_is_the_unpacked_one(parsed: dict[str, Any], home: Path) -> None:
    """Nothing is found in this checkout by chance."""
    files = {name: Path(path) for name, path in parsed["files"].items()}
    for name in ("batch_inference", "sagemaker_jobs", "batch_inference.dag.scoring_dag"):
        assert files[name].is_relative_to(home / "plugins"), files[name]
    assert not files["requests"].is_relative_to(home)


def test_airflow_loads_the_plugins_and_executes_nothing_of_the_package(parsed: dict[str, Any]) -> None:
    """A file of it that was executed as a plugin would take the place of a module of its name, `requests` say."""
    assert parsed["plugin_errors"] == {}
    assert "batch_inference" in parsed["plugins"]
    assert parsed["shadowed"] == []


def test_without_the_ignore_file_modules_would_be_shadowed(home: Path, tmp_path: Path) -> None:
    """So the test above can fail."""
    other = tmp_path / "airflow"
    shutil.copytree(home, other)
    (other / "plugins" / ".airflowignore").write_text("sagemaker_jobs/\n")
    done = run_python(other, str(Path(__file__).with_name("parse_dags.py")))
    shadowed = (
        json.loads(done.stdout.strip().splitlines()[-1])["shadowed"] if done.returncode == 0 else ["failed"]
    )
    assert shadowed != []


def test_laptop_parts_stay_behind(bundle: Path) -> None:
    """No embedded AWS, no generator of samples, no caches; what the processing job imports is there."""
    names = zipfile.ZipFile(bundle / "plugins.zip").namelist()
    assert len(names) == len(set(names))
    assert not [name for name in names if "local_aws" in name or "samples" in name or "__pycache__" in name]
    assert {
        "batch_inference/__init__.py",
        "batch_inference/jobs/preprocess/preprocess_job.py",
        "pipelines/abalone.yaml",
    } <= set(names)
    assert {"batch_inference_plugin.py", ".airflowignore", "sagemaker_jobs/operators.py"} <= set(names)


def test_what_the_pages_are_made_of_travels_with_them(bundle: Path) -> None:
    """Templates, style sheets and scripts lie beside the code that reads them."""
    names = set(zipfile.ZipFile(bundle / "plugins.zip").namelist())
    for folder, root in (
        ("batch_runs", REPO / "plugins"),
        ("batch_inference/reporting/page", REPO / "include"),
    ):
        assets = {
            path.relative_to(root).as_posix()
            for path in (root / folder).rglob("*")
            if path.suffix in {".j2", ".css", ".js"}
        }
        assert len(assets) >= 4
        assert assets <= names


def test_the_same_code_makes_the_same_file(tmp_path: Path) -> None:
    """Byte for byte, whenever and wherever it was checked out; a changed byte changes it."""
    made = []
    for name in ("one", "two"):
        root = tmp_path / name
        for folder in ("dags", "plugins", "include/batch_inference"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(
                tmp_path / "one" / folder if made else REPO / folder, root / folder, ignore=ignored
            )
        shutil.copy(REPO / "requirements.in", root)
        for path in root.rglob("*.py"):
            os.utime(path, (len(made) * 1_000_000,) * 2)
            path.chmod(0o600 if made else 0o644)
        build_bundle(root, root / "dist")
        made.append((root / "dist" / "plugins.zip").read_bytes())
    assert made[0] == made[1]
    with (root / "include" / "batch_inference" / "planning" / "plan.py").open("a") as changed:
        changed.write("\n")
    build_bundle(root, root / "dist")
    assert (root / "dist" / "plugins.zip").read_bytes() != made[1]


def test_requirements_begin_with_the_constraints_and_pin_nothing(bundle: Path) -> None:
    """MWAA has Airflow already, and the versions are those of its constraints."""
    lines = (bundle / "requirements.txt").read_text().splitlines()
    assert lines[0] == (
        '--constraint "https://raw.githubusercontent.com/apache/airflow/constraints-3.3.1/constraints-3.12.txt"'
    )
    assert "apache-airflow" not in lines
    assert "apache-airflow-providers-amazon[aiobotocore]" in lines
    assert not [line for line in lines[1:] if "=" in line]
    text = "apache-airflow==3.3.2\n# a comment\npandas >= 2 ; python_version > '3'\nx[a,b]==1 # why\n"
    assert render_requirements(text, version="3.2.1", python="3.12").splitlines()[1:] == ["pandas", "x[a,b]"]


def test_folders_of_ones_own_travel_too_and_are_no_plugins(tmp_path: Path) -> None:
    """Whatever they are called; only the sample's generator stays."""
    for file in (
        "include/pipelines/samples/churn.py",
        "include/shared/lib.py",
        "include/batch_inference/samples/x.py",
    ):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    for folder in ("dags", "plugins"):
        (tmp_path / folder).mkdir()
    (tmp_path / "plugins" / ".airflowignore").write_text("sagemaker_jobs/\n")
    (tmp_path / "requirements.in").touch()
    build_bundle(tmp_path, tmp_path / "target")
    archive = zipfile.ZipFile(tmp_path / "target" / "plugins.zip")
    assert archive.namelist() == [".airflowignore", "pipelines/samples/churn.py", "shared/lib.py"]
    assert {"batch_inference/", "pipelines/", "shared/"} <= set(
        archive.read(".airflowignore").decode().splitlines()
    )


@pytest.mark.parametrize("name", ["batch_inference", "pipelines", "shared"])
def test_a_plugin_of_the_name_of_what_is_added_is_refused(tmp_path: Path, name: str) -> None:
    """It would be overwritten without a word."""
    for folder in (f"plugins/{name}", f"include/{name}", "dags"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(BundleError, match="rename it"):
        build_bundle(tmp_path, tmp_path / "target")


@pytest.mark.end_to_end
@pytest.mark.timeout(600)
def test_the_unpacked_dag_scores_the_sample(home: Path, tmp_path: Path) -> None:
    """Started with Airflow's own command, in a process without PYTHONPATH."""
    copy_local_settings(home)
    make_sample(tmp_path, rows=ROWS, seed=3)
    pipeline = load_pipeline(home / "plugins" / "pipelines" / "abalone.yaml")
    with run_embedded_aws(tmp_path / "aws") as endpoint:
        client = create_s3_client(endpoint)
        create_buckets(client, pipeline)
        upload_sample(client, pipeline, tmp_path)
        environment = {**CREDENTIALS, "AIRFLOW_CONN_AWS_DEFAULT": build_aws_connection(endpoint)}
        migrated = run_python(home, "-m", "airflow", "db", "migrate", **environment)
        assert migrated.returncode == 0, migrated.stderr[-2000:]
        conf = json.dumps(
            {"output_uri": f"s3://batch-inference-sample/{OUTPUT}", "transform_instance_count": 1}
        )
        done = run_python(home, "-m", "airflow", "dags", "test", "abalone", "--conf", conf, **environment)
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
