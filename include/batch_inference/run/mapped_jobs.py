"""Reads the mapped transform jobs of a run from XCom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batch_inference.common.errors import ReconciliationError
from batch_inference.run.run_context import RunContext
from batch_inference.run.task_ids import AWAIT_TRANSFORM, TRANSFORM, WRITE_MANIFESTS


def read_finished_jobs(run: RunContext) -> list[dict[str, Any]]:
    """The finished jobs as the sensors returned them, in the order of the manifests.

    Raises:
        ReconciliationError: a job read another manifest than the last one of `write_manifests`.
    """
    jobs: Sequence[Mapping[str, Any]] = run.pull(WRITE_MANIFESTS)
    indexes = range(len(jobs))
    specs = run.pull(TRANSFORM, "spec", map_indexes=indexes)
    for job, spec in zip(jobs, specs, strict=True):
        read = spec["request"]["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        if read != job["manifest"]:
            raise ReconciliationError(
                f"a transform job read {read}, but `write_manifests` wrote {job['manifest']}; `plan` has run "
                f"again without it: clear `transform` and all that follows it"
            )
    return [dict(each) for each in run.pull(AWAIT_TRANSFORM, map_indexes=indexes)]
