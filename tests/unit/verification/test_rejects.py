"""Rejects of a run: merged by rule and column; what has values of sensitive columns is not handed out."""

from __future__ import annotations

from typing import Any

import pytest

from batch_inference.verification.rejects import EXAMPLE_GROUPS, collect_reject_details, sort_groups

SUMMARY, MENDED = "s3://bucket/run/pre/rejects.json", "s3://bucket/run/transform/mended.json"
REFUSED = {"document": MENDED, "rejects": "s3://bucket/run/transform/rejects/"}
GROUP: dict[str, Any] = {"rule": "type", "column": "age", "records": 2, "examples": []}
EXAMPLE = {"source": "s3://in/a.csv", "line": 1, "record": 1, "found": "x", "allowed": "", "text": "x"}


def collect(summary: list[str] | None, mended: list[str] | None) -> dict[str, Any]:
    """The details of a run whose documents withhold these columns; None: that of an earlier version."""
    documents: dict[str, Any] = {
        SUMMARY: {"records_in": 9, "withheld_columns": summary, "reject_groups": [GROUP]},
        MENDED: {"reject_groups": [{**GROUP, "rule": "refused by the model"}]},
    }
    if mended is not None:
        documents[MENDED]["withheld_columns"] = mended
    shard_stats = {} if summary is None else {"reject_summary": SUMMARY}
    return collect_reject_details(documents.__getitem__, shard_stats, [REFUSED])


@pytest.mark.parametrize(
    ("summary", "mended", "withheld", "jobs"),
    [
        ([], [], [], ["pre", "transform"]),
        (["age"], ["age"], ["age"], ["pre", "transform"]),
        (["age"], None, ["age"], ["pre", "transform"]),
        ([], None, [], ["pre", "transform"]),
        (None, ["age"], ["age"], ["transform"]),
        (None, [], [], ["transform"]),
        (None, None, [], []),
    ],
)
def test_rejects_of_which_nobody_knows_what_is_sensitive_are_not_handed_out(
    summary: list[str] | None, mended: list[str] | None, withheld: list[str], jobs: list[str]
) -> None:
    """As those of a run whose jobs an earlier version started."""
    details = collect(summary, mended)
    assert details["withheld_columns"] == withheld
    assert details["prefixes"] == [f"s3://bucket/run/{job}/rejects/" for job in jobs]
    assert details["groups"][-1]["rule"] == ("type" if summary is not None else "refused by the model")


def test_the_most_frequent_groups_have_examples() -> None:
    groups = [
        {"rule": "type", "column": str(number), "records": 100 - number, "examples": [EXAMPLE]}
        for number in range(EXAMPLE_GROUPS + 5)
    ]
    with_examples = [group["column"] for group in sort_groups([groups]) if group["examples"]]
    assert with_examples == [str(number) for number in range(20)]
