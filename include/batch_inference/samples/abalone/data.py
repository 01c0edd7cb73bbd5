"""Draws realistic abalone records from a seed: the columns, steps and correlations of the real data.

Sizes and weights follow the published data (UCI, Nash et al. 1994): lengths by sex, diameter and height as shares
of length, weights close to the cube of length, rings rising with shell weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COLUMNS = (
    "sex",
    "length",
    "diameter",
    "height",
    "whole_weight",
    "shucked_weight",
    "viscera_weight",
    "shell_weight",
    "rings",
)
_SEXES = np.array(["M", "F", "I"])
_SHARE_OF_SEX = (0.366, 0.313, 0.321)
# Mean and standard deviation of length by sex, in 200 mm as the data has it.
_LENGTH = {"M": (0.561, 0.103), "F": (0.579, 0.086), "I": (0.428, 0.109)}


@dataclass(frozen=True)
class AbaloneRecords:
    """Clean records, column by column, in the order of COLUMNS; lengths and weights in the data's own units."""

    sex: np.ndarray
    numbers: np.ndarray  # one row for each record, length to shell_weight
    rings: np.ndarray


def draw_records(rows: int, rng: np.random.Generator) -> AbaloneRecords:
    sex = rng.choice(_SEXES, size=rows, p=_SHARE_OF_SEX)
    mean, spread = np.array([_LENGTH[name] for name in sex.tolist()]).reshape(-1, 2).T
    length = np.clip(rng.normal(mean, spread), 0.075, 0.815)
    diameter = np.clip(length * rng.normal(0.778, 0.022, rows), 0.055, 0.65)
    height = np.clip(length * rng.normal(0.266, 0.025, rows), 0.01, 0.25)
    whole = np.maximum(4.55 * length**3.0 * np.exp(rng.normal(0.0, 0.10, rows)), 0.002)
    shucked = np.maximum(whole * rng.normal(0.432, 0.045, rows), 0.001)
    viscera = np.maximum(whole * rng.normal(0.218, 0.025, rows), 0.0005)
    shell = np.maximum(whole * rng.normal(0.288, 0.030, rows), 0.0015)
    adult = np.where(sex == "I", 0.0, 0.8)
    age = 5.2 + adult + 17.0 * shell - 9.0 * (shucked - 0.43 * whole) + 4.0 * height
    rings = np.clip(np.rint(age * np.exp(rng.normal(0.0, 0.17, rows))), 1, 29).astype(int)
    steps = (0.005, 0.005, 0.005, 0.0005, 0.0005, 0.0005, 0.0005)
    least = (0.005, 0.005, 0.005, 0.002, 0.001, 0.0005, 0.0015)
    columns = np.stack((length, diameter, height, whole, shucked, viscera, shell), axis=1)
    numbers = np.maximum(np.rint(columns / steps) * steps, least)
    return AbaloneRecords(sex, numbers, rings)


def format_csv_lines(data: AbaloneRecords) -> list[str]:
    """Format each record as a CSV line without line end, numbers in the fewest digits."""
    return [
        f"{sex},{','.join([format(number, '.5g') for number in numbers])},{rings}"
        for sex, numbers, rings in zip(
            data.sex.tolist(), data.numbers.tolist(), data.rings.tolist(), strict=True
        )
    ]
