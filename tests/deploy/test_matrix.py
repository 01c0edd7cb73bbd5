"""The wheel with the oldest and the newest Airflow, in a project with an `include` of its own: the rows are the same.

`make matrix` has the versions between them, and the fault suite.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.matrix.cells import (
    CELLS,
    CONSTRAINTS,
    ONLY_ON_PYTHON_3_12,
    Cell,
    check_rows,
    read_constraints,
    run_cell,
)
from tools.wheel import build_wheel

OLDEST_AND_NEWEST = (CELLS[0], CELLS[-1])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` writes."""
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.mark.end_to_end
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cell", OLDEST_AND_NEWEST, ids=lambda cell: cell.version)
def test_the_sample_ends_with_the_same_rows(cell: Cell, wheel: Path, tmp_path: Path) -> None:
    """The company's DAG is there too; `pip check` is part of building the environment."""
    result = run_cell(cell, wheel, tmp_path)
    check_rows(result)
    assert result.dags == ("abalone", "company_janitor")


def test_the_cells_are_the_versions_in_use_from_old_to_new() -> None:
    versions = [tuple(map(int, cell.version.split("."))) for cell in CELLS]
    assert versions == sorted(versions)
    assert {version[:2] for version in versions} == {(3, 0), (3, 1), (3, 2), (3, 3)}
    mwaa = {path.name for path in (CONSTRAINTS / "mwaa").iterdir()}
    assert {cell.version for cell in CELLS if cell.is_mwaa} == mwaa


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.version)
def test_a_cell_installs_what_its_file_pins(cell: Cell) -> None:
    """But for what needs Python 3.12."""
    pinned = {line.partition("==")[0] for line in cell.constraints.read_text().splitlines() if "==" in line}
    kept = {line.partition("==")[0] for line in read_constraints(cell).splitlines() if "==" in line}
    assert pinned - kept <= set(ONLY_ON_PYTHON_3_12.get(cell.version, ()))
    assert set(ONLY_ON_PYTHON_3_12.get(cell.version, ())) <= pinned
    # The constraint files leave out Airflow itself; a lock has it.
    assert cell.is_mwaa or f"apache-airflow-core=={cell.version}" in cell.constraints.read_text()
