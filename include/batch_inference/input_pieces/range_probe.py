"""Range reads of the input: sampled before the run to check its format, and at the cuts to find line ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from batch_inference.aws.optional_calls import CALL_ERRORS
from batch_inference.aws.ranges import read_range
from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ReconciliationError, RequestLintError
from batch_inference.common.formatting import format_count
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.input_pieces.record_sample import (
    ObjectStart,
    RecordSample,
    get_footer_bytes,
    sample_records,
    summarize_samples,
)
from batch_inference.jobs.common.binary_formats import PARQUET
from batch_inference.jobs.common.errors import ConfigError, InputError
from batch_inference.jobs.config.preprocess_config import PreprocessConfig, parse_config
from batch_inference.jobs.preprocess.objects import decompress_start
from batch_inference.planning.inputs.input_listing import S3Object
from batch_inference.planning.inputs.input_probe import (
    ProbeResult,
    Window,
    find_object_start_problem,
    probe_window,
)
from batch_inference.planning.inputs.input_split import ByteRange
from batch_inference.requests.lint import MEBIBYTE
from batch_inference.requests.sagemaker import build_record_settings

#: Bytes of one sample: some hundred records.
WINDOW_BYTES = 64 * 1024
#: Most objects that are sampled before a run: the largest, and others at equal distances in the listing.
MAX_PROBED_OBJECTS = 20
#: A longer footer of a Parquet file is not read before the run.
MAX_FOOTER_BYTES = 8 << 20
#: Concurrent calls, within the connection pool of a boto3 client.
MAX_WORKERS = 8
#: Most problems in one message.
MAX_PROBLEMS = 5


class ObjectChoice:
    """Chooses, while a listing passes, the objects to sample: all of them, or the first, the last and the largest.

    All are kept only without preprocessing, where the model reads what is stored, and more of it is sampled.
    """

    def __init__(self, *, keeps_all: bool) -> None:
        self._keeps_all = keeps_all
        self._objects: list[S3Object] = []
        self._largest: S3Object | None = None

    def watch(self, listed: Iterable[S3Object]) -> Iterator[S3Object]:
        """Yield the objects unchanged."""
        for each in listed:
            if each.size > 0:
                if self._largest is None or each.size > self._largest.size:
                    self._largest = each
                self._objects[len(self._objects) if self._keeps_all else 1 :] = [each]
            yield each

    @property
    def objects(self) -> list[S3Object]:
        """The objects chosen so far."""
        extra = [] if self._largest is None else [self._largest]
        return list(dict.fromkeys([*self._objects, *extra]))


def probe_objects(
    storage: Storage, pipeline: Pipeline, input_uri: str, objects: Sequence[S3Object]
) -> ProbeResult:
    """Sample the beginning of some objects, and without preprocessing also the middle.

    Raises:
        RequestLintError: the preprocessing job would fail, or reject all that was sampled; without it, the model would
            get parts of records, compressed data, or data that it cannot read.
    """
    chosen = _choose_objects([each for each in objects if each.size > 0])
    probe = _probe_lines if pipeline.preprocess is None else _probe_records
    return probe(storage, pipeline, split_s3_uri(input_uri)[0], chosen)


def _probe_records(
    storage: Storage, pipeline: Pipeline, bucket: str, chosen: Sequence[S3Object]
) -> ProbeResult:
    """With preprocessing: read the samples as the job does, with one GET each."""
    document = {"version": 1, "pipeline": pipeline.name, "input_uri": "", "distribution": "ShardedByS3Key"}
    config = parse_config({**document, "shard_bytes": 1, **build_record_settings(pipeline)})

    def sample(item: S3Object) -> RecordSample | InputError | str:
        uri = f"s3://{bucket}/{item.key}"
        try:
            return sample_records(_read_start(storage, uri, item, config), config)
        except InputError as error:
            return error
        except (*CALL_ERRORS, ConfigError, ReconciliationError) as error:
            return f"Plan could not look at {uri} ({error}); it is read when the run has started."

    with ThreadPoolExecutor(MAX_WORKERS) as pool:
        seen = list(pool.map(sample, chosen))
    problems = [str(each) for each in seen if isinstance(each, InputError)]
    problem, sentence = summarize_samples([each for each in seen if isinstance(each, RecordSample)])
    if problem is not None:
        problems.append(problem)
    if problems:
        raise RequestLintError(tuple(f"input: {each}" for each in problems[:MAX_PROBLEMS]))
    sentences = [each for each in seen if isinstance(each, str)]
    return ProbeResult(sentences=(*sentences, *([] if sentence is None else [sentence])))


def _read_start(storage: Storage, uri: str, item: S3Object, config: PreprocessConfig) -> ObjectStart:
    """The first bytes of an object; of Parquet its last ones, as many as its footer has."""
    size = item.size
    if config.input.format != "parquet":
        return ObjectStart(uri, read_range(storage, uri, item.etag, 0, min(WINDOW_BYTES, size)), size)
    data = read_range(storage, uri, item.etag, max(0, size - WINDOW_BYTES), size)
    footer = get_footer_bytes(data)
    if data.endswith(PARQUET) and len(data) < footer <= min(size, MAX_FOOTER_BYTES):
        data = read_range(storage, uri, item.etag, size - footer, size)
    return ObjectStart(uri, data, size)


def _probe_lines(
    storage: Storage, pipeline: Pipeline, bucket: str, chosen: Sequence[S3Object]
) -> ProbeResult:
    """Without preprocessing: check that each line is one record."""
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
    sentence = f"{format_count(len(chosen), 'object')} sampled: lines of up to {merged.largest_record_bytes:,} bytes, "
    return replace(merged, sentences=(f"{sentence}one record each.",) if chosen else ())


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
        return probe_window(Window(item.key, 0, decompress_start(head, "gzip"), is_end=False), source)
    told, problems = probe_window(Window(item.key, 0, head, is_end=item.size <= WINDOW_BYTES), source)
    middle = item.size // 2
    if item.size > 2 * WINDOW_BYTES and not problems:
        data = read_range(storage, uri, item.etag, middle, middle + WINDOW_BYTES)
        more, problems = probe_window(Window(item.key, middle, data, is_end=False), source)
        told = told.merge(more)
    return told, problems
