"""Rules about numbers, as exact as the numbers are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from batch_inference.jobs.config.preprocess_config import parse_config
from batch_inference.jobs.preprocess.readers.batch import ParsedRecords, build_batch
from batch_inference.jobs.preprocess.record_validator import build_table
from batch_inference.jobs.preprocess.rules import compile_rule
from tests.unit.jobs.containers import columns, config, run_preprocess

N = columns(n="integer")
EDGE = 1 << 53  # above it not every whole number is a double
WHOLE = st.one_of(
    st.integers(-EDGE - 4, -EDGE + 4),
    st.integers(EDGE - 4, EDGE + 4),
    st.integers((1 << 63) - 3, (1 << 63) - 1),
    st.integers(-(1 << 63), -(1 << 63) + 3),
    st.integers(-9, 9),
)
BOUND = st.one_of(WHOLE, st.sampled_from([1 << 63, 10**30, 0.5, -2.5, 1e300, float(EDGE)]))


def failing(rule: dict[str, Any], cells: list[str]) -> list[str]:
    """The cells of one whole-number column that fail the rule."""
    parsed = parse_config(config(N, rules=[{"column": "n", **rule}]))
    lines = [f"{cell}\n" for cell in cells]
    batch = build_batch(ParsedRecords([[cell] for cell in cells], lines, 1, list(range(len(cells)))))
    table, wrong = build_table(parsed.input, ["n"], batch, np.arange(len(cells)))
    assert not wrong
    check, _ = compile_rule(parsed.rules[0], parsed.input)
    return [cell for cell, fails in zip(cells, check(table).tolist(), strict=True) if fails]


@settings(max_examples=300)
@given(numbers=st.lists(WHOLE, max_size=20), values=st.lists(BOUND, min_size=1, max_size=5))
def test_whole_numbers_are_allowed_exactly(numbers: list[int], values: list[Any]) -> None:
    """Of any size, in any spelling; an empty cell passes."""
    cells = ["", *map(str, numbers), *(f" +{number}" for number in numbers if number > 0)]
    exact = {Fraction(value) for value in values}
    assert failing({"rule": "allowed", "values": values}, cells) == [
        cell for cell in cells if cell and Fraction(int(cell)) not in exact
    ]


@settings(max_examples=300)
@given(numbers=st.lists(WHOLE, max_size=20), low=BOUND, high=BOUND, exclusive=st.booleans())
def test_whole_numbers_are_compared_exactly_with_a_range(
    numbers: list[int], low: Any, high: Any, exclusive: bool
) -> None:
    low, high = sorted((low, high))
    assume(low < high or not exclusive)  # a pipeline file with such a range is refused
    cells = ["", *map(str, numbers)]
    rule = {"rule": "range", "min": low, "max": high, "exclusive_min": exclusive, "exclusive_max": exclusive}

    def passes(number: int) -> bool:
        return low < number < high if exclusive else low <= number <= high

    assert failing(rule, cells) == [cell for cell in cells if cell and not passes(int(cell))]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"rule": "allowed", "values": [EDGE + 1]}, f"n is {EDGE}, allowed is one of {EDGE + 1}"),
        ({"rule": "range", "min": EDGE + 1}, f"n is {EDGE}, allowed is at least {EDGE + 1}"),
        ({"rule": "range", "max": EDGE, "exclusive_max": True}, f"n is {EDGE}, allowed is below {EDGE}"),
    ],
)
def test_what_doubles_blur_is_rejected_in_exact_words(
    tmp_path: Path, rule: dict[str, Any], reason: str
) -> None:
    wanted = config(N, rules=[{"name": "mine", "column": "n", **rule}])
    ended = run_preprocess(tmp_path, wanted, {"a.csv": f"{EDGE}\n".encode()})
    assert [one["reason"] for one in ended.rejects()] == [reason]
