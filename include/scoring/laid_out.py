"""What the transform reads without preprocessing, object for object, and of which input each was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from include.scoring.errors import ReconciliationError
from include.scoring.layout import Span
from include.scoring.listing import S3Object
from include.scoring.messages import count
from include.scoring.reconciliation import Reconciled


@dataclass(frozen=True, slots=True)
class PieceFile:
    """One object that the transform reads: an input object where it lies, a range of one, or several put together.

    `position` counts all of them from 0, in the order of the published rows. `records` are those counted in each source
    while they were put together, else None. `etag` is that of an object that was made, else None.
    """

    position: int
    uri: str
    bytes: int
    sources: tuple[Span, ...]
    records: int | None = None
    etag: str | None = None

    @property
    def name(self) -> str:
        """What it is called in messages and in counts."""
        return f"{self.position:07d}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "position": self.position,
            "uri": self.uri,
            "bytes": self.bytes,
            "sources": [[each.key, each.etag, each.start, each.end, each.size] for each in self.sources],
            "records": self.records,
            "etag": self.etag,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The reverse of `as_dict`."""
        return cls(
            position=document["position"],
            uri=document["uri"],
            bytes=document["bytes"],
            sources=tuple(Span(*each) for each in document["sources"]),
            records=document["records"],
            etag=document["etag"],
        )


def group_pieces(pieces: Sequence[PieceFile], group_bytes: int) -> list[list[PieceFile]]:
    """Neighbours in groups of at most `group_bytes`, and of at least one."""
    groups: list[list[PieceFile]] = []
    filled = 0
    for piece in pieces:
        if groups and filled + piece.bytes <= group_bytes:
            groups[-1].append(piece)
            filled += piece.bytes
        else:
            groups.append([piece])
            filled = piece.bytes
    return groups


def reconcile_pieces(planned: Iterable[S3Object], joined: Iterable[tuple[PieceFile, int]]) -> Reconciled:
    """Prove that exactly the planned objects were scored, each byte of each once; `joined` has the rows of each piece.

    The join compared the records that it read of each piece with the answers, so what is left to prove is that the
    pieces are the planned objects, by key and etag, without gap or overlap. Raises ReconciliationError naming the first
    object or piece that is not; nothing may be published then.
    """
    spans: dict[str, list[Span]] = {}
    rows = pieces = 0
    for piece, found in joined:
        if piece.records is not None and piece.records != found:
            raise ReconciliationError(
                f"{piece.uri}: {count(piece.records, 'record')} were put together, but {found:,} rows were joined; "
                f"nothing is published",
                piece.name,
            )
        rows, pieces = rows + found, pieces + 1
        for span in piece.sources:
            spans.setdefault(span.key, []).append(span)
    for item in planned:
        if item.size > 0:
            _check_covered(item, spans.pop(item.key, []))
    if spans:
        raise ReconciliationError(
            f"{min(spans)} was scored, but is not in the plan{_and_more(len(spans))}; nothing is published"
        )
    return Reconciled(records_in=rows, rejected={}, scored=rows, shards=pieces)


def _check_covered(item: S3Object, spans: list[Span]) -> None:
    at = 0
    for span in sorted(spans, key=lambda each: each.start):
        if span.etag != item.etag:
            raise ReconciliationError(
                f"{item.key}: what was scored has the etag {span.etag}, and the plan was made for {item.etag}; the "
                f"object was overwritten meanwhile; nothing is published"
            )
        if span.start != at:
            wrong = "scored twice" if span.start < at else "never scored"
            first, last = sorted((span.start, at))
            raise ReconciliationError(
                f"{item.key}: bytes {first:,} to {last:,} were {wrong}; nothing is published"
            )
        at = span.end
    if at != item.size:
        what = (
            "was planned but never scored"
            if not spans
            else f"was scored to byte {at:,} of {item.size:,} only"
        )
        raise ReconciliationError(f"{item.key} {what}; nothing is published")


def _and_more(number: int) -> str:
    return f" (and {number - 1:,} more)" if number > 1 else ""
