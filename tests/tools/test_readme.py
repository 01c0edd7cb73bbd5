"""What the README says can be done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from include.scoring.config import Pipeline
from include.scoring.notices import NotifySection
from tools.laptop import REPO

README = (REPO / "README.md").read_text(encoding="utf-8")
#: Messages of "When you are woken", each as a piece of the source that it is raised by.
MESSAGES = {
    "to be done by": "include/scoring/decision.py",
    "the budget is": "include/scoring/decision.py",
    "records were rejected (": "include/scoring/reconciliation.py",
    "hold no record": "include/orchestration/tasks/shards.py",
    "the input is empty": "include/scoring/plan.py",
    "stopped on AWS": "plugins/sagemaker_jobs/reasons.py",
    "passed preprocessing, but": "include/scoring/reconciliation.py",
    "one of them was run again": "include/orchestration/shard_sources.py",
    "another run published to": "include/orchestration/publishing.py",
}


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_examples_of_pipelines_are_whole_pipelines() -> None:
    with_preprocess, without = (
        Pipeline.model_validate(yaml.safe_load(text)) for text in blocks("yaml") if text.startswith("name:")
    )
    assert (with_preprocess.preprocess is None, without.preprocess is None) == (False, True)


def test_the_example_of_notifiers_is_a_section() -> None:
    (text,) = [block for block in blocks("yaml") if block.startswith("notify:")]
    told = "{ notifier: some.Notifier }"
    section = NotifySection.model_validate(yaml.safe_load(text.replace("…", told, 3))["notify"])
    assert (section.on_rejected is None, section.on_cost is None) == (False, False)


def test_each_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (REPO / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE))
    assert named <= targets
    assert {"run", "test", "up"} <= named


def test_each_file_that_is_linked_exists() -> None:
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README)}
    missing = [link for link in links if link and "://" not in link and not (REPO / link).exists()]
    assert missing == []


@pytest.mark.parametrize(("message", "source"), MESSAGES.items())
def test_the_messages_to_be_woken_by_are_those_of_the_code(message: str, source: str) -> None:
    table = README[README.index("## When you are woken") :]
    code = re.sub(r'"\s*\n\s*f?"', "", (REPO / Path(source)).read_text(encoding="utf-8"))
    assert message in table
    assert message in code
