"""`make pipeline NAME=…`: a pipeline's YAML file and DAG file from the templates."""

from __future__ import annotations

import re
import string
import sys

from tools.laptop.environment import REPO

TEMPLATES = REPO / "tools" / "templates"


def write_pipeline(name: str) -> int:
    """Write both files; refuses an invalid name and an existing file. The exit status."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        print(
            f"make pipeline: NAME={name!r} is not valid; allowed are lower-case letters, digits and _, a letter "
            "first, at most 40 characters: make pipeline NAME=churn",
            file=sys.stderr,
        )
        return 2
    targets = {
        "pipeline.yaml.tmpl": REPO / "include" / "pipelines" / f"{name}.yaml",
        "dag.py.tmpl": REPO / "dags" / f"{name}.py",
    }
    for target in targets.values():
        if target.exists():
            print(
                f"make pipeline: {target.relative_to(REPO)} already exists; it was not overwritten",
                file=sys.stderr,
            )
            return 2
    for template, target in targets.items():
        target.write_text(string.Template((TEMPLATES / template).read_text()).substitute(name=name))
        print(f"wrote {target.relative_to(REPO)}")
    print(
        "Edit the YAML file: lines marked CHANGE need your own value. `make check` and Airflow report errors in it."
    )
    return 0


if __name__ == "__main__":
    sys.exit(write_pipeline(sys.argv[1] if len(sys.argv) > 1 else ""))
