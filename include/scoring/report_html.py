"""The report as one self-contained page: no script, nothing from elsewhere, and nothing unescaped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from include.scoring.messages import count, duration, money, size
from include.scoring.model import label


def render_html(report: Mapping[str, Any]) -> str:
    """The report as an HTML document. Every value is escaped, whatever keys and cells hold."""
    rows = report["first_rows"]
    return _template().render(
        report=report,
        columns=list(dict.fromkeys(name for row in rows for name in row)),
        count=count,
        duration=duration,
        label=label,
        money=money,
        size=size,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")
