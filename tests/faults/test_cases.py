"""The table of cases is sound, and the fault matrix of the documentation says what it says."""

from __future__ import annotations

from itertools import permutations

import pytest

from batch_inference.common.names import build_name_prefix
from tests.faults.cases import CASES
from tests.faults.phases import PIPELINES, Phase, Pipeline
from tests.faults.running_cases import cases_for
from tests.faults.scenario import NEW_RUN, SAME_RUN
from tests.faults.table import PAGE, replace_table


def test_the_page_has_the_table_of_the_cases() -> None:
    """`make docs` writes it anew."""
    text = PAGE.read_text()
    assert replace_table(text) == text


def test_the_faults_of_one_pipeline_cannot_strike_another() -> None:
    """Jobs are told apart by what is in their names, so that no pipeline's name is in another's."""
    names = [pipeline.name for pipeline in PIPELINES]
    heads = [build_name_prefix(name) for name in names]
    assert all(head == f"{name}--" for head, name in zip(heads, names, strict=True)), "a name is too long"
    assert not [pair for pair in permutations(heads, 2) if pair[1] in pair[0]]


def test_every_case_is_in_one_phase() -> None:
    """Those of a phase agree on what must come of it."""
    assert sorted(case.name for pipeline in PIPELINES for case in pipeline.cases) == sorted(
        case.name for case in CASES
    )
    for pipeline in PIPELINES:
        for phase in pipeline.phases:
            phase.merge_cases()


def test_every_case_is_run_on_postgresql_and_five_on_sqlite() -> None:
    """Those that need two triggerers are never run on SQLite."""
    assert {case.name for case in cases_for("postgresql")} == {case.name for case in CASES}
    assert sum(case.on_sqlite for case in CASES) == 5
    assert not [case.name for case in CASES if case.on_sqlite and case.postgresql_only]


def test_cases_that_exclude_each_other_share_neither_run_nor_pipeline() -> None:
    """Each message names both."""
    cases = {case.name: case for case in CASES}
    with pytest.raises(ValueError, match="exit-1 cannot share a run with worker-after"):
        Phase((cases["worker-after"], cases["exit-1"])).merge_cases()
    timeouts = Phase((cases["execution-timeout"],)), Phase((cases["deferral-timeout"],))
    with pytest.raises(ValueError, match="timeouts: deferral-timeout wants another await_preprocess"):
        Pipeline("timeouts", timeouts)


def test_what_must_come_of_a_phase_is_what_must_come_of_all_its_cases() -> None:
    """Each case tells what it adds to a run without a fault; a phase that begins later has less of it."""
    cases = {case.name: case for case in CASES}
    shared = Phase((cases["odd-run-id"], cases["cleared-at-work"], cases["worker-between"])).merge_cases()
    assert (shared.preprocess, shared.transform, shared.tries) == (3, 1, {"preprocess": 4})
    cleared = Phase((cases["wait-marked"],), begins="transform").merge_cases()
    assert (cleared.preprocess, cleared.transform, cleared.tries) == (0, 1, {"join": 1})
    later = Phase((cases["cleared-afterwards"], cases["late-commit"]), begins=SAME_RUN).merge_cases()
    assert (later.preprocess, later.transform, later.tries) == (0, 1, {"transform": 1, "publish": 2})


def test_a_chosen_case_begins_with_a_run_of_its_own() -> None:
    """What would have begun it is not chosen."""
    chosen = next(pipeline for pipeline in PIPELINES if pipeline.name == "failures").choose(
        [case for case in CASES if case.name in ("wait-marked", "commit-denied")]
    )
    assert [(phase.cases[0].name, phase.begins) for phase in chosen.phases] == [
        ("wait-marked", NEW_RUN),
        ("commit-denied", "transform"),
    ]
