"""Finds the records that a model refuses, while the sensor waits for the transform: see
`batch_inference.verification.bad_records`.

All state is in S3 and SageMaker: the attempts by their names, the manifest of each, the outputs, and the log of refused
objects. So a task that is retried in the middle resumes at the same attempt.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from botocore.exceptions import ClientError

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ReconciliationError, TooManyRejectsError
from batch_inference.common.formatting import format_count
from batch_inference.common.names import JobPaths, RunPaths
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.task_functions import no_retry
from batch_inference.jobs.common.blocks import BlockReader
from batch_inference.jobs.config.join_spec import JoinSpec
from batch_inference.jobs.join.aligned_join import run_in_order
from batch_inference.jobs.join.merge_pieces import MergedFiles, TransformedPiece, merge_shard
from batch_inference.jobs.preprocess.rejects import RejectSummary
from batch_inference.planning.plan import Plan
from batch_inference.pricing.costs import sum_if_known
from batch_inference.requests.sagemaker import build_join_spec
from batch_inference.run.run_context import read_plan
from batch_inference.verification.bad_records import (
    BadRecords,
    FurtherJob,
    SearchFailure,
    SearchLimits,
    SearchState,
    choose_next_step,
    explain_over_budget,
    explain_too_many_rejects,
    find_bad_records,
)
from batch_inference.verification.host_manifests import ShardList
from batch_inference.verification.reconciliation import REFUSED_BY_MODEL
from batch_inference.verification.shard_pieces import (
    ShardPiece,
    ShardRecord,
    parse_piece_name,
    select_covering_pieces,
)
from sagemaker_jobs.aws import get_error_code
from sagemaker_jobs.failure.reasons import classify_failure_reason
from sagemaker_jobs.failure.rejected_objects import read_rejected_objects
from sagemaker_jobs.job.continuation import NoFurtherAttempt, Resolved
from sagemaker_jobs.job.describe import Job
from sagemaker_jobs.job.resume import (
    AttemptInput,
    RemainingInput,
    list_completed_objects,
    read_attempt_input,
    write_remaining_input,
)
from sagemaker_jobs.job.spec import JobSpec

log = logging.getLogger(__name__)

#: Small objects that are copied at a time.
COPY_WORKERS = 8
#: Bytes of one MB of MaxPayloadInMB.
MEBIBYTE = 1024 * 1024
#: Most characters of a container's response in a reject's reason.
REASON_LENGTH = 1_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: its input, the pieces with an output, and the refused pieces with the container's response."""

    job: Job
    attempt_input: AttemptInput
    pieces: tuple[ShardPiece, ...]
    completed: frozenset[ShardPiece]
    refusals: Mapping[ShardPiece, str]


@dataclass(frozen=True, slots=True)
class PreprocessedRun:
    """The output of the run's preprocess job, and the folder of it that the transform reads, `source_uri`."""

    paths: RunPaths
    preprocess_paths: JobPaths
    source_uri: str
    pieces: Mapping[str, ShardPiece]
    shard_list: ShardList

    @classmethod
    def read(cls, storage: Storage, spec: JobSpec) -> PreprocessedRun:
        """The run whose features the transform reads."""
        source_uri = spec.request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        # The shards of a trial were moved from features/ to trials/<number>/.
        wrote = JobPaths(re.sub(r"(features|trials/\d+)/$", "", source_uri))
        shard_list = ShardList.model_validate(storage.read_json(wrote.shards))
        pieces: dict[str, ShardPiece] = {}
        for shard in shard_list.shards:
            name = Path(shard.features_key).name
            pieces[name] = ShardPiece(shard.name, 1, shard.records, Path(name).suffix, is_whole=True)
        paths = RunPaths(f"{wrote.root.rstrip('/').rsplit('/', 1)[0]}/")
        return cls(paths, wrote, source_uri, pieces, shard_list)


