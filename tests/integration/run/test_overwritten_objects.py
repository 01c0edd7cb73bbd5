"""An input object that is overwritten while a run reads it fails the run; one that is overwritten later does not."""

from __future__ import annotations

import time

import pytest

from batch_inference.common.errors import ReconciliationError
from batch_inference.dag.tasks import plan
from batch_inference.run import handoffs, task_ids
from tests.integration.staged_runs import Pipelines, Run, deployed, document

__all__ = ["deployed"]

ROWS = ["a,f,1", "b,m,2", "c,f,3"]
WITHIN, LATER = 60.0, -60.0


def prepared(deployed: Pipelines, *, read_for: float) -> Run:
    """A run whose preprocessing ended so many seconds from now, and an object that was overwritten meanwhile."""
    deployed.write(document())
    for name in ("a.csv", "b.csv", "c.csv"):
        deployed.upload(5, ROWS, name)
    made = deployed.run("nightly-5", 5, lambda _: 1.0)
    made.task(task_ids.PLAN, plan.plan_run)
    made.prepare()
    made.xcoms[handoffs.PREPROCESS_JOB]["ended_at"] = time.time() + read_for
    deployed.upload(5, ["d,f,4"], "b.csv")
    return made


def test_an_object_overwritten_before_it_was_surely_read_fails_the_run_and_is_named(
    deployed: Pipelines,
) -> None:
    """The rows could be of either version, so none is published."""
    made = prepared(deployed, read_for=WITHIN)
    with pytest.raises(ReconciliationError, match=r"b\.csv was overwritten at .*Nothing is published"):
        made.collect_shards()


def test_objects_that_change_after_they_were_read_belong_to_the_next_run(deployed: Pipelines) -> None:
    """As do those that come and go meanwhile."""
    made = prepared(deployed, read_for=LATER)
    deployed.upload(5, ROWS, "0.csv")
    deployed.upload(5, ROWS[:2], "a.csv")
    deployed.storage.delete(["s3://bucket/in/date=2026-01-05/c.csv"])
    made.collect_shards()
    assert made.xcoms[handoffs.SHARD_STATS]["records_in"] == 9
