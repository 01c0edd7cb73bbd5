"""Renders the report as one self-contained HTML page, without requests and without scripts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Template
from markupsafe import Markup

from batch_inference.reporting.charts import build_charts
from batch_inference.reporting.page import build_environment, compute_style_digest, read_style


def render_html(report: Mapping[str, Any]) -> str:
    """The report as an HTML document. Every value is escaped, whatever keys and cells hold."""
    return _template().render(
        report=report,
        charts=build_charts(report),
        # Allows only the style sheet of the page, by digest.
        policy=f"default-src 'none'; style-src 'sha256-{compute_style_digest()}'; base-uri 'none'; form-action 'none'",
        # Our own file, no data.
        style=Markup(read_style()),  # noqa: S704
    )


@cache
def _template() -> Template:
    return build_environment().get_template("report.html.j2")
