"""The transform jobs of a run whose transform is mapped, read from XCom together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from include.orchestration.names import MANIFESTS, TRANSFORM, TRANSFORMED
from include.orchestration.run_context import RunContext
from include.scoring.errors import ReconciliationError


def finished_jobs(run: RunContext) -> list[dict[str, Any]]:
    """What the sensors returned, in the order of the manifests.

    Raises:
        ReconciliationError: a job was asked to read another manifest than `manifests` wrote last.
    """
    listed: Sequence[Mapping[str, Any]] = run.pull(MANIFESTS)
    indexes = range(len(listed))
    specs = run.pull(TRANSFORM, "spec", map_indexes=indexes)
    for job, spec in zip(listed, specs, strict=True):
        read = spec["request"]["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        if read != job["manifest"]:
            raise ReconciliationError(
                f"a transform job read {read}, but `manifests` wrote {job['manifest']}; the plan was made anew without "
                f"it: clear `transform` and all that follows it"
            )
    return [dict(each) for each in run.pull(TRANSFORMED, map_indexes=indexes)]
