"""mkdocs hooks: README.md and CHANGELOG.md become pages, and bars within code in tables become plain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPO = Path(__file__).resolve().parent.parent
_TABLE_ROW = re.compile(r"^\|.*$", re.MULTILINE)
_CODE = re.compile(r"`[^`]+`")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add both pages. Links to `docs/…` become links within the site."""
    readme = (REPO / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    readme = readme.replace("[CHANGELOG.md](CHANGELOG.md)", "[Changelog](changelog.md)")
    files.append(File.generated(config, "index.md", content=readme))
    changelog = (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "changelog.md", content=changelog))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    r"""Write `\|` in the code of a table's cell as `|`, which is how mkdocs, unlike GitHub, wants it."""

    def unescape_row(row: re.Match[str]) -> str:
        return _CODE.sub(lambda code: code.group().replace(r"\|", "|"), row.group())

    return _TABLE_ROW.sub(unescape_row, markdown)
