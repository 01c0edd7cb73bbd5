"""`cut`: make the objects that the transform reads, where the plan says so, and divide them among the joins."""

from __future__ import annotations

import logging
import math
from typing import Any

from include.orchestration.direct.cutting import make_pieces, where_they_lie
from include.orchestration.direct.documents import read_listing, write_group
from include.orchestration.run_context import RunContext, with_run
from include.orchestration.tasks.shards import MOST_GROUPS
from include.scoring.handing_over import LayoutPlan
from include.scoring.laid_out import group_pieces

log = logging.getLogger(__name__)


@with_run
def cut(run: RunContext, **_: Any) -> list[dict[str, int]]:
    """The groups of pieces that the joins share, each `{"number": n}`, counted from 0.

    Raises:
        LintError: around a cut, or in what is put together, lines are not records.
        ReconciliationError: an object was overwritten since the plan was made.
    """
    config, plan, storage, paths = run.pipeline, run.plan, run.storage, run.paths.layout(run.nonce)
    layout, input_uri = LayoutPlan.model_validate(plan["layout"]), plan["input"]["uri"]
    objects = read_listing(storage, paths)
    if layout.way == "pieces":
        pieces = make_pieces(storage, config, layout, input_uri, objects, paths.pieces)
    else:
        pieces = where_they_lie(input_uri, objects)
    whole = sum(piece.bytes for piece in pieces)
    groups = group_pieces(pieces, max(plan["join"]["group_bytes"], math.ceil(whole / MOST_GROUPS)))
    for number, group in enumerate(groups):
        write_group(storage, paths, number, group)
    run.push("facts", {"count": len(pieces), "groups": len(groups)})
    log.info("%s objects became %s to transform, in %s groups", len(objects), len(pieces), len(groups))
    return [{"number": number} for number in range(len(groups))]
