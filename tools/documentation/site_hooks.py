"""mkdocs hooks: the Markdown files of the root become pages, and bars within code in tables become plain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPO = Path(__file__).resolve().parents[2]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_TABLE_ROW = re.compile(r"^\|.*$", re.MULTILINE)
_CODE = re.compile(r"`[^`]+`")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root. Links to `docs/…` and between the three become links within the site."""
    for name, page in PAGES.items():
        text = (REPO / name).read_text(encoding="utf-8").replace("](docs/", "](")
        for other, target in PAGES.items():
            text = text.replace(f"]({other}", f"]({target}")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    r"""Write `\|` in the code of a table's cell as `|`, which is how mkdocs, unlike GitHub, wants it."""

    def unescape_row(row: re.Match[str]) -> str:
        return _CODE.sub(lambda code: code.group().replace(r"\|", "|"), row.group())

    return _TABLE_ROW.sub(unescape_row, markdown)
