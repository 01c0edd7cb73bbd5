"""Real jobs on the embedded AWS: what is planned without preprocessing is billed less than a naive run."""

from __future__ import annotations

import pytest

from tools.benchmarks.layouts import build_inputs, render_table, run_bench


def test_one_large_object_is_billed_less_in_pieces_than_as_it_lies() -> None:
    """A small version of `make bench-layouts`; every record is answered in both runs."""
    (row,) = run_bench(record_count=300, seconds_per_record=0.04, start_seconds=0, positions=[0])
    assert (row.layout_mode, row.instances) == ("pieces", 4)
    # The naive run has one instance at work and bills three more until that ends.
    assert row.naive_instance_seconds > 4 * 0.04 * 300
    assert row.planned_instance_seconds < row.naive_instance_seconds
    assert f"| {row.name} | pieces |" in render_table([row])


@pytest.mark.parametrize("given", build_inputs(400), ids=lambda given: given.name)
def test_every_input_has_about_as_many_records(given: object) -> None:
    assert 300 <= sum(given.records.values()) <= 500  # type: ignore[attr-defined]