@no_retry
def decide_next(
    hook: SageMakerHook, spec: JobSpec, jobs: Sequence[Job], chain: Sequence[Job]
) -> Resolved | RemainingInput | NoFurtherAttempt | None:
    """See `sagemaker_jobs.job.continuation.Continuation`; `chain` has the attempts that continue each other."""
    completed = chain[-1].status == "Completed"
    storage = Storage(hook.aws_conn_id, hook.conn_region_name)
    run = PreprocessedRun.read(storage, spec)
    plan, pipeline = read_plan(storage, run.paths.root, job_name=spec.base_name)
    try:
        attempts = [_read_attempt(hook, spec, run, job) for job in chain]
    except ClientError as error:
        # The failure of the job must be reported even when the refused objects cannot be read.
        if get_error_code(error) not in {"AccessDenied", "AccessDeniedException"}:
            raise
        return NoFurtherAttempt(f"Which objects were refused cannot be read: {error}")
    if all(piece.is_whole for each in attempts for piece in each.pieces) and (
        completed or not any(each.refusals for each in attempts)
    ):
        return None
    state = build_search_state(attempts)
    limits = SearchLimits(
        records_in=run.shard_list.records_in,
        records_out=run.shard_list.records_out,
        rejected_count=run.shard_list.rejected,
        max_rejected=pipeline.max_rejected,
    )
    step = find_earlier_refusals(state, limits) if completed else choose_next_step(state, limits)
    if isinstance(step, FurtherJob):
        step = _check_budget(plan, jobs, attempts[-1], step)
    if isinstance(step, SearchFailure):
        return NoFurtherAttempt(step.reason, step.advice)
    if isinstance(step, BadRecords):
        return Resolved(_merge_pieces(storage, pipeline, run, attempts, step))
    return _start_attempt(storage, hook, spec, run, attempts[-1], step, attempt=len(jobs) + 1)


def build_search_state(attempts: Sequence[Attempt]) -> SearchState:
    """What is known after these attempts."""
    return SearchState.from_rounds([(each.pieces, each.completed, set(each.refusals)) for each in attempts])


def find_earlier_refusals(state: SearchState, limits: SearchLimits) -> BadRecords:
    """The records that earlier attempts refused, once the last job has completed.

    Raises:
        TooManyRejectsError: they are more than the pipeline allows.
    """
    found = find_bad_records(state)
    problem = explain_too_many_rejects(len(found), limits)
    if problem:
        raise TooManyRejectsError(problem)
    return BadRecords(found)


def _read_attempt(hook: SageMakerHook, spec: JobSpec, run: PreprocessedRun, job: Job) -> Attempt:
    attempt_input = read_attempt_input(hook, spec, job)
    # A container that had too little memory left all of its requests unanswered, whatever their records.
    may_have_refused = (
        job.status == "Failed"
        and classify_failure_reason(job.description.get("FailureReason")).name != "memory"
    )
    refusals = read_rejected_objects(hook, job, attempt_input.folder_uri) if may_have_refused else {}
    pieces = {name: parse_piece_name(name, run.pieces) for name in attempt_input.object_names}
    outputs = list_completed_objects(hook, job)
    return Attempt(
        job,
        attempt_input,
        tuple(pieces.values()),
        frozenset(piece for name, piece in pieces.items() if name in outputs),
        {pieces[name]: shorten_reason(lines) for name, lines in refusals.items() if name in pieces},
    )


def shorten_reason(lines: Sequence[str]) -> str:
    """Shorten a container's response to its beginning and its end, which in a traceback names the error."""
    text = " ".join(" ".join(lines).split())
    half = REASON_LENGTH // 2
    return text if len(text) <= REASON_LENGTH else f"{text[:half]} … {text[-half:]}"


def _check_budget(
    plan: Plan, jobs: Sequence[Job], last: Attempt, step: FurtherJob
) -> FurtherJob | SearchFailure:
    """The step, if the cost of the jobs so far, of the next one and of the join stays within the plan's budget."""
    budget, estimate = plan.budget, plan.estimate
    if budget is None:
        return step
    prices = plan.get_prices()

    def dollars(job: Job) -> float | None:
        return prices.compute_cost(
            job.kind.get_cluster_config(job.description)["InstanceType"],
            job.kind.compute_billed_seconds(job.description),
        )

    if plan.approval_reason is not None:  # a person has approved the estimated cost
        budget = max(budget, estimate.dollars_high or 0)
    # The next job has some of the last one's records, or more with companions, and at most as many instances.
    record_share = max(1.0, step.record_count / sum(piece.sent_count for piece in last.pieces))
    cost = dollars(jobs[-1])
    problem = explain_over_budget(
        budget=budget,
        spent_dollars=sum_if_known([estimate.preprocess.dollars, *map(dollars, jobs)]),
        job_dollars=None if cost is None else cost * record_share,
        join_dollars=estimate.join.dollars,
    )
    return SearchFailure(problem) if problem else step


