"""plotly.js as it comes with plotly's wheel, and what it needs under a strict content security policy."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

#: plotly.js adds rules to a style element of this id, and makes one if there is none, which a policy without
#: 'unsafe-inline' forbids. Adding rules to one that is there is allowed.
OWN_STYLE = "plotly.js-style-global"
#: Libraries inside it make style elements in the same way, unless one of their id is there.
_ADDS_STYLE = re.compile(r'document\.getElementById\("([0-9a-f]{64})"\)')


def path() -> Path:
    """The file plotly.min.js."""
    return Path(str(files("plotly") / "package_data" / "plotly.min.js"))


@cache
def release() -> str:
    """The wheel's version, for caches."""
    return version("plotly")


@cache
def text() -> str:
    """The library as text; some 5 MB, read once."""
    return path().read_text(encoding="utf-8")


@cache
def style_ids() -> tuple[str, ...]:
    """Ids of the style elements that a page must have, empty, before it loads the library."""
    return OWN_STYLE, *dict.fromkeys(_ADDS_STYLE.findall(text()))
