"""`cut_input`: write the objects that the transform reads, unless the input stays unsplit; group them for `join`."""

from __future__ import annotations

import logging
import math
from typing import Any

from batch_inference.dag.task_functions import provide_run_context
from batch_inference.dag.tasks.collect_shards import MAX_GROUPS
from batch_inference.input_pieces.cutting import list_unsplit_objects, write_pieces
from batch_inference.input_pieces.layout_files import read_listing, write_group
from batch_inference.planning.inputs.input_layout import LayoutPlan
from batch_inference.run.run_context import RunContext
from batch_inference.verification.transform_objects import group_pieces

log = logging.getLogger(__name__)


@provide_run_context
def cut_input(run: RunContext, **_: Any) -> list[dict[str, int]]:
    """The groups of pieces, one for each join task, each `{"number": n}`, counted from 0.

    Raises:
        LintError: around a cut, or in merged objects, lines are not records.
        ReconciliationError: an object was overwritten since the plan was made.
    """
    config, plan, storage, paths = (
        run.pipeline,
        run.plan,
        run.storage,
        run.paths.build_layout_paths(run.nonce),
    )
    layout, input_uri = LayoutPlan.model_validate(plan["layout"]), plan["input"]["uri"]
    objects = read_listing(storage, paths)
    if layout.mode == "pieces":
        pieces = write_pieces(storage, config, layout, input_uri, objects, paths.pieces)
    else:
        pieces = list_unsplit_objects(input_uri, objects)
    whole = sum(piece.bytes for piece in pieces)
    groups = group_pieces(pieces, max(plan["join"]["group_bytes"], math.ceil(whole / MAX_GROUPS)))
    for number, group in enumerate(groups):
        write_group(storage, paths, number, group)
    run.push("cut_stats", {"count": len(pieces), "groups": len(groups)})
    log.info(
        "%s input objects, %s objects to transform, %s groups to join", len(objects), len(pieces), len(groups)
    )
    return [{"number": number} for number in range(len(groups))]
