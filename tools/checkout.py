"""The folder of this checkout."""

from __future__ import annotations

from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
#: The pipeline files of this checkout.
PIPELINES_FOLDER = REPO / "include" / "pipelines"
