"""Writes the pieces of an input to S3: ranges cut at line ends by server-side copies, and merged small objects."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from batch_inference.aws.ranges import check_etag, copy_span, read_object
from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import RequestLintError
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.input_pieces.range_probe import MAX_WORKERS, find_line_start
from batch_inference.planning.inputs.input_layout import LayoutPlan
from batch_inference.planning.inputs.input_listing import S3Object
from batch_inference.planning.inputs.input_probe import Window, find_object_start_problem, probe_window
from batch_inference.planning.inputs.input_split import ByteRange, InputPiece, split_objects
from batch_inference.verification.transform_objects import TransformObject


def list_unsplit_objects(input_uri: str, objects: Iterable[S3Object]) -> list[TransformObject]:
    """One piece for each object of the input, unsplit."""
    bucket = split_s3_uri(input_uri)[0]
    whole = split_objects(objects, piece_bytes=1, merge_below_bytes=0, is_splittable=False)
    return [
        TransformObject(position, f"s3://{bucket}/{piece[0].key}", piece[0].bytes, piece)
        for position, piece in enumerate(whole)
    ]


def write_pieces(
    storage: Storage,
    pipeline: Pipeline,
    layout: LayoutPlan,
    input_uri: str,
    objects: Iterable[S3Object],
    pieces_prefix: str,
) -> list[TransformObject]:
    """Write the pieces below `pieces_prefix`; the same input gives the same pieces, so a retry overwrites them.

    Raises:
        RequestLintError: lines are not records where the input would be cut or merged.
        ReconciliationError: an object was overwritten since the plan was made.
    """
    bucket = split_s3_uri(input_uri)[0]
    planned_pieces = list(
        split_objects(
            objects,
            piece_bytes=layout.piece_bytes,
            merge_below_bytes=layout.merge_below_bytes,
            merged_objects=layout.merged_objects,
            is_splittable=pipeline.input.compression == "none",
        )
    )
    with ThreadPoolExecutor(MAX_WORKERS) as pool:
        pieces = list(_move_cuts_to_line_ends(planned_pieces, storage, pipeline, bucket, pool))
        suffix, positions = "jsonl" if pipeline.input.format == "jsonlines" else "csv", range(len(pieces))
        uris = (f"{pieces_prefix}{position:07d}.{suffix}" for position in positions)
        written = list(pool.map(partial(_write_piece, storage, pipeline, bucket), positions, pieces, uris))
        copied = {piece[0].key: piece[0] for piece in pieces if len(piece) == 1}.values()
        list(pool.map(lambda span: check_etag(storage, f"s3://{bucket}/{span.key}", span.etag), copied))
    etags = {each.key: each.etag for each in storage.list_objects(pieces_prefix)}
    return [replace(piece, etag=etags[split_s3_uri(piece.uri)[1]]) for piece in written]


def _move_cuts_to_line_ends(
    planned_pieces: Sequence[InputPiece],
    storage: Storage,
    pipeline: Pipeline,
    bucket: str,
    pool: ThreadPoolExecutor,
) -> Iterator[InputPiece]:
    """The pieces with their cuts moved to line ends; a piece that becomes empty is dropped."""
    inner = [piece[0] for piece in planned_pieces if piece[0].start > 0]
    line_ends = pool.map(partial(find_line_start, storage, pipeline, bucket), inner)
    moved = dict(zip(((span.key, span.start) for span in inner), line_ends, strict=True))
    for piece in planned_pieces:
        if len(piece) > 1 or piece[0].is_whole:
            yield piece
            continue
        span = piece[0]
        start, end = (moved.get((span.key, at), at) for at in (span.start, span.end))
        if start < end:
            yield (replace(span, start=start, end=end),)


def _write_piece(
    storage: Storage, pipeline: Pipeline, bucket: str, position: int, piece: InputPiece, uri: str
) -> TransformObject:
    if len(piece) == 1:
        copy_span(storage, bucket, piece[0], uri)
        return TransformObject(position, uri, piece[0].bytes, piece)
    merged = io.BytesIO()
    for span in piece:
        data = read_object(storage, f"s3://{bucket}/{span.key}", span.etag)
        _check_lines(span, data, pipeline)
        merged.write(data if data.endswith(b"\n") else data + b"\n")
    # It needs numpy, and most runs merge no objects.
    from batch_inference.jobs.common.blocks import BlockReader

    storage.write(uri, merged.getvalue(), content_type="application/octet-stream")
    size = merged.tell()
    merged.seek(0)
    delimiter = pipeline.input.delimiter if pipeline.input.format == "csv" else None
    records = sum(block.record_count for block in BlockReader(merged, delimiter))
    return TransformObject(position, uri, size, piece, records)


def _check_lines(span: ByteRange, data: bytes, pipeline: Pipeline) -> None:
    """Check each line of an object that is merged, since all of it is read here."""
    told, problems = probe_window(Window(span.key, 0, data, is_end=True), pipeline.input)
    beginning = find_object_start_problem(data, pipeline.input)
    if beginning is not None:
        problems = (f"{span.key}: {beginning}",)
    elif told.has_header:
        names = "found a first line of column names, which the model would read as a record"
        advice = "upload the object without it, or add a preprocess section with input.header"
        problems = (f"{span.key}: {names}; {advice}",)
    if problems:
        raise RequestLintError(problems)