def _start_attempt(
    storage: Storage,
    hook: SageMakerHook,
    spec: JobSpec,
    run: PreprocessedRun,
    last: Attempt,
    step: FurtherJob,
    *,
    attempt: int,
) -> RemainingInput:
    """Write the pieces and their manifest for the next attempt."""
    log.warning("%s", step.describe())
    planned = spec.kind.get_cluster_config(spec.request)["InstanceCount"]
    instances = min(planned, max(1, math.ceil(planned * step.record_count / run.shard_list.records_out)))
    folder = last.attempt_input.folder_uri
    if step.to_split:
        source, folder = folder, run.paths.build_job_paths(spec.build_job_name(attempt)).pieces
        company = _read_companions(storage, run, step, _request_bytes(spec))
        for _ in run_in_order(_plan_copies(storage, source, folder, step, company), COPY_WORKERS):
            pass
    names = sorted(piece.name for piece in step.pieces)
    return write_remaining_input(hook, spec, attempt, folder, names, instance_limit=instances)


@dataclass(frozen=True, slots=True)
class CompanionRecords:
    """The lines of records that are sent together with a suspect one, and the most bytes of one request."""

    lines: Mapping[ShardRecord, bytes]
    max_request_bytes: int | None

    def append_companion(self, data: bytes, piece: ShardPiece) -> bytes:
        """The content of this piece's object: its own lines, `data`, and its companion.

        Raises:
            ReconciliationError: they do not fit into one request.
        """
        if piece.companion is None:
            return data
        together = data + self.lines[piece.companion]
        if self.max_request_bytes is not None and len(together) > self.max_request_bytes:
            raise ReconciliationError(
                f"{piece.name} is {len(together):,} bytes, more than the {self.max_request_bytes:,} of one request, so "
                f"a record that the model refuses cannot be told from one that it does not answer alone; increase "
                f"transform.max_payload_mb",
                piece.shard,
            )
        return together


def _request_bytes(spec: JobSpec) -> int | None:
    """The most bytes of one request to the model; None when each record is a request, or no limit is set."""
    limit = spec.request.get("MaxPayloadInMB")
    return int(limit) * MEBIBYTE if limit and spec.request.get("BatchStrategy") != "SingleRecord" else None


def _read_companions(
    storage: Storage, run: PreprocessedRun, step: FurtherJob, max_request_bytes: int | None
) -> CompanionRecords:
    """Read the lines of the companion and of the control record from the shards' features."""
    lines: dict[ShardRecord, bytes] = {}
    for record in (step.companion, step.control):
        if record is None:
            continue
        name = next(name for name, piece in run.pieces.items() if piece.shard == record.shard)
        with tempfile.TemporaryDirectory(prefix="company-") as scratch:
            path = storage.download(f"{run.source_uri}{name}", Path(scratch) / "features")
            with path.open("rb") as file:
                blocks = BlockReader(file, None)  # no feature holds a line break
                blocks.read_records(record.number - 1)
                lines[record] = blocks.read_records(1).data
    return CompanionRecords(lines, max_request_bytes)


def _plan_copies(
    storage: Storage, source: str, folder: str, step: FurtherJob, companions: CompanionRecords
) -> Iterator[Any]:
    """One call for each object to write below `folder`."""
    for piece in step.unchanged:
        yield partial(storage.copy, f"{source}{piece.name}", f"{folder}{piece.name}")
    for control in step.list_control_pieces():
        line = companions.lines[ShardRecord(control.shard, control.first)]
        data = companions.append_companion(line, control)
        yield partial(storage.write, f"{folder}{control.name}", data, content_type="text/csv")
    for piece in step.to_split:
        with tempfile.TemporaryDirectory(prefix="pieces-") as scratch:
            path = storage.download(f"{source}{piece.name}", Path(scratch) / "features")
            with path.open("rb") as file:
                lines = BlockReader(file, None)  # no feature holds a line break
                for part in step.split_piece(piece):
                    block = lines.read_records(part.record_count)
                    if block.record_count < part.record_count:
                        raise ReconciliationError(
                            f"{source}{piece.name} has fewer than its {piece.record_count:,} records",
                            piece.shard,
                        )
                    data = companions.append_companion(block.data, part)
                    yield partial(storage.write, f"{folder}{part.name}", data, content_type="text/csv")


