"""Generates the sample input: CSV objects of unequal size, with some invalid rows.

`python -m batch_inference.samples.abalone.generate --out DIR --rows 200000 --seed 20`
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from batch_inference.samples.abalone.data import draw_records, format_csv_lines

ROWS = 200_000
SEED = 20
# Shares of the rows by object: real batches are of unequal size.
_SHARES = (0.31, 0.24, 0.17, 0.12, 0.09, 0.05, 0.02)


def _replace_cell(place: int, value: str) -> Callable[[list[str]], list[str]]:
    return lambda cells: [*cells[:place], value, *cells[place + 1 :]]


# Kinds of invalid rows and the share of rows that have them; the first two are nulls that can be imputed.
ROW_ERRORS: tuple[tuple[float, Callable[[list[str]], list[str]]], ...] = (
    (0.004, _replace_cell(3, "")),  # height missing
    (0.002, _replace_cell(7, "")),  # shell weight missing
    (0.003, _replace_cell(4, "")),  # whole weight missing
    (0.002, _replace_cell(3, "0.0")),  # no abalone is flat
    (0.001, _replace_cell(3, "1.13")),  # nor higher than long
    (0.002, _replace_cell(0, "X")),  # unknown sex
    (0.001, lambda cells: cells[:6]),  # cut off
    (0.001, lambda cells: [*cells, "7"]),  # one too many
    (0.001, _replace_cell(2, "n/a")),  # not a number
)
DUPLICATE_SHARE = 0.004


def generate_lines_with_errors(rows: int = ROWS, seed: int = SEED) -> list[str]:
    """Generate `rows` CSV lines, some of them invalid; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    found = format_csv_lines(draw_records(rows, rng))
    order = iter(rng.permutation(rows).tolist())
    for share, spoil in ROW_ERRORS:
        for place in [next(order) for _ in range(int(rows * share))]:
            found[place] = ",".join(spoil(found[place].split(",")))
    for _ in range(int(rows * DUPLICATE_SHARE)):
        found[next(order)] = found[next(order)]
    return found


def write_objects(out: Path, rows: int = ROWS, seed: int = SEED) -> list[Path]:
    """Write the objects below `out` and nothing else; returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    found = generate_lines_with_errors(rows, seed)
    bounds = [0, *(round(rows * end) for end in np.cumsum(_SHARES)[:-1]), rows]
    paths = []
    for number, (start, end) in enumerate(pairwise(bounds)):
        paths.append(out / f"abalone-{number:02d}.csv")
        paths[-1].write_text("".join(f"{line}\n" for line in found[start:end]), encoding="utf-8")
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory for the CSV objects")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    write_objects(arguments.out, arguments.rows, arguments.seed)


if __name__ == "__main__":
    main()
