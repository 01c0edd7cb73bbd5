"""Rules about numbers, dates and timestamps, as exact as these are."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
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


def failing(rule: dict[str, Any], cells: list[str], kind: str = "integer") -> list[str]:
    """The cells of one column of this type that fail the rule."""
    parsed = parse_config(config(columns(n=kind), rules=[{"column": "n", **rule}]))
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


SCALED = st.one_of(  # digits of a decimal(38,4): doubles blur them from 10**16 on
    st.integers(-20_000, 20_000),
    st.integers(10**16 - 3, 10**16 + 3),
    st.integers(10**37, 10**37 + 40),
    st.integers(-(10**20) - 3, -(10**20) + 3),
)


def to_exact(digits: int) -> Decimal:
    """The decimal of these digits, four of them behind the point."""
    sign, texts, _ = Decimal(digits).as_tuple()
    return Decimal((sign, texts, -4))


@settings(max_examples=150, deadline=None)
@given(
    numbers=st.lists(SCALED, max_size=12), bounds=st.lists(SCALED, min_size=2, max_size=2), half=st.booleans(),
    exclusive=st.booleans(),
)  # fmt: skip
def test_decimals_are_compared_exactly(
    numbers: list[int], bounds: list[int], half: bool, exclusive: bool
) -> None:
    """With a range, whose bounds may lie between two decimals of the column, and with listed values."""
    values = [to_exact(number) for number in numbers]
    low, high = (Decimal(f"{to_exact(bound)}{'5' if half else ''}") for bound in sorted(bounds))
    assume(low < high or not exclusive)
    cells = ["", *(f" {value}" if value > 0 else f"{value}00" for value in values)]
    rule: dict[str, Any] = {"rule": "range", "min": str(low), "max": str(high)}
    rule |= {"exclusive_min": exclusive, "exclusive_max": exclusive}

    def passes(value: Decimal) -> bool:
        return low < value < high if exclusive else low <= value <= high

    assert failing(rule, cells, "decimal(38,4)") == [
        cell for cell, value in zip(cells[1:], values, strict=True) if not passes(value)
    ]
    listed = {to_exact(bound) for bound in bounds}
    assert failing({"rule": "allowed", "values": list(map(str, listed))}, cells, "decimal(38,4)") == [
        cell for cell, value in zip(cells[1:], values, strict=True) if value not in listed
    ]


NEAR_A_DAY = st.builds(  # microseconds of the year 9999 have doubles of 32 at a time
    lambda day, microseconds: day + timedelta(microseconds=microseconds),
    st.sampled_from([datetime(2026, 1, 31, 10, 30), datetime(9999, 12, 31), datetime(1, 1, 2)]),
    st.integers(-40, 40),
)


@settings(max_examples=150, deadline=None)
@given(
    moments=st.lists(NEAR_A_DAY, max_size=12), bounds=st.lists(NEAR_A_DAY, min_size=2, max_size=2),
    has_zone=st.booleans(), exclusive=st.booleans(),
)  # fmt: skip
def test_moments_are_compared_exactly(
    moments: list[datetime], bounds: list[datetime], has_zone: bool, exclusive: bool
) -> None:
    low, high = sorted(bounds)
    assume(low < high or not exclusive)
    kind, zone = ("timestamptz", "+00:00") if has_zone else ("timestamp", "")
    cells = ["", *(f"{moment}{zone}" for moment in moments)]
    rule: dict[str, Any] = {"rule": "range", "min": f"{low}{zone}", "max": f"{high}{zone}"}
    rule |= {"exclusive_min": exclusive, "exclusive_max": exclusive}

    def passes(moment: datetime) -> bool:
        return low < moment < high if exclusive else low <= moment <= high

    assert failing(rule, cells, kind) == [
        cell for cell, moment in zip(cells[1:], moments, strict=True) if not passes(moment)
    ]
    listed = {
        "rule": "allowed",
        "values": [f"{bound.isoformat()}{'Z' if has_zone else ''}" for bound in bounds],
    }
    assert failing(listed, cells, kind) == [
        cell for cell, moment in zip(cells[1:], moments, strict=True) if moment not in bounds
    ]


@pytest.mark.parametrize(
    ("kind", "rule", "cells", "fail"),
    [
        ("boolean", {"rule": "allowed", "values": ["true"]}, ["YES", "1", "no", ""], ["no"]),
        ("date", {"rule": "allowed", "values": ["2026-01-31"]}, [" 2026-01-31", "2026-02-01", ""], ["2026-02-01"]),
        ("date", {"rule": "range", "max": "2026-01-31"}, ["2026-01-31", "2026-02-01", ""], ["2026-02-01"]),
        ("date", {"rule": "range", "min": "2026-01-31", "exclusive_min": True}, ["2026-01-31", "2026-02-01"],
         ["2026-01-31"]),
        ("timestamptz", {"rule": "range", "min": "2026-01-31T00:00Z"},
         ["2026-01-31T01:00:00+02:00", "2026-01-31T01:00:00+01:00"], ["2026-01-31T01:00:00+02:00"]),
        ("decimal(18,4)", {"rule": "range", "min": 0.1, "max": 1}, ["0.0999", "0.1", "1.0001"], ["0.0999", "1.0001"]),
        ("decimal(18,4)", {"rule": "allowed", "values": [0.1, 2]}, ["0.10", "2.0", "0.11"], ["0.11"]),
        ("boolean", {"rule": "pattern", "pattern": "true|false"}, ["true", "yes", ""], ["yes"]),
        ("date", {"rule": "pattern", "pattern": ".*-01"}, ["2026-01-01", "2026-01-02"], ["2026-01-02"]),
    ],
)  # fmt: skip
def test_rules_of_a_type_compare_values_and_patterns_texts(
    kind: str, rule: dict[str, Any], cells: list[str], fail: list[str]
) -> None:
    assert failing(rule, cells, kind) == fail


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
