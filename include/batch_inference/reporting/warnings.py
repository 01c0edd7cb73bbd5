"""Builds the sentences about a run that has published and still needs a look: its rejects and its rows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from batch_inference.common.formatting import format_count, format_share
from batch_inference.verification.rejects import is_share_warned

#: Earlier published runs that the rows of a run are compared with, and the share of their median below which it has a
#: warning.
COMPARED_RUNS, FEW_ROWS_SHARE = 7, 0.5


def build_warnings(
    records: Mapping[str, Any] | None, *, rows: int | None = None, rows_before: Sequence[int] = ()
) -> list[str]:
    """The warnings of a run, the most important first.

    `records` are the counts of a report; `rows` were published, and `rows_before` by earlier runs.
    """
    warnings = []
    if rows is not None and (sentence := _compare_rows(rows, rows_before)):
        warnings.append(sentence)
    if records and is_share_warned(records["rejected"], records["in"]):
        warnings.append(describe_rejected(records))
    return warnings


def describe_rejected(records: Mapping[str, Any]) -> str:
    """How many records were rejected, as a share and a count, and the most frequent reason."""
    share = format_share(records["rejected"] / records["in"])
    counts = f"{records['rejected']:,} of {format_count(records['in'], 'record')}"
    by_reason = records["rejected_by_reason"]
    first = max(by_reason, key=by_reason.__getitem__, default=None)
    most = "" if first is None else f", {by_reason[first]:,} of them for: {first}"
    return f"{share} of the records were rejected: {counts}{most}."


def _compare_rows(rows: int, rows_before: Sequence[int]) -> str | None:
    last = list(rows_before[-COMPARED_RUNS:])
    median = statistics.median(last) if last else 0
    if not median or rows >= FEW_ROWS_SHARE * median:
        return None
    runs = "the last run" if len(last) == 1 else f"the last {len(last)} runs (median)"
    share = format_share(rows / median)
    return f"Only {format_count(rows, 'row')} published: {share} of the {median:,.0f} that {runs} published."
