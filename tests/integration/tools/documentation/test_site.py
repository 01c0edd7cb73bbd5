"""The documentation says what the code says, is built without a warning, and loads nothing from another host."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import batch_inference
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.notifications import NotifySection
from batch_inference.run import task_ids
from tools.checkout import REPO
from tools.documentation.site import CONFIG, build_site, find_foreign_loads

DOCS = REPO / "docs"
README = REPO / "README.md"
PAGES = [README, REPO / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
TYPICAL_FILE = DOCS / "guides" / "pipeline-file.md"
#: Messages of the runbook, each as a piece of the source that it is raised by.
MESSAGES = {
    "to be done by": "include/batch_inference/planning/clusters/cluster_choice.py",
    "the budget is": "include/batch_inference/planning/clusters/cluster_choice.py",
    "records were rejected (": "include/batch_inference/verification/reconciliation.py",
    "hold no record": "include/batch_inference/dag/tasks/collect_shards.py",
    "the input is empty": "include/batch_inference/planning/planner.py",
    "by somebody on AWS": "plugins/sagemaker_jobs/failure/messages.py",
    "passed preprocessing, but": "include/batch_inference/verification/reconciliation.py",
    "one of them was run again": "include/batch_inference/run/join_inputs.py",
    "another run published to": "include/batch_inference/publishing/protocol.py",
}


def read_blocks(page: Path, key: str) -> list[Any]:
    """The YAML examples of a page that begin with a key; `…` stands for a notifier."""
    text = page.read_text(encoding="utf-8").replace("[ … ]", "[{ notifier: some.Notifier }]")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [yaml.safe_load(block) for block in blocks if block.startswith(f"{key}:")]


@pytest.mark.parametrize(
    ("page", "has_preprocess"),
    [(README, True), (TYPICAL_FILE, True), (DOCS / "guides" / "without-preprocessing.md", False)],
    ids=lambda value: value.stem if isinstance(value, Path) else str(value),
)
def test_the_examples_of_pipelines_are_whole_pipelines(page: Path, has_preprocess: bool) -> None:
    (document,) = read_blocks(page, "name")
    assert (Pipeline.model_validate(document).preprocess is not None) == has_preprocess


@pytest.mark.parametrize(
    ("page", "key"), [("quality-gates", "gates"), ("publishing", "join"), ("publishing", "output")]
)
def test_the_examples_of_sections_belong_to_the_typical_file(page: str, key: str) -> None:
    (document,) = read_blocks(TYPICAL_FILE, "name")
    (section,) = read_blocks(DOCS / "guides" / f"{page}.md", key)
    document["input"]["columns"] += [{"name": "sex"}, {"name": "age", "type": "integer"}]
    made = Pipeline.model_validate({**document, **section})
    assert getattr(made, key) != getattr(Pipeline.model_validate(document), key)


def test_the_example_of_notifiers_is_a_section() -> None:
    (document,) = read_blocks(DOCS / "guides" / "notifications.md", "notify")
    section = NotifySection.model_validate(document["notify"])
    assert (section.on_rejected is None, section.on_cost is None) == (False, False)


def test_each_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (REPO / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for page in PAGES
        for target in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named <= targets
    assert {"run", "test", "up"} <= named


def test_each_file_and_folder_that_is_named_exists() -> None:
    """But for those of a repository of pipelines, and those that the builds write."""
    roots = "dags|deploy|docs|include|local_aws|plugins|tests|tools"
    named = {
        path
        for page in PAGES
        for path in re.findall(rf"`((?:{roots})/[\w./-]*)`", page.read_text(encoding="utf-8"))
    }
    of_users = {"dags/pipelines/", "include/__init__.py"}
    missing = {path for path in named if "churn" not in path and not (REPO / path).exists()}
    assert missing - of_users == set()
    rooms = re.findall(
        r"^\| `(\w+)/` \|", (DOCS / "development" / "architecture.md").read_text(), re.MULTILINE
    )
    package = REPO / "include" / "batch_inference"
    assert {path.name for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"} <= set(
        rooms
    )


def test_the_readme_is_a_page() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    versions = re.findall(r"^## (\S+)$", (REPO / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[0] == batch_inference.__version__


def test_the_picture_of_the_chain_has_its_task_ids() -> None:
    picture = (DOCS / "images" / "chain.svg").read_text(encoding="utf-8")
    assert set(re.findall(r'<text class="name"[^>]*>([^<]+)</text>', picture)) <= set(task_ids.TASK_ORDER)


@pytest.mark.parametrize(("message", "source"), MESSAGES.items())
def test_the_messages_of_the_runbook_are_those_of_the_code(message: str, source: str) -> None:
    code = re.sub(r'"\s*\n\s*f?"', "", (REPO / source).read_text(encoding="utf-8"))
    assert message in (DOCS / "operations" / "runbook.md").read_text(encoding="utf-8")
    assert message in code


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_another_host(tmp_path: Path) -> None:
    assert build_site(tmp_path / "site") == []
    assert (tmp_path / "site" / "search" / "search_index.json").exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](nowhere.md)", "nowhere.md"),
        ("[a](other.md#nowhere)", "#nowhere"),
        ("![a](nowhere.svg)", "nowhere.svg"),
        ("fine", "lost.md"),
        ('--8<-- "nowhere.yaml"', "nowhere.yaml"),
    ],
)
def test_a_dead_link_and_a_page_outside_the_navigation_are_problems(
    tmp_path: Path, text: str, problem: str
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    pages = {"index.md": text, "other.md": "# Other"} | (
        {"lost.md": "# Lost"} if problem == "lost.md" else {}
    )
    for name, content in pages.items():
        (docs / name).write_text(content)
    settings = {
        "INHERIT": str(CONFIG),
        "docs_dir": str(docs),
        "hooks": [],
        "extra_css": [],
        "nav": ["index.md", "other.md"],
    }
    config = tmp_path / "mkdocs.yml"
    config.write_text(yaml.safe_dump(settings))
    assert problem in "\n".join(build_site(tmp_path / "site", config))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<script src="https://cdn.example/x.js"></script>'),
        ("a.html", '<link rel="stylesheet" href="//fonts.example/css">'),
        ("a.html", '<img srcset="http://img.example/a.png 2x">'),
        ("a.html", '<p style="background: url(https://img.example/a.png)">'),
        ("a.css", "@import 'https://fonts.example/css';"),
        ("a.css", "body { background: url(//img.example/a.png) }"),
        ("a.js", 'load("https://cdn.example/x.js")'),
    ],
)
def test_what_a_browser_would_load_from_another_host_is_found(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (problem,) = find_foreign_loads(tmp_path)
    assert ".example/" in problem


def test_links_are_not_loaded_and_the_theme_loads_a_script_only_for_what_no_page_has(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="https://airflow.example/">x</a><link rel="canonical" href="https://x">'
    )
    (tmp_path / "a.js").write_text('/* https://x.example */ load("https://unpkg.com/mermaid@11/x.js")')
    assert list(find_foreign_loads(tmp_path)) == []
    (tmp_path / "b.html").write_text('<pre class="mermaid">')
    assert len(list(find_foreign_loads(tmp_path))) == 1
