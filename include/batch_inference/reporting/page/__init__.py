"""Shared templates of the run page in Airflow and of report.html: sections and style."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from batch_inference.common.formatting import (
    format_bytes,
    format_cell,
    format_count,
    format_dollars,
    format_duration,
    format_extra_dollars,
    format_share,
    format_unit_cost,
)
from batch_inference.planning.model_version import format_model
from batch_inference.pricing.price_source import describe_prices
from batch_inference.reporting.cost_comparison import describe_endpoint
from batch_inference.verification.rejects import is_share_warned

PAGE_FOLDER = Path(__file__).parent


@cache
def read_style() -> str:
    """The style sheet of the pages and of report.html."""
    return (PAGE_FOLDER / "style.css").read_text(encoding="utf-8")


@cache
def compute_style_digest() -> str:
    """Its SHA-256 in base64, as a Content-Security-Policy names it."""
    return base64.b64encode(hashlib.sha256(read_style().encode()).digest()).decode()


def build_environment(*template_folders: Path) -> Environment:
    """Build a Jinja environment over the shared templates and those of `template_folders`, with autoescape."""
    jinja = Environment(
        loader=FileSystemLoader([*template_folders, PAGE_FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.globals.update(
        count=format_count,
        duration=format_duration,
        money=format_dollars,
        format_cell=format_cell,
        extra_money=format_extra_dollars,
        unit_cost=format_unit_cost,
        percent=format_share,
        endpoint=describe_endpoint,
        size=format_bytes,
        columns_of=list_columns,
        label=format_model,
        share=format_share,
        is_share_warned=is_share_warned,
        list_leading_first=list_leading_first,
        name_object=name_object,
        priced=describe_prices,
    )
    return jinja


def list_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of all columns of some rows, in the order in which they appear."""
    return list(dict.fromkeys(name for row in rows for name in row))


def list_leading_first(columns: Sequence[str], leading: Sequence[str]) -> list[str]:
    """The columns, with those of `leading` first, in its order."""
    return [
        *(name for name in leading if name in columns),
        *(name for name in columns if name not in leading),
    ]


def name_object(uri: str, input_uri: str) -> str:
    """An input object without the prefix of the input; any other object by its whole URI."""
    name = uri.removeprefix(input_uri)
    return name or uri.rsplit("/", 1)[-1]
