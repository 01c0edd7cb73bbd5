"""Tonight's sample input: CSV objects of unequal size, some rows dirty on purpose.

`python -m include.samples.abalone.generate --out DIR --rows 200000 --seed 20`
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from include.samples.abalone.data import draw, lines

ROWS = 200_000
SEED = 20
# How the rows spread over the objects: night batches are never equal.
_SHARES = (0.31, 0.24, 0.17, 0.12, 0.09, 0.05, 0.02)


def _without(place: int) -> Callable[[list[str]], list[str]]:
    return lambda cells: [*cells[:place], "", *cells[place + 1 :]]


def _with(place: int, value: str) -> Callable[[list[str]], list[str]]:
    return lambda cells: [*cells[:place], value, *cells[place + 1 :]]


# What goes wrong, with the share of rows that it happens to; the first two leave records that a model can impute.
DIRT: tuple[tuple[float, Callable[[list[str]], list[str]]], ...] = (
    (0.004, _without(3)),  # height missing
    (0.002, _without(7)),  # shell weight missing
    (0.003, _without(4)),  # whole weight missing
    (0.002, _with(3, "0.0")),  # no abalone is flat
    (0.001, _with(3, "1.13")),  # nor higher than long
    (0.002, _with(0, "X")),  # unknown sex
    (0.001, lambda cells: cells[:6]),  # cut off
    (0.001, lambda cells: [*cells, "7"]),  # one too many
    (0.001, _with(2, "n/a")),  # not a number
)
DUPLICATES = 0.004


def records(rows: int = ROWS, seed: int = SEED) -> list[str]:
    """`rows` CSV lines, dirty ones among them; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    found = lines(draw(rows, rng))
    order = iter(rng.permutation(rows).tolist())
    for share, spoil in DIRT:
        for place in [next(order) for _ in range(int(rows * share))]:
            found[place] = ",".join(spoil(found[place].split(",")))
    for _ in range(int(rows * DUPLICATES)):
        found[next(order)] = found[next(order)]
    return found


def write(out: Path, rows: int = ROWS, seed: int = SEED) -> list[Path]:
    """Write the objects below `out` and nothing else; returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    found = records(rows, seed)
    ends = [round(rows * end) for end in np.cumsum(_SHARES)]
    paths = []
    start = 0
    for number, end in enumerate([*ends[:-1], rows]):
        path = out / f"abalone-{number:02d}.csv"
        path.write_text("".join(f"{line}\n" for line in found[start:end]), encoding="utf-8")
        paths.append(path)
        start = end
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory for the CSV objects")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    write(arguments.out, arguments.rows, arguments.seed)


if __name__ == "__main__":
    main()