def _merge_pieces(
    storage: Storage, pipeline: Pipeline, run: PreprocessedRun, attempts: Sequence[Attempt], found: BadRecords
) -> dict[str, Any]:
    """Merge the pieces of the shards that were cut, write the refused records as rejects; returns the URIs of both."""
    paths = run.paths.build_job_paths(attempts[-1].job.name)
    spec = JoinSpec.from_dict(build_join_spec(pipeline))
    # The first attempt's output of a piece is used.
    output_uris = {
        piece: f"{each.job.kind.list_output_uris(each.job.description)[0]}{piece.name}.out"
        for each in reversed(attempts)
        for piece in each.completed
    }
    reasons = {piece.record_range: answer for each in attempts for piece, answer in each.refusals.items()}
    merged_shards: dict[str, Any] = {}
    summary = RejectSummary(pipeline.column_names, [each.column for each in pipeline.sensitive])
    # The first attempt has read whole shards: all but those of trials, or those of one.
    for shard in attempts[0].pieces:
        if shard in output_uris:
            continue
        answered = [piece for piece in output_uris if piece.shard == shard.shard]
        refused_pieces = [piece for piece in found.pieces if piece.shard == shard.shard]
        parts = select_covering_pieces(shard, answered, refused_pieces)
        result = _merge_shard(storage, run, paths, spec, shard, parts, output_uris, reasons, summary)
        merged_shards[shard.shard] = result
    refused, uri = sum(each["refused"] for each in merged_shards.values()), f"{paths.root}mended.json"
    document = {
        "version": 1,
        "refused": refused,
        "rejects": paths.rejects,
        "withheld_columns": summary.withheld_columns,
        "reject_groups": summary.list_groups(),
        "shards": merged_shards,
    }
    body = json.dumps(document, indent=2).encode()
    storage.write(uri, body)
    count = format_count(refused, "record")
    log.warning("The model refused %s, listed with its responses below %s.", count, paths.rejects)
    digest, rejects = hashlib.sha256(body).hexdigest(), paths.rejects if refused else None
    return {"document": uri, "sha256": digest, "refused": refused, "rejects": rejects}


def _merge_shard(
    storage: Storage,
    run: PreprocessedRun,
    paths: JobPaths,
    spec: JoinSpec,
    shard: ShardPiece,
    parts: Sequence[ShardPiece],
    output_uris: Mapping[ShardPiece, str],
    reasons: Mapping[tuple[str, int, int], str],
    summary: RejectSummary,
) -> dict[str, Any]:
    records_key = next(each.records_key for each in run.shard_list.shards if each.name == shard.shard)
    source = f"{run.preprocess_paths.root}{records_key}"
    with tempfile.TemporaryDirectory(prefix="mending-") as name, ThreadPoolExecutor(COPY_WORKERS) as pool:
        folder = Path(name)
        merged_files = MergedFiles(folder / "records", folder / "predictions", folder / "rejects")
        records = storage.download(source, folder / "all")

        def part_of(piece: ShardPiece) -> TransformedPiece:
            if piece not in output_uris:
                return TransformedPiece(piece.name, piece.record_count, None, reasons[piece.record_range])
            answers = storage.download(output_uris[piece], folder / "answers" / piece.name)
            extra = piece.sent_count - piece.record_count
            return TransformedPiece(piece.name, piece.record_count, answers, extra_prediction_count=extra)

        sections = list(pool.map(part_of, parts))
        refused_records = merge_shard(
            records,
            sections,
            spec,
            merged_files,
            source_uri=source,
            rule_name=REFUSED_BY_MODEL,
            summary=summary,
        )
        keys = {
            "records": f"{paths.merged_shards}records/{Path(records_key).name}",
            "predictions": f"{paths.merged_shards}predictions/{shard.name}.out",
        }
        storage.upload(merged_files.records_path, keys["records"])
        storage.upload(merged_files.predictions_path, keys["predictions"])
        if refused_records:
            storage.upload(merged_files.rejects_path, f"{paths.rejects}{shard.shard}.jsonl")
    job = paths.root.rstrip("/").rpartition("/")[2]
    objects = {
        f"{part}_object": [uri, *itemgetter("size", "etag")(storage.head(uri)), job]
        for part, uri in keys.items()
    }
    return {"records": shard.record_count - refused_records, "refused": refused_records, **objects}
