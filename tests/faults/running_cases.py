"""Cases as tests: pipelines run side by side, each test reports one case of one of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import groupby
from pathlib import Path

import pytest

from tests.faults.case import Case
from tests.faults.cases import CASES
from tests.faults.checks import check
from tests.faults.phases import PIPELINES, Phase, Pipeline
from tests.faults.scenario import NEW_RUN, SAME_RUN, Scenario
from tests.faults.suite import Suite, running_suite

#: More at a time would only wait for each other on two cores.
MAX_PARALLEL_PIPELINES = 6
#: `make faults` runs every case on both databases.
EVERYTHING = os.environ.get("FAULTS") == "all"


def cases_for(database: str) -> list[Case]:
    """The cases that are run on this database, those of pipelines that run side by side first."""
    if database == "postgresql":
        chosen = list(CASES)
    else:
        chosen = [case for case in CASES if not case.postgresql_only and (case.on_sqlite or EVERYTHING)]
    return [case for pipeline in PIPELINES for case in pipeline.choose(chosen).cases]


def run_phase(suite: Suite, pipeline: str, phase: Phase, runs: list[str]) -> None:
    """Let the cases act on a run, one after the other, and assert the four things when it has ended.

    Raises:
        AssertionError: something is not as it should be; its notes name the cases, and the one that acted.
    """
    whole = Scenario(suite, phase.merge_cases(), pipeline, runs=runs)
    whole.tries_before = whole.count_tries() if runs else {}
    acted: list[Scenario] = []
    try:
        for during, cases in groupby(phase.cases, key=lambda case: case.during):
            with contextlib.ExitStack() as stack:
                for number, case in enumerate(cases):
                    scenario = Scenario(suite, case, pipeline, SAME_RUN if acted else phase.begins, runs)
                    acted.append(scenario)
                    if during is not None and number == 0:
                        stack.enter_context(during(scenario))
                    case.act(scenario)
        for scenario in acted:
            whole.unwanted_since |= scenario.unwanted_since
            whole.stopped_by_tasks |= scenario.stopped_by_tasks
            whole.waited_from |= scenario.waited_from
        whole.wait_for_end()
        idle = {scenario.case.name: scenario.find_idle_faults() for scenario in acted}
        assert not any(idle.values()), f"faults that struck nothing, by case: {idle}"
        check(whole)
    except Exception as error:
        error.add_note(
            f"on the pipeline {pipeline}: {whole.case.name}; the last to act: {acted[-1].case.name}"
        )
        raise
    finally:
        for scenario in acted:
            scenario.disarm()


def run_pipeline(suite: Suite, pipeline: Pipeline, results: dict[str, Future[None]]) -> None:
    """Run the phases one after the other; each case's result is that of its phase."""
    runs: list[str] = []
    failed: str | None = None
    for phase in pipeline.phases:
        error: BaseException | None = None
        if phase.begins == NEW_RUN:
            runs = []
        try:
            assert failed is None, f"not begun: on the pipeline {pipeline.name}, {failed} went wrong before"
            run_phase(suite, pipeline.name, phase, runs)
        except BaseException as raised:  # noqa: BLE001 - the tests of its cases raise it
            error = raised
            failed = failed or phase.merge_cases().name
        for case in phase.cases:
            if error is None:
                results[case.name].set_result(None)
            else:
                results[case.name].set_exception(error)


class RunningCases:
    """A suite with its pipelines under way."""

    def __init__(self, suite: Suite, pipelines: list[Pipeline], pool: ThreadPoolExecutor) -> None:
        self._results = {case.name: Future[None]() for pipeline in pipelines for case in pipeline.cases}
        others = [
            pool.submit(run_pipeline, suite, pipeline, self._results)
            for pipeline in pipelines
            if not pipeline.is_alone
        ]

        def run_alone() -> None:
            wait(others)
            for pipeline in pipelines:
                if pipeline.is_alone:
                    run_pipeline(suite, pipeline, self._results)

        # It begins when one of the others has left its place, which the last of them does.
        pool.submit(run_alone)

    def result(self, case: Case) -> None:
        """Raises what the case's phase raised."""
        self._results[case.name].result()


def run_cases(request: pytest.FixtureRequest, database: str, state: Path) -> Iterator[RunningCases]:
    """The deployment with those cases whose tests were asked for."""
    items = (item for item in request.session.items if item.fspath == request.node.fspath)
    cases = [item.callspec.params["case"] for item in items if hasattr(item, "callspec")]
    pipelines = [chosen for pipeline in PIPELINES if (chosen := pipeline.choose(cases)).cases]
    with (
        running_suite(database, state, pipelines) as suite,
        ThreadPoolExecutor(MAX_PARALLEL_PIPELINES) as pool,
    ):
        yield RunningCases(suite, pipelines, pool)
