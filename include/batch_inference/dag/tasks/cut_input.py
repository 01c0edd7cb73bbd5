"""`cut_input`: write the objects that the transform reads, unless the input stays unsplit; group them for `join`."""

from __future__ import annotations

import logging
from typing import Any

from batch_inference.dag.task_functions import provide_run_context
from batch_inference.input_pieces.cutting import list_unsplit_objects, write_pieces
from batch_inference.input_pieces.layout_files import read_listing, write_group
from batch_inference.planning.inputs.input_split import group_neighbours
from batch_inference.run.run_context import RunContext

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
        write_group(storage, paths, number, pieces[group.start : group.stop])
    run.push("cut_stats", {"count": len(pieces), "groups": len(groups)})
    log.info(
        "%s input objects, %s objects to transform, %s groups to join", len(objects), len(pieces), len(groups)
    )
    return [{"number": number} for number in range(len(groups))]
