"""`publish` without preprocessing: prove that the planned objects were scored, each record once, and publish."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from include.orchestration.direct.documents import read_group, read_listing
from include.orchestration.direct.jobs import finished_jobs, together
from include.orchestration.names import CUT, PLAN
from include.orchestration.pipelines import named
from include.orchestration.storage import Storage
from include.orchestration.tasks.publish import publish_parts
from include.scoring.errors import ReconciliationError
from include.scoring.laid_out import PieceFile, reconcile_pieces
from include.scoring.naming import LayoutPaths, RunPaths


def publish(
    pipeline: str,
    joined: Iterable[Mapping[str, Any]],
    *,
    ti: Any,
    params: Mapping[str, Any],
    outlet_events: Any,
    **_: Any,
) -> dict[str, Any]:
    """Publish the rows that the joins wrote and tell of it by an Asset event, or nothing.

    Raises:
        ReconciliationError: the rows are not those of the planned objects, or parts are of different jobs; nothing was
            committed.
    """
    config, plan, jobs = named(pipeline), ti.xcom_pull(PLAN), finished_jobs(ti)
    storage, facts = Storage(config.aws_conn_id, config.region), ti.xcom_pull(CUT, key="facts")
    paths = RunPaths(plan["run_prefix"]).layout(plan["nonce"])
    parts = parts_of(joined, facts["groups"], [job["job_name"] for job in jobs])
    reconciled = reconcile_pieces(read_listing(storage, paths), counted(storage, paths, parts))
    return publish_parts(
        config,
        storage,
        plan,
        parts,
        reconciled,
        facts={"preprocess_job": None, **facts},
        transformed=together(jobs),
        try_number=ti.try_number,
        asked_output=params.get("output_uri"),
        outlet_events=outlet_events,
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
