"""mkdocs hooks: README.md is the site's first page, CHANGELOG.md its last, with links that fit the site."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPO = Path(__file__).resolve().parent.parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add both pages. Links to `docs/…` become links within the site."""
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    readme = readme.replace("](docs/", "](").replace(
        "[CHANGELOG.md](CHANGELOG.md)", "[Changelog](changelog.md)"
    )
    files.append(File.generated(config, "index.md", content=readme))
    changelog = (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "changelog.md", content=changelog))
    return files
