"""Small range reads that tell what the input is like before anything is spent, and where its lines end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from include.orchestration.direct.ranges import read_range
from include.orchestration.storage import Storage
from include.scoring.config import Pipeline
from include.scoring.errors import LintError
from include.scoring.glance import LookedAt, Window, look, look_at_beginning, unpacked
from include.scoring.layout import Span
from include.scoring.lint import MEBIBYTE
from include.scoring.listing import S3Object
from include.scoring.s3uri import split

log = logging.getLogger(__name__)

#: Bytes of one look: some hundred records.
WINDOW = 64 * 1024
#: Objects that are looked at before a run: the largest, and as many spread over the listing.
MOST_LOOKS = 20
#: Calls at a time, not above what a client of boto3 keeps connections for.
AT_A_TIME = 8
#: Problems that one message tells.
MOST_TOLD = 5


def look_at(storage: Storage, pipeline: Pipeline, input_uri: str, objects: Sequence[S3Object]) -> LookedAt:
    """Look at the beginning and the middle of some objects.

    Raises:
        LintError: what was seen would reach the model in parts, packed, or unreadable.
    """
    chosen = _spread([each for each in objects if each.size > 0])
    bucket = split(input_uri)[0]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        seen = list(pool.map(lambda each: _look(storage, pipeline, bucket, each), chosen))
    problems = [problem for _, found in seen for problem in found]
    if problems:
        raise LintError(tuple(problems[:MOST_TOLD]))
    told = LookedAt()
    for each, _ in seen:
        told = told.with_(each)
    absent = told.absent_columns(pipeline.input)
    if absent is not None:
        raise LintError((absent,))
    log.info(
        "looked at %s of %s objects: lines of up to %s bytes, a record each",
        len(chosen), len(objects), f"{told.largest_record_bytes:,}",
    )  # fmt: skip
    return told


def line_end_after(storage: Storage, pipeline: Pipeline, bucket: str, span: Span) -> int:
    """Where the first line at or behind the span's beginning begins: a place to cut, found by a small read.

    Raises:
        LintError: around it, lines are not records, or one is longer than a request may be.
    """
    limit = pipeline.max_payload_mb * MEBIBYTE + WINDOW
    start, length = span.start - 1, WINDOW
    while True:
        end = min(start + length, span.size)
        data = read_range(storage, f"s3://{bucket}/{span.key}", span.etag, start, end)
        window = Window(span.key, start, data, is_end=end == span.size)
        found = data.find(b"\n")
        if found >= 0:
            _, problems = look(window, pipeline.input)
            if problems:
                raise LintError(problems)
            return start + found + 1
        if window.is_end:
            return span.size
        if length > limit:
            found_none = f"{span.key}: no line ends within {length:,} bytes behind byte {start:,}"
            advice = "a record is never cut, so write a larger transform.max_payload_mb, or shorter records"
            raise LintError((f"{found_none}, and a request holds {pipeline.max_payload_mb} MB; {advice}",))
        length *= 4


def _spread(objects: Sequence[S3Object]) -> list[S3Object]:
    """The largest object, and others at equal distances in the listing."""
    step = max(1, -(-len(objects) // (MOST_LOOKS - 1)))
    largest = sorted(objects, key=lambda each: each.size)[-1:]
    return list(dict.fromkeys([*largest, *objects[::step]]))


def _look(
    storage: Storage, pipeline: Pipeline, bucket: str, item: S3Object
) -> tuple[LookedAt, tuple[str, ...]]:
    uri, source = f"s3://{bucket}/{item.key}", pipeline.input
    head = read_range(storage, uri, item.etag, 0, min(WINDOW, item.size))
    other = look_at_beginning(head, source)
    if other is not None:
        return LookedAt(), (f"{item.key}: {other}",)
    if source.compression == "gzip":
        return look(Window(item.key, 0, unpacked(head), is_end=False), source)
    told, problems = look(Window(item.key, 0, head, is_end=item.size <= WINDOW), source)
    middle = item.size // 2
    if item.size > 2 * WINDOW and not problems:
        data = read_range(storage, uri, item.etag, middle, middle + WINDOW)
        more, problems = look(Window(item.key, middle, data, is_end=False), source)
        told = told.with_(more)
    return told, problems
