"""Range reads of the input: sampled before the run to check its format, and at the cuts to find line ends."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from batch_inference.aws.ranges import read_range
from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import RequestLintError
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.planning.inputs.input_listing import S3Object
from batch_inference.planning.inputs.input_probe import (
    ProbeResult,
    Window,
    decompress_gzip_start,
    find_object_start_problem,
    probe_window,
)
from batch_inference.planning.inputs.input_split import ByteRange
from batch_inference.requests.lint import MEBIBYTE

log = logging.getLogger(__name__)

#: Bytes of one sample: some hundred records.
WINDOW_BYTES = 64 * 1024
#: Most objects that are sampled before a run: the largest, and others at equal distances in the listing.
MAX_PROBED_OBJECTS = 20
#: Concurrent calls, within the connection pool of a boto3 client.
MAX_WORKERS = 8
#: Most problems in one message.
MAX_PROBLEMS = 5


def probe_objects(
    storage: Storage, pipeline: Pipeline, input_uri: str, objects: Sequence[S3Object]
) -> ProbeResult:
    """Sample the beginning and the middle of some objects.

    Raises:
        RequestLintError: the model would get parts of records, compressed data, or data that it cannot read.
    """
    chosen = _choose_objects([each for each in objects if each.size > 0])
    bucket = split_s3_uri(input_uri)[0]
    with ThreadPoolExecutor(MAX_WORKERS) as pool:
        seen = list(pool.map(lambda each: _probe_object(storage, pipeline, bucket, each), chosen))
    problems = [problem for _, found in seen for problem in found]
    if problems:
        raise RequestLintError(tuple(problems[:MAX_PROBLEMS]))
    merged = ProbeResult()
    for each, _ in seen:
        merged = merged.merge(each)
    absent = merged.explain_missing_columns(pipeline.input)
    if absent is not None:
        raise RequestLintError((absent,))
    log.info(
        "sampled %s of %s objects: lines of up to %s bytes, one record each",
        len(chosen), len(objects), f"{merged.largest_record_bytes:,}",
    )  # fmt: skip
    return merged


def find_line_start(storage: Storage, pipeline: Pipeline, bucket: str, span: ByteRange) -> int:
    """The start of the first line at or after the span's beginning: the place to cut, found by a small read.

    Raises:
        RequestLintError: lines around it are not records, or a line is longer than a request may be.
    """
    limit = pipeline.max_payload_mb * MEBIBYTE + WINDOW_BYTES
    start, length = span.start - 1, WINDOW_BYTES
    while True:
        end = min(start + length, span.size)
        data = read_range(storage, f"s3://{bucket}/{span.key}", span.etag, start, end)
        window = Window(span.key, start, data, is_end=end == span.size)
        found = data.find(b"\n")
        if found >= 0:
            _, problems = probe_window(window, pipeline.input)
            if problems:
                raise RequestLintError(problems)
            return start + found + 1
        if window.is_end:
            return span.size
        if length > limit:
            found_none = f"{span.key}: no line ends within {length:,} bytes after byte {start:,}"
            advice = "records are never cut: set a larger transform.max_payload_mb, or write shorter records"
            raise RequestLintError(
                (f"{found_none}, and a request holds {pipeline.max_payload_mb} MB; {advice}",)
            )
        length *= 4


def _choose_objects(objects: Sequence[S3Object]) -> list[S3Object]:
    """The largest object, and others at equal distances in the listing."""
    step = max(1, -(-len(objects) // (MAX_PROBED_OBJECTS - 1)))
    largest = sorted(objects, key=lambda each: each.size)[-1:]
    return list(dict.fromkeys([*largest, *objects[::step]]))


def _probe_object(
    storage: Storage, pipeline: Pipeline, bucket: str, item: S3Object
) -> tuple[ProbeResult, tuple[str, ...]]:
    uri, source = f"s3://{bucket}/{item.key}", pipeline.input
    head = read_range(storage, uri, item.etag, 0, min(WINDOW_BYTES, item.size))
    other = find_object_start_problem(head, source)
    if other is not None:
        return ProbeResult(), (f"{item.key}: {other}",)
    if source.compression == "gzip":
        return probe_window(Window(item.key, 0, decompress_gzip_start(head), is_end=False), source)
    told, problems = probe_window(Window(item.key, 0, head, is_end=item.size <= WINDOW_BYTES), source)
    middle = item.size // 2
    if item.size > 2 * WINDOW_BYTES and not problems:
        data = read_range(storage, uri, item.etag, middle, middle + WINDOW_BYTES)
        more, problems = probe_window(Window(item.key, middle, data, is_end=False), source)
        told = told.merge(more)
    return told, problems
