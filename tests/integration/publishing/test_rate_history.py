"""What runs measured is kept for the plans of later ones, whatever version wrote it."""

from __future__ import annotations

import io

import pyarrow
import pyarrow.parquet
import pytest

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import build_history_prefix
from batch_inference.config.pipeline import Pipeline
from batch_inference.publishing.measured_rates import add_run_to_rate_history, read_rate_history
from tests.unit.builders import pipeline
from tests.unit.planning.test_rate_history import row


def put_rows(storage: Storage, of: Pipeline, name: str, rows: list[dict[str, object]]) -> None:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    prefix = build_history_prefix(work=of.work, pipeline=of.name)
    storage.write(f"{prefix}{name}.parquet", buffer.getvalue(), content_type="application/octet-stream")


def test_rows_come_back_in_order_of_time_and_those_of_other_columns_are_left_out(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """A version that has a column more still plans, from the runs that it can read."""
    churn = pipeline({"work": "s3://bucket/work"})
    later, earlier = row(data_time="2026-01-02T00:00:00+00:00"), row(data_time="2026-01-01T00:00:00+00:00")
    add_run_to_rate_history(storage, churn, "b" * 16, [later])
    add_run_to_rate_history(storage, churn, "a" * 16, [earlier])
    without_bytes = {key: value for key, value in row(run_id="old").model_dump().items() if key != "bytes"}
    put_rows(storage, churn, "20251231T000000Z-old", [without_bytes])
    put_rows(storage, churn, "20260103T000000Z-new", [{**later.model_dump(), "energy": 1.0}])
    assert read_rate_history(storage, churn) == [earlier, later, later]
    assert "the rates measured by the run old are not used" in caplog.text
