"""What the tests of docker-compose.yaml share."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.env import write_env
from tests.deploy.compose import read_env
from tools.checkout import REPO


@pytest.fixture(scope="session")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A .env as `deploy/env.py` writes it."""
    target: Path = tmp_path_factory.mktemp("compose") / ".env"
    write_env(REPO / ".env.example", target)
    return read_env(target)
