"""Outliers, gaps, the user's own function, profiles and groups of the preprocess job."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.jobs.common.groups import MAX_GROUPS, GroupCounts, merge_group_counts
from batch_inference.jobs.common.profiles import NumberProfile, TextProfile, build_baseline, merge_profiles
from batch_inference.jobs.config.preprocess_config import SensitiveColumn
from tests.unit.jobs.containers import columns, config, run_preprocess

AB = columns(id="string", x="float")
BASELINE: dict[str, Any] = {
    "x": {"mean": 10.0, "std": 2.0, "q1": 8.0, "q3": 12.0, "median": 9.5},
    "id": {"most_frequent": "m"},
}


@pytest.mark.parametrize(
    ("rule", "rejected", "reason"),
    [
        (
            {"method": "iqr"},
            ["1.9", "18.1"],
            "x is 1.9, allowed is 2 to 18: 1.5 times the baseline's interquartile range around its quartiles 8 and 12",
        ),
        (
            {"method": "zscore"},
            ["1.9", "18.1", "2", "18", "3.9"],
            "x is 1.9, allowed is 4 to 16: 3 standard deviations around the baseline's mean 10",
        ),
        ({"method": "zscore", "factor": 100}, [], ""),
    ],
)
def test_outliers_are_told_by_the_stored_baseline(
    tmp_path: Path, rule: dict[str, Any], rejected: list[str], reason: str
) -> None:
    """Whatever tonight's records are like: here they are all outliers but two."""
    values = ["1.9", "18.1", "2", "18", "3.9", "", "16"]
    wanted = config(AB, baseline=BASELINE, rules=[{"name": "odd", "rule": "outlier", "column": "x", **rule}])
    ended = run_preprocess(tmp_path, wanted, {"a.csv": "".join(f"a,{one}\n" for one in values).encode()})
    found = ended.rejects()
    assert [one["text"] for one in found] == [f"a,{one}" for one in rejected]
    assert not found or found[0]["reason"] == reason


def test_gaps_are_filled_for_the_model_alone(tmp_path: Path) -> None:
    """Features get the stored median, records keep their gap."""
    impute = [{"column": "x", "strategy": "median"}, {"column": "id", "strategy": "most_frequent"}]
    ended = run_preprocess(
        tmp_path, config(AB, baseline=BASELINE, impute=impute), {"a.csv": b"a,1\nb,\n,\nc,x\n"}
    )
    assert ended.features() == [b"a,1\nb,9.5\nm,9.5\n"]
    assert ended.records() == [b"a,1\nb,\n,\n"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"function": {"module": "nowhere", "name": "f"}},
            "function.module 'nowhere' cannot be imported here",
        ),
        ({"function": {"module": "json", "name": "f"}}, "function.name is 'f', which json does not define"),
    ],
)
def test_what_cannot_be_had_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    ended = run_preprocess(tmp_path, config(AB, **change), {"a.csv": b"a,1\n"})
    assert ended.exit_code == 1
    assert ended.message.startswith(message)


FUNCTION = """
import pandas as pd

def prepare(frame):
    frame["ratio"] = frame["x"] / 4
    frame["big"] = frame["x"] > 2
    frame["id"] = frame["id"].str.upper()
    return frame[frame["id"] != "DROP"].sample(frac=1, random_state=1)

def grows(frame):
    return pd.concat([frame, frame], ignore_index=True)

def fails(frame):
    raise KeyError("weight")

def nothing(frame):
    return None

def modern(frame):
    whole = frame["x"].where(frame["x"] % 1 == 0)
    frame["whole"] = whole.astype("Int64")
    frame["big"] = pd.array([None if x != x else x > 5 for x in frame["x"]], dtype="boolean")
    frame["id"] = frame["id"].where(frame["id"] != "c").astype("string")
    frame["when"] = pd.to_datetime(["2026-01-31" if x == 2 else None for x in frame["x"]])
    return frame

def breaks(frame):
    frame["id"] = frame["id"] + "\\n"
    return frame
"""


def with_function(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Any:
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "mine.py").write_text(FUNCTION)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "user"))
    wanted = config(AB, function={"module": "mine", "name": name}, **changes)
    return run_preprocess(tmp_path, wanted, {"a.csv": b"a,1.50\nb,x\ndrop,2\nc,\nd,10\n"})


