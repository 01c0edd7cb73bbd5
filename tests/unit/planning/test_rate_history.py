"""Each run adds rows to the history, from which later plans learn."""

from __future__ import annotations

from typing import Any

import pytest

from batch_inference.planning.clusters.rate_history import HistoryRow, build_history_rows
from batch_inference.planning.clusters.rate_model import compute_rate
from tests.unit.reporting.test_report import report


def row(**changes: Any) -> HistoryRow:
    known: dict[str, Any] = {
        "pipeline": "churn", "run_id": "r", "data_time": "2026-01-01", "stage": "transform",
        "instance_type": "ml.m5.xlarge", "instance_count": 2, "model": "churn-model", "bytes": 1_000_000_000,
        "records": 1000, "objects": 20, "provisioning_seconds": 240.0, "running_seconds": 340.0, "busy_seconds": 500.0,
        "start_seconds": 90.0, "predicted_seconds": 320.0, "dollars": 0.05,
    }  # fmt: skip
    return HistoryRow.model_validate({**known, **changes})


def test_a_report_gives_the_rows_that_the_next_plan_reads() -> None:
    rows = build_history_rows(report())
    assert [
        (
            each.stage,
            each.instance_count,
            each.bytes,
            each.records,
            each.objects,
            each.busy_seconds,
            each.start_seconds,
        )
        for each in rows
    ] == [("preprocess", 2, 40_000_000, 68, 2, 150.0, None), ("transform", 2, 40_000_000, 60, 3, 60.0, 20.0)]
    assert HistoryRow.model_validate(rows[0].model_dump()) == rows[0]
    settings = [(each.max_concurrent_transforms, each.max_payload_mb, each.batch_strategy) for each in rows]
    assert settings == [(None, None, None), (4, 6, "MultiRecord")]
    learned = compute_rate(rows, stage="transform", instance_type="ml.m5.xlarge", model_key="churn-model")
    assert learned.bytes_per_second == pytest.approx(40e6 / 60)
    assert learned.start_seconds == 20.0


def test_a_stage_that_ran_on_several_types_teaches_the_rate_of_none() -> None:
    figures = report()
    figures["stages"][1]["billed_by_type"] = {"ml.m5.xlarge": 30.0, "ml.m5.2xlarge": 30.0}
    assert [row.stage for row in build_history_rows(figures)] == ["preprocess"]
