"""Give Airflow a home of its own, before anything imports it.

Airflow reads its configuration when it is first imported, so the environment is set while pytest loads this
file: no test ever touches the home, database or plugins of the person who runs it.
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more of the neighbours on this machine than of the code.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")

REPOSITORY = Path(__file__).resolve().parent.parent


def build_airflow_environment(home: Path) -> dict[str, str]:
    """The settings that every Airflow process of a test run shares."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        # Four slashes: Airflow refuses a relative SQLite path.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:////{str(home / 'airflow.db').lstrip('/')}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        # Twice this is the least pause before a job is looked at again.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }


_HOME = Path(tempfile.mkdtemp(prefix="airflow-home-"))
for _name in [name for name in os.environ if name.startswith(("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_"))]:
    del os.environ[_name]
os.environ.update(build_airflow_environment(_HOME))


def pytest_unconfigure() -> None:
    """Leave nothing behind in the temporary folder."""
    shutil.rmtree(_HOME, ignore_errors=True)


#: Files of tests that take minutes, the longest first; of a folder, all. They begin first, for a long one at the end
#: would let all processors but one wait for it.
LONG = (
    "faults/test_on_postgresql.py",
    "end_to_end/test_records.py",
    "end_to_end/test_endings.py",
    "end_to_end",
    "browser",
    "deploy/test_compose_run.py",
    "deploy/test_iam.py",
    "faults/test_on_sqlite.py",
    "deploy/test_mwaa.py",
    "integration/cli/test_run.py",
    "integration/sagemaker_jobs/test_on_embedded_aws.py",
    "integration/dag/test_gated_runs.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of `LONG` first; `--no-loadscope-reorder` keeps the order where files run side by side."""
    items.sort(key=lambda item: find_place(item.path))


@functools.cache
def find_place(file: Path) -> int:
    """The place of a file's tests: that in `LONG`, or behind all of it."""
    path = file.relative_to(REPOSITORY / "tests")
    return next(
        (n for n, long in enumerate(LONG) if path == Path(long) or Path(long) in path.parents), len(LONG)
    )


def pytest_collection_finish() -> None:
    """Spare the collector of garbage what is there before the first test: a walk through it all takes half a second."""
    gc.collect()
    gc.freeze()
    # nanobind would take what is left at the end for a leak.
    atexit.register(gc.unfreeze)


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """The session's private AIRFLOW_HOME."""
    return _HOME


@pytest.fixture(scope="session")
def airflow_db(airflow_home: Path) -> Path:
    """A migrated SQLite database in the session's AIRFLOW_HOME; returns the path of that home."""
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return airflow_home
