"""Each kind of number is written with one precision, also where rounding changes its unit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.common.formatting import (
    format_bytes,
    format_cell,
    format_dollars,
    format_duration,
    format_extra_dollars,
    format_number,
    format_range,
    format_rate,
    format_share,
    format_unit_cost,
)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"), (1.0, "100%"), (0.95, "95%"), (0.5, "50%"), (0.1234, "12.3%"), (0.03125, "3.12%"), (0.05, "5%"),
        (0.0002, "0.02%"), (1e-9, "under 0.01%"), (0.9996, "99.96%"), (0.999999, "over 99.99%"), (2.5, "250%"),
        (0.09999, "10%"), (-0.25, "-25%"), (-0.031, "-3.1%"),
    ],
)  # fmt: skip
def test_shares_are_percentages(share: float, text: str) -> None:
    assert format_share(share) == text


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_no_share_is_rounded_to_nothing_or_to_all(share: float) -> None:
    assert format_share(share) not in ("0%", "100%")


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (None, "price unknown"), (0.0, "$0.00"), (0.00001, "under $0.0001"), (0.00007, "$0.0001"), (0.0014, "$0.0014"),
        (0.99996, "$1.00"), (0.5, "$0.50"), (0.036, "$0.0360"),
         (1.0, "$1.00"), (12.4, "$12.40"), (1234.567, "$1,234.57"), (-0.0012, "-$0.0012"),
        (-2.5, "-$2.50"), (-1e-9, "$0.00"),
    ],
)  # fmt: skip
def test_dollars(dollars: float | None, text: str) -> None:
    assert format_dollars(dollars) == text


@pytest.mark.parametrize(
    ("dollars", "text"),
    [(0.0012, "$0.0012 more"), (-0.0154, "$0.0154 less"), (0.0, "$0.00 more"), (None, "price unknown")],
)
def test_differences_of_dollars(dollars: float | None, text: str) -> None:
    assert format_extra_dollars(dollars) == text


@pytest.mark.parametrize(
    ("dollars_per_1000", "text"),
    [
        (0.32, "$0.32 per 1,000 records"), (12.0, "$12.00 per 1,000 records"),
        (0.00007, "$0.07 per million records"), (0.0014, "$1.40 per million records"),
        (0.000002, "$2.00 per billion records"), (0.0, "$0.00 per 1,000 records"),
    ],
)  # fmt: skip
def test_the_cost_of_records_has_a_unit_in_which_it_can_be_read(dollars_per_1000: float, text: str) -> None:
    assert format_unit_cost(dollars_per_1000) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"), (8.54, "8.5 s"), (9.96, "10 s"), (59.4, "59 s"), (59.7, "1 min 00 s"), (125, "2 min 05 s"),
        (1234.5, "20 min 34 s"), (3599.7, "1 h 00 min"), (4200, "1 h 10 min"), (7199, "2 h 00 min"),
        (3_600_000, "1,000 h 00 min"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("byte_count", "text"),
    [
        (0, "0 B"), (812, "812 B"), (999.7, "1.0 kB"), (1200, "1.2 kB"), (99_960, "100 kB"), (999_600, "1.0 MB"),
        (1.2e6, "1.2 MB"), (5e12, "5.0 TB"), (5e15, "5,000.0 TB"),
    ],
)  # fmt: skip
def test_sizes(byte_count: float, text: str) -> None:
    assert format_bytes(byte_count) == text


@pytest.mark.parametrize(
    ("bytes_per_second", "text"),
    [(2e6, "2 MB/s"), (197_000, "0.197 MB/s"), (1_234_500_000, "1,234 MB/s")],
)
def test_rates(bytes_per_second: float, text: str) -> None:
    assert format_rate(bytes_per_second) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "–"), (4.0, "4"), (0.123456, "0.1235"), (12345.6, "12,346"), (-1234.5, "-1,234"), (1e-7, "1e-07"),
        (1e16, "1e+16"), (0, "0"), (math.nan, "nan"), (math.inf, "inf"),
    ],
)  # fmt: skip
def test_measured_numbers(number: float | None, text: str) -> None:
    assert format_number(number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9.123456789, "9.12346"), (1_234_567.8, "1234568"), (0.00001, "1e-05"), (-2.5e6, "-2500000"), (None, "–"),
        (12, "12"), (True, "True"), ("a", "a"), (1e300, "1e+300"),
    ],
)  # fmt: skip
def test_cells_of_data(value: object, text: str) -> None:
    assert format_cell(value) == text


def test_a_range_of_equal_ends_is_one_number() -> None:
    assert format_range("20,000", "20,000") == "20,000"
    assert format_range("2", "3") == "2 to 3"
