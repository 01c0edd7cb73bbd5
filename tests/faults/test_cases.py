"""The table of cases is sound, and the fault matrix of the documentation says what it says."""

from __future__ import annotations

from itertools import permutations

from batch_inference.common.names import build_name_prefix
from tests.faults.cases import CASES
from tests.faults.running_cases import cases_for
from tests.faults.table import PAGE, replace_table


def test_the_page_has_the_table_of_the_cases() -> None:
    """`make docs` writes it anew."""
    text = PAGE.read_text()
    assert replace_table(text) == text


def test_the_faults_of_one_case_cannot_strike_another() -> None:
    """Jobs are told apart by how their names begin, so no name is the beginning of another."""
    heads = [f"{build_name_prefix(case.name)}-" for case in CASES]
    assert all(head == f"{case.name}-" for head, case in zip(heads, CASES, strict=True)), "a name is too long"
    assert not [pair for pair in permutations(heads, 2) if pair[0].startswith(pair[1])]


def test_every_case_is_run_on_postgresql_and_five_on_sqlite() -> None:
    """Those that need two triggerers are never run on SQLite."""
    assert {case.name for case in cases_for("postgresql")} == {case.name for case in CASES}
    assert sum(case.on_sqlite for case in CASES) == 5
    assert not [case.name for case in CASES if case.on_sqlite and case.postgresql_only]
