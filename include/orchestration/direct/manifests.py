"""`manifests`: a list of objects for each transform job, so that all of them have about the same work."""

from __future__ import annotations

import logging
from typing import Any

from include.orchestration.direct.documents import read_groups
from include.orchestration.names import CUT
from include.orchestration.run_context import RunContext, with_run
from include.scoring.layout import balanced
from include.scoring.requests import manifest_of, source_folder
from include.scoring.sizing import right_size

log = logging.getLogger(__name__)


@with_run
def manifests(run: RunContext, **_: Any) -> list[dict[str, Any]]:
    """The transform jobs: `{"manifest": uri, "objects": n, "bytes": n, "instance_count": n}` each.

    As many as the plan says, and never more than there are objects; one job gets the planned instances, several get one
    each.
    """
    plan, storage, paths = run.plan, run.storage, run.paths.layout(run.nonce)
    facts = run.pull(CUT, "facts")
    pieces = [(piece.uri, piece.bytes) for piece in read_groups(storage, paths, facts["groups"])]
    layout = plan["layout"]
    folder = paths.pieces if layout["way"] == "pieces" else source_folder(plan["input"]["uri"])
    lists = balanced([float(size) for _, size in pieces], right_size(layout["jobs"], len(pieces)))
    jobs = []
    assignment = [0] * len(pieces)
    for number, positions in enumerate(lists):
        positions.sort()
        for position in positions:
            assignment[position] = number
        storage.write_json(
            paths.manifest(number), manifest_of(folder, (pieces[position][0] for position in positions))
        )
        jobs.append(
            {
                "manifest": paths.manifest(number),
                "objects": len(positions),
                "bytes": sum(pieces[position][1] for position in positions),
                "instance_count": instances_of(plan, len(lists), len(positions)),
            }
        )
    storage.write_json(paths.assignment, assignment)
    log.info("%s jobs of %s objects", len(jobs), ", ".join(f"{job['objects']:,}" for job in jobs))
    return jobs


def instances_of(plan: dict[str, Any], jobs: int, objects: int) -> int:
    """Instances of one of so many jobs."""
    return 1 if jobs > 1 else right_size(plan["transform"]["instance_count"], objects)
