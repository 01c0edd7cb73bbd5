"""The locks are those that the `.in` files give."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tools.checkout import REPO
from tools.lock import AIRFLOW_LOCKS, AIRFLOW_LOCKS_FOLDER, lock_airflow, write_locks

LOCKS = ("requirements.txt", "requirements-dev.txt", "deploy/requirements.txt")


def test_the_locks_are_current(tmp_path: Path) -> None:
    """Locking again, from the versions that are locked, changes nothing; `make lock` mends it otherwise."""
    (tmp_path / "deploy").mkdir()
    for name in LOCKS:
        shutil.copy(REPO / name, tmp_path / name)
    write_locks(tmp_path)
    for name in LOCKS:
        assert (tmp_path / name).read_text().splitlines() == (REPO / name).read_text().splitlines(), (
            f"{name} is stale: run `make lock`"
        )


@pytest.mark.parametrize("version", AIRFLOW_LOCKS)
def test_the_locks_of_other_airflows_are_current(tmp_path: Path, version: str) -> None:
    """They name what `requirements.in` names; `python -m tools.lock VERSION` mends it otherwise."""
    file = f"{version}.txt"
    shutil.copy(AIRFLOW_LOCKS_FOLDER / file, tmp_path)
    lock_airflow(version, tmp_path)
    assert (tmp_path / file).read_text() == (AIRFLOW_LOCKS_FOLDER / file).read_text()


@pytest.mark.parametrize(
    "name", [*LOCKS, *(f"deploy/constraints/{version}.txt" for version in AIRFLOW_LOCKS)]
)
def test_each_package_is_locked_to_the_digests_of_its_files(name: str) -> None:
    """A version with no digest would be taken from any index that offers it."""
    joined = (REPO / name).read_text().replace("\\\n", " ")
    entries = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert entries
    for entry in entries:
        assert re.fullmatch(r"\S+==\S+( ; [^#]*?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", entry), entry[:200]


def test_what_installs_a_lock_checks_its_digests() -> None:
    """uv alone would let an entry without digests pass."""
    commands = [
        line
        for name in ("Makefile", "deploy/Dockerfile", "tests/deploy/image.py")
        for line in (REPO / name).read_text().replace("\\\n", " ").splitlines()
        if re.search(r"pip.{1,6}(install|sync)", line)
        and re.search(r"requirements\S*\.txt|uv\.txt|LOCK", line)
    ]
    assert len(commands) == 5
    assert [line for line in commands if "--require-hashes" not in line] == []
