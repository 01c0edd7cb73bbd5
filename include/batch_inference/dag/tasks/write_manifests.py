"""`write_manifests`: write the list of objects of each transform job, with about the same bytes for each job."""

from __future__ import annotations

import logging
from typing import Any

from batch_inference.common.s3_uri import get_folder_uri
from batch_inference.dag.task_functions import provide_run_context
from batch_inference.input_pieces.layout_files import read_groups
from batch_inference.planning.clusters.sizing import cap_instance_count
from batch_inference.planning.inputs.input_split import balance_weights
from batch_inference.requests.sagemaker import build_manifest_file
from batch_inference.run.run_context import RunContext
from batch_inference.run.task_ids import CUT_INPUT

log = logging.getLogger(__name__)


@provide_run_context
def write_manifests(run: RunContext, **_: Any) -> list[dict[str, Any]]:
    """The transform jobs: `{"manifest": uri, "objects": n, "bytes": n, "instance_count": n}` each.

    As many as planned, but no more than there are objects. A single job gets the planned instances, several jobs get
    one each.
    """
    plan, storage, paths = run.plan, run.storage, run.layout_paths
    cut_stats = run.pull(CUT_INPUT, "cut_stats")
    pieces = [(piece.uri, piece.bytes) for piece in read_groups(storage, paths, cut_stats["groups"])]
    layout = plan.require_layout()
    folder = paths.pieces if layout.mode == "pieces" else get_folder_uri(plan.input.uri)
    lists = balance_weights([float(size) for _, size in pieces], cap_instance_count(layout.jobs, len(pieces)))
    jobs = []
    assignment = [0] * len(pieces)
    for number, positions in enumerate(lists):
        positions.sort()
        for position in positions:
            assignment[position] = number
        storage.write_json(
            paths.build_job_manifest_uri(number),
            build_manifest_file(folder, (pieces[position][0] for position in positions)),
        )
        jobs.append(
            {
                "manifest": paths.build_job_manifest_uri(number),
                "objects": len(positions),
                "bytes": sum(pieces[position][1] for position in positions),
                "instance_count": 1
                if len(lists) > 1
                else cap_instance_count(plan.transform.instance_count, len(positions)),
            }
        )
    storage.write_json(paths.assignment, assignment)
    log.info("%s jobs of %s objects", len(jobs), ", ".join(f"{job['objects']:,}" for job in jobs))
    return jobs
