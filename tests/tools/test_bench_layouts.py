"""Real jobs on the embedded AWS: what is planned without preprocessing is billed less than a naive run."""

from __future__ import annotations

import pytest

from tools.bench_layouts import inputs, run, table


def test_one_large_object_is_billed_less_in_pieces_than_as_it_lies() -> None:
    """A small version of `make bench-layouts`; every record is answered in both runs."""
    (row,) = run(records=300, per_record=0.04, start=0, chosen=[0])
    assert (row.way, row.instances) == ("pieces", 4)
    # The naive run has one instance at work and bills three more until that ends.
    assert row.naive > 4 * 0.04 * 300
    assert row.ours < row.naive
    assert f"| {row.name} | pieces |" in table([row])


@pytest.mark.parametrize("given", inputs(400), ids=lambda given: given.name)
def test_every_input_has_about_as_many_records(given: object) -> None:
    assert 300 <= sum(given.records.values()) <= 500  # type: ignore[attr-defined]
