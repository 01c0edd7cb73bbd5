"""What the page in Airflow and report.html have in common: sections, style, and the drawing of plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.scoring.messages import count, duration, money, size
from include.scoring.model import label
from include.scoring.priced import priced

FOLDER = Path(__file__).parent


def environment(*folders: Path) -> Environment:
    """Jinja with the shared sections, and templates of `folders` beside them. Everything is escaped."""
    made = Environment(
        loader=FileSystemLoader([*folders, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        count=count,
        duration=duration,
        money=money,
        size=size,
        columns_of=columns_of,
        label=label,
        priced=priced,
    )
    return made


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of all columns of some rows, in the order in which they appear."""
    return list(dict.fromkeys(name for row in rows for name in row))
