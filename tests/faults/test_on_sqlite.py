"""What happens when something fails, with Airflow on SQLite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.case import Case
from tests.faults.running_cases import RunningCases, cases_for, run_cases

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def under_way(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningCases]:
    """The deployment, with the cases that may share it under way."""
    yield from run_cases(request, "sqlite", tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("case", cases_for("sqlite"), ids=lambda case: case.name)
def test_case(under_way: RunningCases, case: Case) -> None:
    """The run's end, the jobs and their bill, nothing left at work, and the published rows are as the case says."""
    under_way.result(case)
