"""scored.json of a run without preprocessing: the proof that the planned objects were scored, each record once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from include.orchestration.direct.documents import read_group, read_listing
from include.orchestration.direct.jobs import finished_jobs
from include.orchestration.measure import work_of
from include.orchestration.names import CUT
from include.orchestration.run_context import RunContext
from include.orchestration.scored import document
from include.orchestration.storage import Storage
from include.scoring.errors import ReconciliationError
from include.scoring.laid_out import PieceFile, reconcile_pieces
from include.scoring.naming import LayoutPaths
from include.scoring.several_jobs import together


def scored_run(run: RunContext, joined: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """scored.json of a run without preprocessing; its transform jobs are told as one stage.

    Raises:
        ReconciliationError: the rows are not those of the planned objects, or parts are of different jobs.
    """
    config, storage, paths = run.pipeline, run.storage, run.paths.layout(run.nonce)
    finished, facts = finished_jobs(run), run.pull(CUT, "facts")
    parts = parts_of(joined, facts["groups"], [job["job_name"] for job in finished])
    reconciled = reconcile_pieces(read_listing(storage, paths), counted(storage, paths, parts))
    measured = [{**job, **work_of(config.aws_conn_id, config.region, job)} for job in finished]
    return document(
        jobs={"transform": together(measured)},
        facts={"preprocess_job": None, **facts},
        parts=parts,
        transformed=together(finished),
        reconciled=reconciled,
    )


def parts_of(
    joined: Iterable[Mapping[str, Any]], groups: int, transform_jobs: Sequence[str]
) -> list[Mapping[str, Any]]:
    """The parts that were joined from these jobs, one for each group.

    Joins that were cleared away leave their results in Airflow; their jobs are others.

    Raises:
        ReconciliationError: a group has no part, or two.
    """
    parts = [part for part in joined if list(part["transform_jobs"]) == list(transform_jobs)]
    numbers = sorted(part["number"] for part in parts)
    if numbers != list(range(groups)):
        raise ReconciliationError(
            f"the joins of {', '.join(transform_jobs[:3])} gave the parts {numbers}, and there are {groups} groups; "
            f"clear `join` and all that follows it"
        )
    return parts


def counted(
    storage: Storage, paths: LayoutPaths, parts: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[PieceFile, int]]:
    """Each piece with the rows that were joined of it."""
    for part in parts:
        pieces, rows = read_group(storage, paths, part["number"]), storage.read_json(part["counts"])
        if len(pieces) != len(rows) or sum(rows) != part["rows"]:
            raise ReconciliationError(
                f"{part['uri']} holds {part['rows']:,} rows of {len(pieces):,} pieces, and {part['counts']} says "
                f"{sum(rows):,} of {len(rows):,}; clear `join` and all that follows it"
            )
        yield from zip(pieces, rows, strict=True)
