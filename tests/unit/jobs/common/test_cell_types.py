"""What is a cell of each type, and what is said of what is none; a whole column is parsed as each of its cells is."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batch_inference.jobs.common.byte_ranges import PADDING, ByteCells
from batch_inference.jobs.common.cell_types import (
    COLUMN_TYPES,
    format_day,
    is_column_type,
    parse_cell,
    to_datetime,
    to_number,
)
from batch_inference.jobs.common.numeric import parse_byte_cells, parse_column
from batch_inference.jobs.common.profiles import Profile, merge_profiles

BOOLEAN = "true, t, yes, y, 1, false, f, no, n, 0 or empty"
DATE, DAY = "a date such as 2026-01-31 or empty", "a date of the calendar, from 0001-01-01 to 9999-12-31"
TIMESTAMP = "a timestamp such as 2026-01-31T10:30:00, with at most 6 digits of a second, or empty"
TIMESTAMPTZ = "a timestamp such as 2026-01-31T10:30:00Z, with at most 6 digits of a second, or empty"
NO_ZONE = "a timestamp without a zone (timestamp), such as 2026-01-31T10:30:00, or empty"
ZONE = "a timestamp with Z or an offset (timestamptz), such as 2026-01-31T10:30:00Z, or empty"
TIME = "a time of the calendar, from the year 1 to 9999"
DECIMAL = "a decimal(5,2): at most 3 digits before the point and 2 behind"


@pytest.mark.parametrize(
    ("kind", "allowed", "cells"),
    [
        ("boolean", BOOLEAN, ["2", "10", "01", "1.0", "tru", "truee", "yes.", "on", "-", "\uff54rue", "\u017f"]),
        ("date", DATE, ["2026-1-31", "26-01-31", "31.01.2026", "2026/01/31", "20260131", "2026-01-31T", "+2026-01-31"]),
        ("date", DATE, ["2026-01-31 00:00", "2026-01-3\uff11", "2026-01-310", "today", "0"]),
        ("date", DAY, ["2026-02-29", "1900-02-29", "2026-13-10", "2026-04-31", "2026-01-00", "0000-01-01"]),
        ("timestamp", TIMESTAMP, ["2026-01-31T10", "2026-01-31T1:30", "2026-01-31t10:30", "2026-01-31  10:30"]),
        ("timestamp", TIMESTAMP, ["2026-01-31T10:30:00.", "2026-01-31T10:30:00,5", "2026-01-31T10:30:00.1234567"]),
        ("timestamp", NO_ZONE, ["2026-01-31T10:30:00Z", "2026-01-31T10:30+02", "2026-01-31 10:30:00.123456-03:00"]),
        ("timestamp", TIME, ["2026-01-31T24:00:00", "2026-01-31T10:60", "2026-01-31T23:59:60", "2026-02-30"]),
        ("timestamptz", ZONE, ["2026-01-31T10:30:00", "2026-01-31 10:30:00.123456", "2026-01-31"]),
        ("timestamptz", TIMESTAMPTZ, ["2026-01-31T10:30:00z", "2026-01-31T10:30:00 UTC", "2026-01-31T10:30:00+5"]),
        ("timestamptz", TIMESTAMPTZ, ["2026-01-31T10:30+05:", "2026-01-31T10:30Z+05", "2026-01-31T10:30:00.0000001Z"]),
        ("timestamptz", TIME, ["2026-01-31T10:30:00+24:00", "2026-01-31T10:30:00-05:60"]),
        ("timestamptz", TIME, ["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "2026-02-29T00:00:00Z"]),
        ("decimal(5,2)", "a number or empty", ["1,5", "1_0", "0x10", "nan", "1e", "--1", ".", "$1", "\u0661"]),
        ("decimal(5,2)", DECIMAL, ["1.234", "1000", "1e3", "-999.991", "1e-3", "99999e-3", "1e9999999999999999999"]),
        ("decimal(2,2)", "a decimal(2,2): at most 0 digits before the point and 2 behind", ["1", "-1.00", "0.125"]),
        ("decimal(38,0)", "a decimal(38,0): at most 38 digits before the point and 0 behind", ["9" * 39, "0.5"]),
    ],
)  # fmt: skip
def test_a_cell_of_another_type_is_told_what_is_allowed(kind: str, allowed: str, cells: list[str]) -> None:
    """One by one, and as a column, between cells of the type."""
    good = {"boolean": "yes", "date": "2026-01-31", "timestamp": "2026-01-31 10:30:00"}.get(kind, "0")
    good = "2026-01-31 10:30:00Z" if kind == "timestamptz" else good
    assert [parse_cell(cell, kind) for cell in cells] == [(None, allowed)] * len(cells)
    found = parse_column(["", good, *cells, good], kind)
    assert found.allowed == {at + 2: allowed for at in range(len(cells))}
    assert math.isnan(found.numbers[0])
    assert found.numbers[1] == found.numbers[-1]


@pytest.mark.parametrize(
    ("kind", "cells", "value"),
    [
        ("boolean", ["true", "TRUE", "tRuE", "t", "T", "yes", "Y", "1", " true ", "\t1"], True),
        ("boolean", ["false", "False", "F", "no", "NO", "n", "0"], False),
        ("date", ["1970-01-02", " 1970-01-02\t"], 1),
        ("date", ["9999-12-31"], (date.max - date(1970, 1, 1)).days),
        ("timestamp", ["1970-01-02", "1970-01-02 00:00", "1970-01-02T00:00:00", "1970-01-02T00:00:00.000000000"],
         86_400_000_000),
        ("timestamp", ["1969-12-31T23:59:59.9", "1969-12-31 23:59:59.900000 "], -100_000),
        ("timestamptz", ["1970-01-01T05:30+05:30", "1970-01-01T05:30:00+0530", "1970-01-01 03:00:00.0+03",
                         "1969-12-31T23:00:00-01:00", "1970-01-01T00:00Z", "1970-01-01Z"], 0),
        ("decimal(5,2)", ["1.5", "1.50", "+1.500000", "01.5", "15e-1", "0.015E2", " 1.5 "], Decimal("1.50")),
        ("decimal(5,2)", ["-999.99", "-99999e-2", "-0999.9900"], Decimal("-999.99")),
        ("decimal(3,0)", ["0", "0.000", "00", "0e99", "-0"], Decimal(0)),
    ],
)  # fmt: skip
def test_a_value_may_be_written_in_several_ways(kind: str, cells: list[str], value: Any) -> None:
    assert [parse_cell(cell, kind) for cell in cells] == [(value, "")] * len(cells)
    assert parse_column(cells, kind).numbers.tolist() == [to_number(value)] * len(cells)


KINDS = ["boolean", "date", "timestamp", "timestamptz", "decimal(5,2)", "decimal(18,4)", "decimal(38,20)"]
LIKELY = st.one_of(
    st.sampled_from(["", " ", "TRUE", "False", "yEs", "no", "T", "f", "1", "0", "y\n", "\0"]),
    st.from_regex(
        r"[ ]?[0-9]{3}[0-9X]-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-6][0-9](:[0-6][0-9](\.[0-9]{0,8})?)?)?"
        r"(Z|[+-][0-2][0-9]:?[0-6][0-9])?[ ]?",
        fullmatch=True,
    ),
    st.datetimes().map(lambda moment: moment.isoformat(sep=" ")),
    st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
    st.dates().map(str),
    st.from_regex(r"[+-]?[0-9]{0,19}\.?[0-9]{0,21}(e-?[0-9]{1,2})?", fullmatch=True),
    st.text(st.sampled_from("0129.-+:TZe \té\u017f"), max_size=30),
)


@settings(max_examples=80, deadline=None)
@given(kind=st.sampled_from(KINDS), cells=st.lists(LIKELY, max_size=12))
@example(kind="timestamp", cells=["9999-12-31T23:59:59.999999", "0001-01-01T00:00:00"])
def test_a_column_is_parsed_as_each_of_its_cells(kind: str, cells: list[str]) -> None:
    """Together, from bytes amid others, they have the numbers and the reasons that each has alone."""
    each = [parse_cell(cell, kind) for cell in cells]
    texts = [cell.encode() for cell in cells]
    starts, buffer = [], b"7"
    for text in texts:
        starts.append(len(buffer))
        buffer += text + b"3"
    first = np.array(starts, dtype=np.int64)
    ends = first + np.array([len(text) for text in texts], dtype=np.int64)
    for found in (
        parse_column(cells, kind),
        parse_byte_cells(ByteCells(buffer + bytes(PADDING), first, ends), kind),
    ):
        assert found.allowed == {at: allowed for at, (_, allowed) in enumerate(each) if allowed}
        good = [at for at, (_, allowed) in enumerate(each) if not allowed]
        assert repr(found.numbers[good].tolist()) == repr([to_number(each[at][0]) for at in good])


@settings(max_examples=150, deadline=None)
@given(moment=st.datetimes(), minutes=st.integers(-24 * 60 + 1, 24 * 60 - 1), day=st.dates())
def test_days_and_moments_are_those_of_the_calendar(moment: datetime, minutes: int, day: date) -> None:
    value, _ = parse_cell(moment.isoformat(), "timestamp")
    assert isinstance(value, int)
    assert to_datetime(value) == moment
    days, _ = parse_cell(str(day), "date")
    assert isinstance(days, int)
    assert format_day(days) == str(day)
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    value, allowed = parse_cell(f"{moment.isoformat()}{sign}{hours:02}:{rest:02}", "timestamptz")
    try:
        expected = moment - timedelta(minutes=minutes)
    except OverflowError:
        assert allowed == TIME
    else:
        assert isinstance(value, int)
        assert to_datetime(value).replace(tzinfo=UTC) == expected.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "kind",
    ["decimal", "decimal()", "decimal(0,0)", "decimal(39,0)", "decimal(2,3)", "decimal(5)", "decimal(5, 2)", "bool"],
)  # fmt: skip
def test_other_texts_are_no_types(kind: str) -> None:
    assert not is_column_type(kind)
    assert all(map(is_column_type, (*COLUMN_TYPES, "decimal(1,0)", "decimal(38,38)")))


def test_profiles_count_booleans_by_value_and_times_by_day() -> None:
    """A decimal is a number; hosts' profiles are merged."""
    cells = {
        "flag": ["yes", "1", "f", ""],
        "day": ["2026-01-31", "0001-01-01", "", "9999-12-31"],
        "at": ["2026-01-31T23:59:59.999999", "2026-01-31", "1969-12-31 23:59:59", "9999-12-31T23:59:59.999999"],
        "seen": ["2026-02-01T00:00:00+01:00", "2026-01-31T00:00:00Z", "", ""],
        "price": ["1.50", "2.5", "", "-1"],
    }  # fmt: skip
    types = {
        "flag": "boolean", "day": "date", "at": "timestamp", "seen": "timestamptz", "price": "decimal(18,4)",
    }  # fmt: skip
    profile = Profile(types)
    profile.add(cells, {name: parse_column(column, types[name]).numbers for name, column in cells.items()})
    merged = merge_profiles([profile.to_dict()] * 2)
    assert {name: merged[name]["values"] for name in ("flag", "day", "at", "seen")} == {
        "flag": {"true": 4, "false": 2},
        "day": {"0001-01-01": 2, "2026-01-31": 2, "9999-12-31": 2},
        "at": {"2026-01-31": 4, "1969-12-31": 2, "9999-12-31": 2},
        "seen": {"2026-01-31": 4},
    }
    assert [merged[name]["nulls"] for name in types] == [2, 2, 0, 4, 2]
    assert (merged["price"]["kind"], merged["price"]["min"], merged["price"]["mean"]) == ("number", -1.0, 1.0)
