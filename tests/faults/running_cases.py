"""Cases as tests: those that share a deployment run side by side, each test reports one of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.case import Case
from tests.faults.cases import CASES
from tests.faults.checks import check
from tests.faults.scenario import Scenario
from tests.faults.suite import Suite, running_suite

#: More at a time would only wait for each other on two cores.
MAX_PARALLEL_CASES = 6
#: `make faults` runs every case on both databases.
EVERYTHING = os.environ.get("FAULTS") == "all"


def cases_for(database: str) -> list[Case]:
    """The cases that are run on this database, those that run side by side first."""
    if database == "postgresql":
        chosen = list(CASES)
    else:
        chosen = [case for case in CASES if not case.postgresql_only and (case.on_sqlite or EVERYTHING)]
    return sorted(chosen, key=lambda case: case.alone)


def run_case(suite: Suite, case: Case) -> None:
    """Run one case to its end and assert the four things."""
    scenario = Scenario(suite, case)
    try:
        case.act(scenario)
        scenario.wait_for_end()
        check(scenario)
    finally:
        scenario.disarm()


class RunningCases:
    """A suite with its cases under way."""

    def __init__(self, suite: Suite, cases: Iterable[Case], pool: ThreadPoolExecutor) -> None:
        self.suite = suite
        self.futures: dict[str, Future[None]] = {
            case.name: pool.submit(run_case, suite, case) for case in cases if not case.alone
        }

    def result(self, case: Case) -> None:
        """Raises what the case raised. One that must be alone begins when no other is under way."""
        if not case.alone:
            self.futures[case.name].result()
            return
        for other in self.futures.values():
            other.exception()
        run_case(self.suite, case)


def run_cases(request: pytest.FixtureRequest, database: str, state: Path) -> Iterator[RunningCases]:
    """The deployment with those cases whose tests were asked for."""
    items = (item for item in request.session.items if item.fspath == request.node.fspath)
    cases = [item.callspec.params["case"] for item in items if hasattr(item, "callspec")]
    with running_suite(database, state, cases) as suite, ThreadPoolExecutor(MAX_PARALLEL_CASES) as pool:
        yield RunningCases(suite, cases, pool)
