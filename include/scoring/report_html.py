"""The report as one self-contained page: it asks nobody for anything, and runs no script but those it carries."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Template
from markupsafe import Markup

from include.scoring.page import FOLDER, environment, plotly_js
from include.scoring.pictures import pictures_of


def render_html(report: Mapping[str, Any]) -> str:
    """The report as an HTML document. Every value is escaped, whatever keys and cells hold."""
    style, scripts = _style(), _scripts()
    return _template().render(
        report=report,
        pictures=pictures_of(report),
        policy=_policy(),
        # Ours and plotly's own files, nothing from the data.
        style=Markup(style),  # noqa: S704
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        style_ids=plotly_js.style_ids(),
    )


@cache
def _policy() -> str:
    """Nothing is allowed but the style sheet and the scripts of this file, known by their digests."""
    scripts = " ".join(_digest(script) for script in _scripts())
    # The empty style elements that stand in for plotly's are allowed by the digest of nothing.
    styles = f"{_digest(_style())} {_digest('')}"
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _style() -> str:
    return (FOLDER / "style.css").read_text(encoding="utf-8")


@cache
def _scripts() -> tuple[str, ...]:
    return plotly_js.text(), (FOLDER / "draw.js").read_text(encoding="utf-8")


@cache
def _template() -> Template:
    return environment().get_template("report.html.j2")
