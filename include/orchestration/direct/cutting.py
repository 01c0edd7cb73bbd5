"""Makes the pieces of an input in S3: ranges by server-side copies at line ends, small objects put together."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from include.jobs.blocks import Blocks
from include.orchestration.direct.looking import AT_A_TIME, line_end_after
from include.orchestration.direct.ranges import check_unchanged, copy_span, read_whole
from include.orchestration.storage import Storage
from include.scoring.config import Pipeline
from include.scoring.errors import LintError
from include.scoring.glance import Window, look, look_at_beginning
from include.scoring.handing_over import LayoutPlan
from include.scoring.laid_out import PieceFile
from include.scoring.layout import Piece, Span, lay_out
from include.scoring.listing import S3Object
from include.scoring.s3uri import split


def where_they_lie(input_uri: str, objects: Iterable[S3Object]) -> list[PieceFile]:
    """Each object of the input as it is."""
    bucket = split(input_uri)[0]
    whole = lay_out(objects, piece_bytes=1, merge_below=0, splittable=False)
    return [
        PieceFile(position, f"s3://{bucket}/{piece[0].key}", piece[0].bytes, piece)
        for position, piece in enumerate(whole)
    ]


def make_pieces(
    storage: Storage,
    pipeline: Pipeline,
    layout: LayoutPlan,
    input_uri: str,
    objects: Iterable[S3Object],
    target: str,
) -> list[PieceFile]:
    """Write the pieces below `target`; the same input gives the same pieces, so a second try writes them again.

    Raises:
        LintError: lines are not records where the input would be cut or put together.
        ReconciliationError: an object was overwritten since the plan was made.
    """
    bucket = split(input_uri)[0]
    wished = list(
        lay_out(
            objects,
            piece_bytes=layout.piece_bytes,
            merge_below=layout.merge_below,
            splittable=pipeline.input.compression == "none",
        )
    )
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        pieces = list(_at_line_ends(wished, storage, pipeline, bucket, pool))
        suffix = "jsonl" if pipeline.input.format == "jsonlines" else "csv"
        uris = (f"{target}{position:07d}.{suffix}" for position in range(len(pieces)))
        made = list(
            pool.map(
                lambda numbered: _make(storage, pipeline, bucket, *numbered),
                zip(range(len(pieces)), pieces, uris, strict=False),
            )
        )
        copied = {span.key: span.etag for piece in pieces if len(piece) == 1 for span in piece}
        list(
            pool.map(
                lambda each: check_unchanged(storage, f"s3://{bucket}/{each[0]}", each[1]), copied.items()
            )
        )
    etags = {each.key: each.etag for each in storage.objects(target)}
    return [replace(piece, etag=etags[split(piece.uri)[1]]) for piece in made]


def _at_line_ends(
    wished: Sequence[Piece], storage: Storage, pipeline: Pipeline, bucket: str, pool: ThreadPoolExecutor
) -> Iterator[Piece]:
    """The pieces with their cuts moved to line ends; where two cuts meet at one, the piece between them is none."""
    inner = [piece[0] for piece in wished if piece[0].start > 0]
    moved = dict(
        zip(
            ((span.key, span.start) for span in inner),
            pool.map(lambda span: line_end_after(storage, pipeline, bucket, span), inner),
            strict=True,
        )
    )
    for piece in wished:
        if len(piece) > 1 or piece[0].is_whole:
            yield piece
            continue
        span = piece[0]
        start, end = (moved.get((span.key, at), at) for at in (span.start, span.end))
        if start < end:
            yield (replace(span, start=start, end=end),)


def _make(
    storage: Storage, pipeline: Pipeline, bucket: str, position: int, piece: Piece, uri: str
) -> PieceFile:
    if len(piece) == 1:
        copy_span(storage, bucket, piece[0], uri)
        return PieceFile(position, uri, piece[0].bytes, piece)
    together = io.BytesIO()
    for span in piece:
        data = read_whole(storage, f"s3://{bucket}/{span.key}", span.etag)
        _check(span, data, pipeline)
        together.write(data if data.endswith(b"\n") else data + b"\n")
    storage.write(uri, together.getvalue(), content_type="application/octet-stream")
    size = together.tell()
    together.seek(0)
    delimiter = pipeline.input.delimiter if pipeline.input.format == "csv" else None
    records = sum(block.count for block in Blocks(together, delimiter))
    return PieceFile(position, uri, size, piece, records)


def _check(span: Span, data: bytes, pipeline: Pipeline) -> None:
    """All of an object that passes through here is looked at."""
    told, problems = look(Window(span.key, 0, data, is_end=True), pipeline.input)
    beginning = look_at_beginning(data, pipeline.input)
    if beginning is not None:
        problems = (f"{span.key}: {beginning}",)
    elif told.header:
        names = "found a first line of column names, which the model would be given as a record"
        problems = (
            f"{span.key}: {names}; upload the object without it, or add a preprocess section with input.header",
        )
    if problems:
        raise LintError(problems)
