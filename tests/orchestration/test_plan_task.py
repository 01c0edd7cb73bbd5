"""What `plan` takes from the run itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from include.orchestration.storage import Storage
from include.orchestration.tasks.plan import moment_of, plan
from tests.scoring.builders import TWO_CONTAINERS, document

INTERVAL, LOGICAL, AFTER = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3))


@pytest.mark.parametrize(
    ("interval", "logical", "expected"),
    [(INTERVAL, LOGICAL, INTERVAL), (None, LOGICAL, LOGICAL), (None, None, AFTER)],
)
def test_the_date_of_a_run_is_the_first_moment_that_it_has(
    interval: datetime | None, logical: datetime | None, expected: datetime
) -> None:
    """The data interval's start, else the logical date, else `run_after`, which every run has."""
    run = SimpleNamespace(data_interval_start=interval, logical_date=logical, run_after=AFTER)
    assert moment_of(run) == expected


@pytest.mark.parametrize("region", [None, "eu-central-1"])
def test_the_plan_knows_the_region_of_the_pipeline_or_else_of_its_connection(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, region: str | None
) -> None:
    """The connection's is us-east-1, whose prices the table has."""
    monkeypatch.setattr("include.orchestration.pipelines.FOLDER", tmp_path)
    changes = {
        "aws_conn_id": "aws_test", "region": region, "model": TWO_CONTAINERS, "work": "s3://bucket/work",
        "input.uri": "s3://bucket/in/",
    }  # fmt: skip
    (tmp_path / "churn.yaml").write_text(yaml.safe_dump(document(changes)))
    storage.write("s3://bucket/in/a.csv", "1,2,3\n" * 100)
    run = SimpleNamespace(
        conf={}, run_id="r", data_interval_start=INTERVAL, logical_date=INTERVAL, run_after=AFTER
    )
    ti = SimpleNamespace(try_number=1, dag_id="churn")
    made = plan("churn", params={"dry_run": True}, dag_run=run, ti=ti).value  # type: ignore[union-attr]
    assert made["region"] == (region or "us-east-1")
    assert any("by prices of us-east-1" in text for text in made["sentences"]) is (region is not None)
