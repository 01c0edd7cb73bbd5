"""What is wrong with the data is said in the words of docs/reference/troubleshooting.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.jobs.hostile_inputs import CASES, PAGE, SETUPS, Case, row


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{type(case).__name__.lower()} {case.description}")
def test_the_page_says_what_is_said(tmp_path: Path, case: Case) -> None:
    """An object ends the job, a record is rejected alone, an answer is not joined and leaves no output."""
    assert row(case, tmp_path) in PAGE.read_text("utf-8"), (
        "run: PYTHONPATH=. python -m tests.unit.jobs.hostile_inputs"
    )


def test_the_page_has_each_case_and_no_other() -> None:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ") and "`" in line]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == [
        *(case.description for case in CASES),
        *(what for what, _ in SETUPS),
    ]
    assert len(lines) >= 40
