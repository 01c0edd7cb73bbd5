"""The locks are those that the `.in` files give."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.laptop import REPO
from tools.lock import write_locks

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