def test_a_function_of_the_user_makes_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns of its own, rows left out become rejects, order is that of the records, untouched text stays."""
    ended = with_function(tmp_path, "prepare", monkeypatch, feature_columns=["ratio", "id", "x", "big"])
    assert ended.features() == [b"0.375,A,1.50,false\n,C,,false\n2.5,D,10,true\n"]
    assert ended.records() == [b"a,1.50\nc,\nd,10\n"]
    assert [(one["record"], one["rule"], one["reason"]) for one in ended.rejects()] == [
        (2, "type", "x is 'x', allowed is a number or empty"),
        (3, "function", "mine.prepare left the record out"),
    ]


def test_a_function_is_not_asked_where_no_record_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = [
        {"name": "none", "rule": "range", "column": "x", "max": 0},
        {"name": "x", "rule": "required", "columns": ["x"]},
    ]
    ended = with_function(tmp_path, "prepare", monkeypatch, feature_columns=["ratio", "id"], rules=rules)
    assert ended.exit_code == 0, ended.message
    assert [one["record"] for one in ended.rejects()] == [1, 2, 3, 4, 5]


def test_gaps_of_any_kind_that_a_function_makes_are_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The missing value of pandas' newer types as well as NaN, None and NaT."""
    names = ["id", "whole", "big", "when"]
    ended = with_function(tmp_path, "modern", monkeypatch, feature_columns=names)
    assert ended.message == "algo-1: 5 in, 1 rejected, 1 shards"
    assert ended.features() == [b"a,,false,\ndrop,2,false,2026-01-31 00:00:00\n,,,\nd,10,true,\n"]


RECORDS = "records 1 to 5 of s3://bucket/in/a.csv"


@pytest.mark.parametrize(
    ("name", "features", "message"),
    [
        ("fails", ["x"], f"mine.fails failed on {RECORDS}: KeyError: 'weight'"),
        (
            "grows",
            ["x"],
            (
                f"mine.grows returned 8 rows for the 4 of {RECORDS}; it must keep the index of the rows, and may leave "
                "rows out"
            ),
        ),
        (
            "nothing",
            ["x"],
            f"mine.nothing returned NoneType for {RECORDS}; it must return a pandas DataFrame",
        ),
        ("prepare", ["x", "other"], f"mine.prepare returned no column other for {RECORDS}"),
    ],
)
def test_a_function_that_goes_wrong_ends_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, features: list[str], message: str
) -> None:
    ended = with_function(tmp_path, name, monkeypatch, feature_columns=features)
    assert (ended.exit_code, ended.message) == (1, message)


def test_a_line_break_that_a_function_makes_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = with_function(tmp_path, "breaks", monkeypatch)
    assert ended.manifest["rejected"] == {"type": 1, "line break": 4}


def test_groups_say_whom_rejection_falls_on(tmp_path: Path) -> None:
    """Records and rejects by group and rule; numbers fall into the bins given; two hosts' counts add up."""
    wanted = config(
        columns(sex="string", age="integer", x="float"),
        rules=[{"name": "small", "rule": "range", "column": "x", "max": 5}],
        feature_columns=["x"],
        sensitive_columns=[{"column": "sex"}, {"column": "age", "edges": [30, 50]}],
    )
    ended = run_preprocess(tmp_path, wanted, {"a.csv": b"f,29,1\nf,30,9\nm,50,1\n,,9\nm,40,one\nbroken\n"})
    counts = ended.manifest["groups"]
    assert counts["sex"] == {
        "(empty)": {"records": 1, "rejected": 1, "by_rule": {"small": 1}},
        "(unreadable)": {"records": 1, "rejected": 1, "by_rule": {"arity": 1}},
        "f": {"records": 2, "rejected": 1, "by_rule": {"small": 1}},
        "m": {"records": 2, "rejected": 1, "by_rule": {"type": 1}},
    }
    assert {label: (one["records"], one["rejected"]) for label, one in counts["age"].items()} == {
        "(empty)": (1, 1),
        "(unreadable)": (1, 1),
        "30 to 50": (2, 2),
        "50 and above": (1, 0),
        "below 30": (1, 0),
    }
    assert merge_group_counts([counts, counts])["sex"]["f"] == {
        "records": 4,
        "rejected": 2,
        "by_rule": {"small": 2},
    }


