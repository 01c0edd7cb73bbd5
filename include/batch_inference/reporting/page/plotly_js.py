"""Reads plotly.js from plotly's wheel, and finds the style elements that it needs under a strict CSP."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

#: plotly.js adds rules to the style element of this id, and creates it if it is missing, which a policy without
#: 'unsafe-inline' forbids. Adding rules to an existing one is allowed.
PLOTLY_STYLE_ID = "plotly.js-style-global"
#: Libraries inside it create style elements in the same way, unless one with their id exists.
_STYLE_ID_LOOKUP = re.compile(r'document\.getElementById\("([0-9a-f]{64})"\)')


def find_file() -> Path:
    """The file plotly.min.js."""
    return Path(str(files("plotly") / "package_data" / "plotly.min.js"))


@cache
def get_version() -> str:
    """The wheel's version, for caches."""
    return version("plotly")


@cache
def read_text() -> str:
    """The library as text; some 5 MB, read once."""
    return find_file().read_text(encoding="utf-8")


@cache
def find_style_ids() -> tuple[str, ...]:
    """Ids of the style elements that a page must have, empty, before it loads the library."""
    return PLOTLY_STYLE_ID, *dict.fromkeys(_STYLE_ID_LOOKUP.findall(read_text()))
