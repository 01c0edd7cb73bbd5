"""The reference pages say what the code says."""

from __future__ import annotations

import pytest

from batch_inference.config.pipeline import Pipeline
from sagemaker_jobs.failure.reasons import REASONS
from tools.documentation.reference import PAGES, RENDERERS, render_job_failures, render_pipeline_file


@pytest.mark.parametrize("name", RENDERERS)
def test_the_pages_in_the_repository_are_current(name: str) -> None:
    assert (PAGES / name).read_text(encoding="utf-8") == RENDERERS[name](), "run: make docs"


def test_every_key_of_the_file_and_of_its_sections_has_a_row_with_a_description() -> None:
    page = render_pipeline_file()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    keys = {row[0].strip("| `") for row in rows}
    assert set(Pipeline.model_fields) <= keys
    assert {"max_instances", "exclusive_min", "model_data", "on_failure"} <= keys
    undescribed = [row[0] for row in rows if not row[1].strip() and row[0] not in ("| `rule`",)]
    assert undescribed == []


def test_every_known_reason_has_a_row_with_its_advice() -> None:
    rows = [line for line in render_job_failures().splitlines() if line.startswith("| ")]
    assert all(any(line.startswith(f"| {reason.name} |") for line in rows) for reason in REASONS)
    assert all(line.count(" | ") >= 2 for line in rows)