def test_unreadable_records_have_a_group_of_their_own_however_many_groups_there_are() -> None:
    """They fall on nobody, as those of the groups together do."""
    counts = GroupCounts([SensitiveColumn("id")], {"id": "string"})
    counts.add({"id": [str(at) for at in range(MAX_GROUPS + 50)]}, {}, {})
    counts.add_unreadable(["arity", "arity"])
    found = counts.to_dict()["id"]
    assert found["(unreadable)"] == {"records": 2, "rejected": 2, "by_rule": {"arity": 2}}
    assert found["(other)"] == {"records": 50, "rejected": 0, "by_rule": {}}


def test_the_profile_describes_the_records_that_passed(tmp_path: Path) -> None:
    """Counts, nulls, extremes and values; what was rejected is not in it."""
    ended = run_preprocess(tmp_path, config(AB), {"a.csv": b"a,1\nb,3\na,\n,5\nz,bad\n"})
    profile = json.loads((ended.output / ended.manifest["profile_key"]).read_text())
    x = profile["x"]
    assert (x["count"], x["nulls"], x["min"], x["max"], x["mean"]) == (3, 1, 1.0, 5.0, 3.0)
    assert sum(x["histogram"]["counts"]) == 3
    assert profile["id"] == {"kind": "text", "count": 3, "nulls": 1, "values": {"a": 2, "b": 1}, "others": 0}
    baseline = build_baseline(profile)
    assert baseline["id"] == {"most_frequent": "a"}
    again = config(AB, baseline=baseline, impute=[{"column": "x", "strategy": "median"}])
    filled = run_preprocess(tmp_path / "again", again, {"a.csv": b"a,\n"})
    assert float(filled.features()[0].split(b",")[1]) == pytest.approx(3.0, rel=0.01)


NUMBERS = st.lists(
    st.lists(st.one_of(st.just(math.nan), st.floats(-1e9, 1e9, allow_subnormal=False)), max_size=40),
    max_size=5,
)


@settings(max_examples=150)
@given(parts=NUMBERS)
def test_profiles_of_parts_merge_into_the_profile_of_the_whole(parts: list[list[float]]) -> None:
    """Quantiles are right to one percent, and hosts' profiles add up."""
    profiles = []
    for part in parts:
        one = NumberProfile()
        one.add(np.array(part, dtype=float))
        profiles.append({"x": one.to_dict()})
    whole = np.array([value for part in parts for value in part], dtype=float)
    present = np.sort(whole[~np.isnan(whole)])
    merged = merge_profiles(profiles).get("x", {"count": 0, "nulls": 0})
    assert (merged["count"], merged["nulls"]) == (len(present), len(whole) - len(present))
    if not len(present):
        return
    assert (merged["min"], merged["max"]) == (present[0], present[-1])
    scale = np.abs(present).max()
    assert merged["mean"] == pytest.approx(present.mean(), rel=1e-6, abs=1e-9 * scale)
    assert merged["std"] == pytest.approx(present.std(), rel=1e-5, abs=1e-6 * scale)
    assert sum(merged["histogram"]["counts"]) == len(present)
    for share, value in merged["quantiles"].items():
        exact = present[math.floor(float(share) * (len(present) - 1))]
        assert value == pytest.approx(exact, rel=0.0101)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_numbers_of_any_size_have_a_finite_profile_that_counts_them_all(values: list[float]) -> None:
    """Half of all doubles have no square; a cell that holds one must not end the job."""
    profile = NumberProfile()
    profile.add(np.array(values))
    found = json.loads(json.dumps(profile.to_dict(), allow_nan=False))
    assert (found["min"], found["max"], found["count"]) == (min(values), max(values), len(values))
    assert sum(found["histogram"]["counts"]) == len(values)
    assert min(values) <= found["quantiles"]["0.5"] <= max(values)
    if max(map(abs, values)) < 1e140:
        assert found["mean"] == pytest.approx(
            math.fsum(values) / len(values), rel=1e-9, abs=1e-9 * max(map(abs, values))
        )


