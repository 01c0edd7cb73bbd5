"""`python3 deploy/env.py`: writes .env from .env.example and generates its secrets and names.

Needs the standard library only. An existing .env is kept: the database uses its secrets.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
VALUE_GENERATORS: dict[str, Callable[[], str]] = {
    "name": lambda: f"batch-inference-{secrets.token_hex(4)}",
    "secret": lambda: secrets.token_hex(32),
    "fernet": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
}
_PLACEHOLDER = re.compile(r"^([A-Z_]+=)<(\w+)>$", re.MULTILINE)


def fill_template(template: str) -> str:
    """The template with a generated value in each `NAME=<kind>` line."""
    return _PLACEHOLDER.sub(lambda match: match[1] + VALUE_GENERATORS[match[2]](), template)


def write_env(source: Path, target: Path) -> None:
    """Write `target`, readable by its owner only. Raises FileExistsError rather than replace it."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(fill_template(source.read_text(encoding="utf-8")))


def main() -> int:
    """Write .env next to docker-compose.yaml; the exit status."""
    target = REPO / ".env"
    try:
        write_env(REPO / ".env.example", target)
    except FileExistsError:
        sys.stderr.write(
            f"{target} already exists and is kept; for new secrets delete it, and the volumes with it\n"
        )
        return 1
    sys.stdout.write(f"wrote {target}; now: docker compose up --build\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
