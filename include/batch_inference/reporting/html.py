"""Renders the report as one self-contained HTML page, without requests and without foreign scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Template
from markupsafe import Markup

from batch_inference.reporting.charts import build_charts
from batch_inference.reporting.page import PAGE_FOLDER, build_environment, plotly_js


def render_html(report: Mapping[str, Any]) -> str:
    """The report as an HTML document. Every value is escaped, whatever keys and cells hold."""
    style, scripts = _style(), _scripts()
    return _template().render(
        report=report,
        charts=build_charts(report),
        policy=_policy(),
        # Our own files and plotly's, no data.
        style=Markup(style),  # noqa: S704
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        style_ids=plotly_js.find_style_ids(),
    )


@cache
def _policy() -> str:
    """Content-Security-Policy that allows only the style sheet and the scripts of the page, by digest."""
    scripts = " ".join(_digest(script) for script in _scripts())
    # The empty style elements for plotly are allowed by the digest of an empty text.
    styles = f"{_digest(_style())} {_digest('')}"
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _style() -> str:
    return (PAGE_FOLDER / "style.css").read_text(encoding="utf-8")


@cache
def _scripts() -> tuple[str, ...]:
    return plotly_js.read_text(), (PAGE_FOLDER / "draw.js").read_text(encoding="utf-8")


@cache
def _template() -> Template:
    return build_environment().get_template("report.html.j2")