def test_rare_texts_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; nothing goes uncounted, also when profiles are merged."""
    monkeypatch.setattr("batch_inference.jobs.common.profiles.MAX_TEXT_VALUES", 2)
    one = TextProfile()
    one.add(["a", "b", "c", "a", ""])
    assert one.to_dict() == {"kind": "text", "count": 4, "nulls": 1, "values": {"a": 2, "b": 1}, "others": 1}
    merged = merge_profiles([{"t": one.to_dict()}, {"t": one.to_dict()}])["t"]
    assert (merged["count"], merged["nulls"], merged["others"], merged["values"]["a"]) == (8, 2, 2, 4)


TYPES = {
    "flag": "boolean", "day": "date", "at": "timestamp", "seen": "timestamptz", "price": "decimal(18,4)",
}  # fmt: skip
ROWS = (
    b"YES,2026-01-31,2026-01-31 10:30:00.5,2026-01-31T10:30:00+02:00,1.50\n"
    b"0,0001-01-01,9999-12-31T23:59:59.999999,9999-12-31T00:00:00Z,-99999999999999.9999\n"
    b",,,,\n"
    b"f,2026-02-30,2026-01-31,2026-01-31T10:30:00Z,1\n"
    b"t,2026-01-31,2026-01-31,2026-01-31T10:30:00,1\n"
)
TYPED_FUNCTION = """
from datetime import date, datetime
from decimal import Decimal

def prepare(frame):
    assert frame["flag"].tolist() == [True, False, True], frame["flag"]
    assert [value.year for value in frame["day"]] == [2026, 1, 2026], frame["day"]
    assert [value.microsecond for value in frame["at"]] == [500000, 999999, 0], frame["at"]
    assert [value.utcoffset().total_seconds() for value in frame["seen"]] == [0, 0, 0], frame["seen"]
    assert frame["seen"][0].hour == 8, frame["seen"]
    assert frame["price"].tolist() == [Decimal("1.5"), Decimal("-99999999999999.9999"), Decimal("0.3")]
    frame["year"] = [value.year for value in frame["day"]]
    frame["flag"] = ~frame["flag"]
    frame["price"] = frame["price"].map(lambda value: value * 2)
    return frame
"""


@pytest.mark.parametrize("has_function", [False, True])
def test_a_model_gets_booleans_as_digits_and_a_function_gets_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_function: bool
) -> None:
    """Of any year, also where gaps are filled; records stay as they came, and others are rejected with the reason."""
    (tmp_path / "mine.py").write_text(TYPED_FUNCTION)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    function: dict[str, Any] = {"function": {"module": "mine", "name": "prepare"}} if has_function else {}
    constants = {"flag": "yes", "day": "2026-01-31", "at": "2026-01-31", "seen": "2026-01-31T00:00Z"}
    wanted = config(
        columns(**TYPES),
        impute=[
            *({"column": name, "strategy": "constant", "value": value} for name, value in constants.items()),
            {"column": "price", "strategy": "mean"},
        ],
        baseline={"price": {"mean": 0.1 + 0.2}},
        sensitive_columns=[{"column": "flag"}, {"column": "price", "edges": [0]}],
        feature_columns=["flag", "price", "year"] if has_function else ["flag", "day", "price"],
        **function,
    )
    ended = run_preprocess(tmp_path, wanted, {"a.csv": ROWS})
    assert ended.exit_code == 0, ended.message
    assert ended.records() == [b"".join(ROWS.splitlines(keepends=True)[:3])]
    assert ended.features() == (
        [b"0,3.0000,2026\n1,-199999999999999.9998,1\n0,0.6000,2026\n"]
        if has_function
        else [b"1,2026-01-31,1.50\n0,0001-01-01,-99999999999999.9999\n1,2026-01-31,0.3000\n"]
    )
    assert [one["reason"].split(",")[0] for one in ended.rejects()] == [
        "day is '2026-02-30'", "seen is '2026-01-31T10:30:00'",
    ]  # fmt: skip
    groups = ended.manifest["groups"]
    assert {label: (one["records"], one["rejected"]) for label, one in groups["flag"].items()} == {
        "(empty)": (1, 0), "true": (2, 1), "false": (2, 1),
    }  # fmt: skip
    assert {label: one["records"] for label, one in groups["price"].items()} == {
        "(empty)": 1, "0 and above": 3, "below 0": 1,
    }  # fmt: skip
