"""Run the cells of the matrix and print a table: `python -m tools.matrix [VERSION …] [--no-faults]`.

Exit status: 0 if every cell holds, 1 if not.
"""

from __future__ import annotations

import argparse
import sys

from batch_inference.cli.laptop.environment import LaptopError
from tools.matrix.cells import (
    CELLS,
    STATE_DIR,
    CellError,
    Result,
    build_environment,
    check_rows,
    run_cell,
    run_faults,
)
from tools.wheel import build_wheel

STEPS = ("environment", "database", "sample", "pages", "faults")


def main() -> int:
    """Run the chosen cells, one after the other; the exit status."""
    parser = argparse.ArgumentParser(prog="make matrix", description=__doc__)
    parser.add_argument(
        "versions", nargs="*", help=f"of {', '.join(cell.version for cell in CELLS)}; default: all"
    )
    parser.add_argument("--no-faults", action="store_true", help="without the fault suite")
    arguments = parser.parse_args()
    unknown = set(arguments.versions) - {cell.version for cell in CELLS}
    if unknown:
        parser.error(f"no cell {', '.join(sorted(unknown))}; there are {', '.join(c.version for c in CELLS)}")
    wheel = build_wheel(STATE_DIR / "matrix" / "dist")
    print(f"{'Airflow':<14}" + "".join(f"{step:>13}" for step in STEPS) + "  result")
    failed = False
    for cell in CELLS:
        if arguments.versions and cell.version not in arguments.versions:
            continue
        result, outcome = Result(cell.version), ""
        state = STATE_DIR / "matrix" / "state" / cell.version
        state.mkdir(parents=True, exist_ok=True)
        try:
            result = run_cell(cell, wheel, state)
            check_rows(result)
            outcome = f"{result.row_count:,} rows, SHA-256 {result.sha256[:12]}…"
            if not arguments.no_faults:
                with result.measure("faults"):
                    outcome += f"; faults: {run_faults(build_environment(cell, wheel), state)}"
        except (CellError, LaptopError) as error:
            failed, outcome = True, f"FAILED: {error}"
        times = "".join(
            f"{result.seconds[step]:>11.0f} s" if step in result.seconds else f"{'–':>13}" for step in STEPS
        )
        print(f"{cell.version + (' (MWAA)' if cell.is_mwaa else ''):<14}{times}  {outcome}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
