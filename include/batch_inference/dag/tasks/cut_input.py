"""`cut_input`: write the objects that the transform reads, unless the input stays unsplit; group them for `join`.

`write_manifests`: write the list of objects of each transform job, with about the same bytes for each job.
"""

from __future__ import annotations

import logging
from itertools import chain
from typing import Any

from batch_inference.common.s3_uri import get_folder_uri
from batch_inference.dag.task_functions import provide_run_context
from batch_inference.input_pieces.cutting import list_unsplit_objects, write_pieces
from batch_inference.input_pieces.layout_files import read_join_group, read_listing, write_join_group
from batch_inference.planning.clusters.exploration import pick_for_trials
from batch_inference.planning.clusters.sizing import cap_instance_count, count_requests
from batch_inference.planning.inputs.input_split import balance_weights, group_neighbours
from batch_inference.requests.sagemaker import build_manifest_file
from batch_inference.run.run_context import RunContext
from batch_inference.run.task_ids import CUT_INPUT

log = logging.getLogger(__name__)


@provide_run_context
def cut_input(run: RunContext, **_: Any) -> list[dict[str, int]]:
    """The groups of pieces, one for each join task, each `{"number": n}`, counted from 0.

    Raises:
        RequestLintError: around a cut, or in merged objects, lines are not records.
        ReconciliationError: an object was overwritten since the plan was made.
    """
    plan, storage, paths = run.plan, run.storage, run.layout_paths
    layout = plan.require_layout()
    objects = read_listing(storage, plan)
    if layout.mode == "pieces":
        pieces = write_pieces(storage, run.pipeline, layout, plan.input.uri, objects, paths.pieces)
    else:
        pieces = list_unsplit_objects(plan.input.uri, objects)
    groups = group_neighbours(pieces, plan.join.compute_group_bytes(sum(piece.bytes for piece in pieces)))
    for number, group in enumerate(groups):
        write_join_group(storage, paths, number, pieces[group.start : group.stop])
    run.push("cut_stats", {"count": len(pieces), "groups": len(groups)})
    log.info(
        "%s input objects, %s objects to transform, %s groups to join", len(objects), len(pieces), len(groups)
    )
    return [{"number": number} for number in range(len(groups))]


@provide_run_context
def write_manifests(run: RunContext, **_: Any) -> list[dict[str, Any]]:
    """The transform jobs: `{"manifest": uri, "objects": n, "bytes": n, "instance_count": n, "trial": n}` each.

    As many as planned, but no more than there are objects. A single job gets the planned instances, several jobs get
    one each. The last ones are the trials, by the number of their plan; of other jobs that is an empty text.
    """
    plan, storage, paths = run.plan, run.storage, run.layout_paths
    cut_stats = run.pull(CUT_INPUT, "cut_stats")
    pieces = [
        (piece.uri, piece.bytes)
        for number in range(cut_stats["groups"])
        for piece in read_join_group(storage, paths, number)
    ]
    layout = plan.require_layout()
    folder = paths.pieces if layout.mode == "pieces" else get_folder_uri(plan.input.uri)
    for_trials = pick_for_trials([size for _, size in pieces], plan.trials, plan.input.text_bytes)
    tried = set(chain.from_iterable(for_trials))
    usual = [position for position in range(len(pieces)) if position not in tried]
    # Objects have the bytes of the listing, compressed or not.
    text_share, payload = plan.input.text_bytes / plan.input.bytes, plan.transform.max_payload_mb
    texts = [pieces[position][1] * text_share for position in usual]
    weights = [text + layout.request_bytes * count_requests(1, text, payload) for text in texts]
    lists = [
        [usual[each] for each in sorted(positions)]
        for positions in balance_weights(weights, cap_instance_count(layout.jobs, len(usual)))
    ]
    planned_instances = 1 if len(lists) > 1 else plan.transform.instance_count
    trial_lists = [(str(number), positions) for number, positions in enumerate(for_trials) if positions]
    jobs = []
    assignment = [0] * len(pieces)
    for number, (trial, positions) in enumerate([*(("", each) for each in lists), *trial_lists]):
        for position in positions:
            assignment[position] = number
        uri, mine = paths.build_job_manifest_uri(number), [pieces[position] for position in positions]
        storage.write_json(uri, build_manifest_file(folder, (piece_uri for piece_uri, _ in mine)))
        jobs.append(
            {
                "manifest": uri,
                "objects": len(mine),
                "bytes": sum(size for _, size in mine),
                "instance_count": 1 if trial else cap_instance_count(planned_instances, len(mine)),
                "trial": trial,
            }
        )
    storage.write_json(paths.assignment, assignment)
    log.info("%s jobs of %s objects", len(jobs), ", ".join(f"{job['objects']:,}" for job in jobs))
    return jobs
