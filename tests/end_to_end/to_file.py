"""A notifier as a team may have one of its own, in Airflow's plugins folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import BaseNotifier


class ToFile(BaseNotifier):
    """Adds a line to a file."""

    template_fields = ("message",)

    def __init__(self, path: str, message: str) -> None:
        super().__init__()
        self.path, self.message = path, message

    def notify(self, context: Any) -> None:
        """Add the line."""
        with Path(self.path).open("a") as file:
            file.write(f"{self.message}\n")
