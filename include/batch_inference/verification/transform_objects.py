"""Describes the objects that the transform reads without preprocessing, and reconciles them with the input."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from batch_inference.common.errors import ReconciliationError
from batch_inference.common.formatting import format_count
from batch_inference.planning.inputs.input_listing import S3Object
from batch_inference.planning.inputs.input_split import ByteRange
from batch_inference.verification.reconciliation import Reconciliation


@dataclass(frozen=True, slots=True)
class TransformObject:
    """One object that the transform reads: an input object itself, a copied range of one, or several merged.

    `position` counts from 0, in the order of the published rows. `records` is the number counted while sources were
    merged, else None. `etag` is that of an object that this run wrote, else None.
    """

    position: int
    uri: str
    bytes: int
    sources: tuple[ByteRange, ...]
    records: int | None = None
    etag: str | None = None

    @property
    def name(self) -> str:
        """Its name in messages and counts."""
        return f"{self.position:07d}"


def reconcile_pieces(
    planned_objects: Iterable[S3Object], joined_rows: Iterable[tuple[TransformObject, int]]
) -> Reconciliation:
    """Prove that exactly the planned objects were scored, every byte once; `joined_rows` pairs pieces with their rows.

    The join has compared the records of each piece with its predictions. It remains to prove that the pieces cover the
    planned objects, by key and ETag, without gap or overlap. Raises ReconciliationError with the first object or piece
    that does not; then nothing may be published.
    """
    ranges: dict[str, list[ByteRange]] = {}
    rows = pieces = 0
    for piece, row_count in joined_rows:
        if piece.records is not None and piece.records != row_count:
            raise ReconciliationError(
                f"{piece.uri}: {format_count(piece.records, 'record')} were merged, but {row_count:,} rows were "
                "joined; nothing is published",
                piece.name,
            )
        rows, pieces = rows + row_count, pieces + 1
        for byte_range in piece.sources:
            ranges.setdefault(byte_range.key, []).append(byte_range)
    for item in planned_objects:
        if item.size > 0:
            _check_covered(item, ranges.pop(item.key, []))
    if ranges:
        more = f" (and {len(ranges) - 1:,} more)" if len(ranges) > 1 else ""
        problem = f"{min(ranges)} was scored, but is not in the plan{more}"
        raise ReconciliationError(f"{problem}; nothing is published")
    return Reconciliation(records_in=rows, rejected={}, scored=rows, shards=pieces)


def _check_covered(item: S3Object, ranges: list[ByteRange]) -> None:
    covered_to = 0
    for byte_range in sorted(ranges, key=lambda each: each.start):
        if byte_range.etag != item.etag:
            raise ReconciliationError(
                f"{item.key}: what was scored has the etag {byte_range.etag}, and the plan was made for "
                f"{item.etag}; the object was overwritten meanwhile; nothing is published"
            )
        if byte_range.start != covered_to:
            wrong = "scored twice" if byte_range.start < covered_to else "never scored"
            first, last = sorted((byte_range.start, covered_to))
            where = f"{item.key}: bytes {first:,} to {last:,}"
            raise ReconciliationError(f"{where} were {wrong}; nothing is published")
        covered_to = byte_range.end
    if covered_to != item.size:
        partly = f"was scored to byte {covered_to:,} of {item.size:,} only"
        what = partly if ranges else "was planned but never scored"
        raise ReconciliationError(f"{item.key} {what}; nothing is published")
