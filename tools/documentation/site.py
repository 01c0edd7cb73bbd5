"""Builds the documentation with mkdocs; anything wrong with it is an error.

That is a dead link or anchor, a page outside the navigation, and whatever a browser would load from another host.
`python -m tools.documentation.site --check` keeps nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from tools.checkout import REPO

SITE = REPO / "dist" / "site"
CONFIG = REPO / "mkdocs.yml"
#: Attributes whose address a browser loads by itself. A link's `href` is loaded by these kinds of `<link>` only.
LOADING_ATTRIBUTES = {"src", "srcset", "poster", "data", "xlink:href", "style"}
LOADING_RELATIONS = {
    "stylesheet",
    "icon",
    "manifest",
    "preload",
    "modulepreload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
}
_FOREIGN = re.compile(r"(?:https?:)?//[\w.-]+", re.IGNORECASE)
_CSS_LOADS = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_QUOTED_ADDRESS = re.compile(r"[\"'`](https?://[^\"'`\s]+)")
#: Addresses in the theme's own script, each with what makes it load them: no page may hold that.
DORMANT_ADDRESSES = {
    "https://unpkg.com/mermaid@": 'class="mermaid"',
    "https://api.github.com/": 'data-md-component="source"',
    "https://${e}/api/v4/": 'data-md-component="source"',  # GitLab
    "https://unpkg.com/resize-observer-polyfill": None,  # browsers without ResizeObserver, which are older than 2020
}


class _Loads(HTMLParser):
    """Collects the addresses that a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        names = LOADING_ATTRIBUTES & set(attributes)
        if tag == "link" and LOADING_RELATIONS & set(attributes.get("rel", "").split()):
            names = {*names, "href"}
        for name in sorted(names):
            if _FOREIGN.search(attributes[name]) and not attributes[name].startswith("data:"):
                self.found.append(f'<{tag} {name}="{attributes[name]}">')


def find_foreign_loads(folder: Path) -> Iterator[str]:
    """A sentence for each address on another host that a page, a style or a script of the site loads."""
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.html"))}
    for path, text in pages.items():
        parser = _Loads()
        parser.feed(text)
        yield from (f"{path.relative_to(folder)} loads {each}" for each in parser.found)
    for path in sorted(each for suffix in ("css", "svg") for each in folder.rglob(f"*.{suffix}")):
        for address in _CSS_LOADS.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(folder)} loads {address}"
    for path in sorted(folder.rglob("*.js")):
        for address in _QUOTED_ADDRESS.findall(_COMMENT.sub("", path.read_text(encoding="utf-8"))):
            known = next((each for each in DORMANT_ADDRESSES if address.startswith(each)), None)
            if known is None:
                yield f"{path.relative_to(folder)} names {address}"
                continue
            trigger = DORMANT_ADDRESSES[known]
            users = [page for page, text in pages.items() if trigger is not None and trigger in text]
            yield from (f"{page.relative_to(folder)} makes the theme load {address}" for page in users)


def build_site(folder: Path, config: Path = CONFIG) -> list[str]:
    """Build the site into `folder`; returns the problems."""
    # Not with --quiet: what is not shown is not counted, and then nothing is wrong.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
    command += ["--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        lines = (result.stdout + result.stderr).splitlines()
        return [line for line in lines if line.strip() and not line.startswith("INFO")]
    return list(find_foreign_loads(folder))


def main() -> int:
    """Build the site, or check that it can be built."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tools.documentation.site")
    parser.add_argument("--check", action="store_true", help="build into a temporary folder")
    options = parser.parse_args()
    if options.check:
        with tempfile.TemporaryDirectory() as folder:
            problems = build_site(Path(folder) / "site")
    else:
        problems = build_site(SITE)
    if problems:
        print("the documentation cannot be built:", *problems, sep="\n  ", file=sys.stderr)
        return 1
    if not options.check:
        print(f"the site is in {SITE.relative_to(REPO)}/; to read and search it:")
        print(f"  {sys.executable} -m http.server --bind 127.0.0.1 --directory {SITE.relative_to(REPO)} 8000")
    return 0


if __name__ == "__main__":
    sys.exit(main())
