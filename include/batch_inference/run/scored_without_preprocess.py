"""Builds scored.json of a run without preprocessing: checks that the planned objects were scored, each record once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.aws.transform_logs import read_instance_activity
from batch_inference.common.errors import ReconciliationError
from batch_inference.common.names import LayoutPaths
from batch_inference.input_pieces.layout_files import read_group, read_listing
from batch_inference.pricing.job_totals import merge_jobs
from batch_inference.run.mapped_jobs import read_finished_jobs
from batch_inference.run.run_context import RunContext
from batch_inference.run.scored_run import build_scored_document
from batch_inference.run.task_ids import CUT_INPUT
from batch_inference.verification.transform_objects import TransformObject, reconcile_pieces


def build_scored_run_without_preprocess(
    run: RunContext, joined_parts: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """scored.json of a run without preprocessing; its transform jobs are summed up as one stage.

    Raises:
        ReconciliationError: the rows are not those of the planned objects, or parts are of different jobs.
    """
    pipeline, storage, paths = run.pipeline, run.storage, run.paths.build_layout_paths(run.nonce)
    jobs, cut_stats = read_finished_jobs(run), run.pull(CUT_INPUT, "cut_stats")
    parts = select_parts(joined_parts, cut_stats["groups"], [job["job_name"] for job in jobs])
    reconciled = reconcile_pieces(read_listing(storage, paths), read_piece_counts(storage, paths, parts))
    measured_jobs = [
        {**job, **read_instance_activity(pipeline.aws_conn_id, pipeline.region, job)} for job in jobs
    ]
    return build_scored_document(
        jobs={"transform": merge_jobs(measured_jobs)},
        shard_stats={"preprocess_job": None, **cut_stats},
        parts=parts,
        transform_job=merge_jobs(jobs),
        reconciled=reconciled,
    )


def select_parts(
    joined_parts: Iterable[Mapping[str, Any]], group_count: int, transform_jobs: Sequence[str]
) -> list[Mapping[str, Any]]:
    """The parts that were joined from these jobs, one for each group.

    Airflow keeps the results of earlier joins; they name other jobs.

    Raises:
        ReconciliationError: a group has no part, or two.
    """
    parts = [part for part in joined_parts if list(part["transform_jobs"]) == list(transform_jobs)]
    numbers = sorted(part["number"] for part in parts)
    if numbers != list(range(group_count)):
        raise ReconciliationError(
            f"the joins of {', '.join(transform_jobs[:3])} gave the parts {numbers}, and there are {group_count} "
            f"groups; clear `join` and all that follows it"
        )
    return parts


def read_piece_counts(
    storage: Storage, paths: LayoutPaths, parts: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[TransformObject, int]]:
    """Each piece with the number of its joined rows."""
    for part in parts:
        pieces, rows = read_group(storage, paths, part["number"]), storage.read_json(part["counts"])
        if len(pieces) != len(rows) or sum(rows) != part["rows"]:
            raise ReconciliationError(
                f"{part['uri']} has {part['rows']:,} rows of {len(pieces):,} pieces, but {part['counts']} has "
                f"{sum(rows):,} of {len(rows):,}; clear `join` and all that follows it"
            )
        yield from zip(pieces, rows, strict=True)
