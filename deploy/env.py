"""`python3 deploy/env.py`: write .env from .env.example, with a fresh secret or name wherever one belongs.

Needs nothing but Python. An existing .env is kept: its secrets are those of the database.
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
MAKERS: dict[str, Callable[[], str]] = {
    "name": lambda: f"batch-inference-{secrets.token_hex(4)}",
    "secret": lambda: secrets.token_hex(32),
    "fernet": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
}
_PLACE = re.compile(r"^([A-Z_]+=)<(\w+)>$", re.MULTILINE)


def filled(template: str) -> str:
    """The template with a value of its own in each `NAME=<kind>` line."""
    return _PLACE.sub(lambda match: match[1] + MAKERS[match[2]](), template)


def write_env(source: Path, target: Path) -> None:
    """Write `target`, readable by its owner only. Raises FileExistsError rather than replace it."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(filled(source.read_text(encoding="utf-8")))


def main() -> int:
    """Write .env beside docker-compose.yaml; the exit status."""
    target = REPO / ".env"
    try:
        write_env(REPO / ".env.example", target)
    except FileExistsError:
        sys.stderr.write(
            f"{target} exists and is kept; delete it to have new secrets (and the volumes with it)\n"
        )
        return 1
    sys.stdout.write(f"wrote {target}; now: docker compose up --build\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
