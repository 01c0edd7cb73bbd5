"""Finding the records that a model cannot take, inside the wait for the transform: see `include.scoring.poison`.

Nothing is remembered but what lies in S3 and in AWS: the attempts by their names, the manifest of each, the outputs,
and the service's log of what was refused. So a task that is tried again in the middle finds its round where it was.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
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

from include.jobs.blocks import Blocks
from include.jobs.join import in_order
from include.jobs.join_spec import JoinSpec
from include.jobs.mending import MendedFiles, Part, mend
from include.orchestration.refusals import final
from include.orchestration.run_context import read_pipeline
from include.orchestration.storage import Storage
from include.scoring.config import Pipeline
from include.scoring.cost import load_prices, total
from include.scoring.errors import ReconciliationError, RejectedError
from include.scoring.messages import count
from include.scoring.naming import JobPaths, RunPaths
from include.scoring.pieces import Piece, Record, cover, read_name
from include.scoring.poison import (
    Bounds,
    Found,
    Further,
    GiveUp,
    Situation,
    decide,
    find_poison,
    over_budget,
    too_many,
)
from include.scoring.reconciliation import REFUSED_BY_MODEL
from include.scoring.requests import join_spec
from sagemaker_jobs.aws import error_code
from sagemaker_jobs.continuing import NothingMore, Settled
from sagemaker_jobs.jobs import Job
from sagemaker_jobs.refusals import refused
from sagemaker_jobs.resuming import Given, Remainder, answered, chain_of, given, remainder_of
from sagemaker_jobs.spec import JobSpec

log = logging.getLogger(__name__)

#: Small objects that are moved at a time.
MOVING = 8
#: Bytes of one MB of MaxPayloadInMB.
MEBIBYTE = 1024 * 1024
#: Characters of a container's answer that a reject keeps.
REASON_LENGTH = 1_000


@dataclass(frozen=True, slots=True)
class PoisonRecords:
    """What follows a transform that failed for good, by the pipeline as it was planned (a `Continuation`)."""

    def after(
        self, hook: SageMakerHook, spec: JobSpec, jobs: Sequence[Job]
    ) -> Settled | Remainder | NothingMore | None:
        """See `sagemaker_jobs.continuing.Continuation`."""
        return _after(hook, spec, jobs)


@dataclass(frozen=True, slots=True)
class Round:
    """One attempt: what it was given, answered, and refused with which answer."""

    job: Job
    given: Given
    pieces: tuple[Piece, ...]
    answered: frozenset[Piece]
    refused: Mapping[Piece, str]


@dataclass(frozen=True, slots=True)
class Run:
    """What the run wrote before the transform."""

    paths: RunPaths
    wrote: JobPaths
    shards: Mapping[str, Piece]
    documents: Mapping[str, Mapping[str, Any]]
    counts: Mapping[str, int]

    @classmethod
    def of(cls, storage: Storage, spec: JobSpec) -> Run:
        """The run whose features the transform reads."""
        features = spec.request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        wrote = JobPaths(features.removesuffix("features/"))
        found = storage.read_json(wrote.shards)
        shards: dict[str, Piece] = {}
        for shard in found["shards"]:
            name = Path(shard["features_key"]).name
            shards[name] = Piece(shard["name"], 1, shard["records"], Path(name).suffix, whole=True)
        return cls(
            RunPaths(f"{wrote.root.rstrip('/').rsplit('/', 1)[0]}/"),
            wrote,
            shards,
            {shard["name"]: shard for shard in found["shards"]},
            found["records"],
        )


@final
def _after(
    hook: SageMakerHook, spec: JobSpec, jobs: Sequence[Job]
) -> Settled | Remainder | NothingMore | None:
    chain = chain_of(spec, jobs)
    completed = bool(chain) and chain[-1].status == "Completed"
    if not chain or (completed and len(chain) == 1):
        return None
    storage = Storage(hook.aws_conn_id, hook.conn_region_name)
    run = Run.of(storage, spec)
    pipeline = read_pipeline(storage, run.paths.run_prefix, job_name=spec.base_name)
    try:
        rounds = [_round(hook, spec, run, job) for job in chain]
    except ClientError as error:
        # What went wrong with the job must be said, whatever may not be read about it.
        if error_code(error) not in {"AccessDenied", "AccessDeniedException"}:
            raise
        return NothingMore(f"Which objects were refused cannot be read: {error}")
    if all(piece.whole for each in rounds for piece in each.pieces) and (
        completed or not any(each.refused for each in rounds)
    ):
        return None
    now = situation(rounds)
    bounds = Bounds(
        records_in=run.counts["in"],
        records_out=run.counts["out"],
        rejected=run.counts["rejected"],
        max_rejected=pipeline.max_rejected,
    )
    step = found_among(now, bounds) if completed else decide(now, bounds)
    if isinstance(step, Further):
        step = _within_budget(storage, run, jobs, rounds[-1], step)
    if isinstance(step, GiveUp):
        return NothingMore(step.because)
    if isinstance(step, Found):
        return Settled(_settle(storage, pipeline, run, rounds, step))
    return _start(storage, hook, spec, run, rounds[-1], step, attempt=len(jobs) + 1)


def situation(rounds: Sequence[Round]) -> Situation:
    """What is known after these rounds."""
    return Situation.of([(each.pieces, each.answered, set(each.refused)) for each in rounds])


def found_among(now: Situation, bounds: Bounds) -> Found:
    """What earlier rounds refused, once the last job has completed.

    Raises:
        RejectedError: these are more than the pipeline allows.
    """
    poison = find_poison(now)
    problem = too_many(len(poison), bounds)
    if problem:
        raise RejectedError(problem)
    return Found(poison)


def _round(hook: SageMakerHook, spec: JobSpec, run: Run, job: Job) -> Round:
    was = given(hook, spec, job)
    said = refused(hook, job, was.folder) if job.status == "Failed" else {}
    pieces, outputs = {name: read_name(name, run.shards) for name in was.names}, answered(hook, job)
    return Round(
        job,
        was,
        tuple(pieces.values()),
        frozenset(piece for name, piece in pieces.items() if name in outputs),
        {pieces[name]: shortened(lines) for name, lines in said.items() if name in pieces},
    )


def shortened(lines: Sequence[str]) -> str:
    """A container's answer as a reason: its beginning and, since tracebacks end with what happened, its end."""
    text = " ".join(" ".join(lines).split())
    half = REASON_LENGTH // 2
    return text if len(text) <= REASON_LENGTH else f"{text[:half]} … {text[-half:]}"


def _within_budget(
    storage: Storage, run: Run, jobs: Sequence[Job], last: Round, step: Further
) -> Further | GiveUp:
    """The step, if what the jobs cost so far, one more like the last and the join stay within the plan's budget."""
    plan = storage.read_json(run.paths.plan)
    if plan["budget"] is None:
        return step
    prices = load_prices().overridden(plan["prices"])

    def dollars(job: Job) -> float | None:
        return prices.cost(
            job.kind.resources(job.description)["InstanceType"], job.kind.billed_seconds(job.description)
        )

    allowed = plan["budget"]
    if plan.get("approval") is not None:  # a person has agreed to what the run was estimated to cost
        allowed = max(allowed, plan["estimate"]["dollars_high"] or 0)
    # The next job has a part of the last one's records, or with their company more, and as many instances at most.
    share = max(1.0, step.records / sum(piece.sent for piece in last.pieces))
    cost = dollars(jobs[-1])
    problem = over_budget(
        budget=allowed,
        spent=total([plan["estimate"]["preprocess"]["dollars"], *map(dollars, jobs)]),
        further=None if cost is None else cost * share,
        join=plan["estimate"]["join"]["dollars"],
    )
    return GiveUp(problem) if problem else step


def _start(
    storage: Storage,
    hook: SageMakerHook,
    spec: JobSpec,
    run: Run,
    last: Round,
    step: Further,
    *,
    attempt: int,
) -> Remainder:
    """Write the pieces, and the manifest that names them."""
    log.warning("%s", step.sentence())
    planned = int(spec.kind.resources(spec.request)["InstanceCount"])
    instances = min(planned, max(1, math.ceil(planned * step.records / run.counts["out"])))
    folder = last.given.folder
    if step.cut:
        source, folder = folder, run.paths.job(spec.job_name(attempt)).pieces
        company = _read_company(storage, run, step, _request_bytes(spec))
        for _ in in_order(_moves(storage, source, folder, step, company), MOVING):
            pass
    return remainder_of(
        hook, spec, attempt, folder, sorted(piece.name for piece in step.pieces), instances=instances
    )


@dataclass(frozen=True, slots=True)
class Company:
    """The records that are sent along, as lines, and the most bytes that go to the model together."""

    lines: Mapping[Record, bytes]
    most_bytes: int | None

    def join(self, data: bytes, piece: Piece) -> bytes:
        """The object of this piece, whose own lines are `data`.

        Raises:
            ReconciliationError: the model would be sent the two apart.
        """
        if piece.company is None:
            return data
        together = data + self.lines[piece.company]
        if self.most_bytes is not None and len(together) > self.most_bytes:
            raise ReconciliationError(
                f"{piece.name} is {len(together):,} bytes, more than the {self.most_bytes:,} of one request, so a "
                f"record that the model refuses cannot be told from one that it does not answer alone; raise "
                f"transform.max_payload_mb",
                piece.shard,
            )
        return together


def _request_bytes(spec: JobSpec) -> int | None:
    """What one request to the model may hold; None where each record is a request of its own, or nothing is said."""
    limit = spec.request.get("MaxPayloadInMB")
    return int(limit) * MEBIBYTE if limit and spec.request.get("BatchStrategy") != "SingleRecord" else None


def _read_company(storage: Storage, run: Run, step: Further, most_bytes: int | None) -> Company:
    """The lines of the company and of the control, from the shards' own features."""
    lines: dict[Record, bytes] = {}
    for record in (step.company, step.control):
        if record is None:
            continue
        name = next(name for name, piece in run.shards.items() if piece.shard == record.shard)
        with tempfile.TemporaryDirectory(prefix="company-") as scratch:
            path = storage.download(f"{run.wrote.features}{name}", Path(scratch) / "features")
            with path.open("rb") as file:
                blocks = Blocks(file, None)  # no feature holds a line break
                blocks.take(record.number - 1)
                lines[record] = blocks.take(1).data
    return Company(lines, most_bytes)


def _moves(storage: Storage, source: str, folder: str, step: Further, company: Company) -> Iterator[Any]:
    """One piece of work for each object that goes below `folder`."""
    for piece in step.again:
        yield partial(storage.copy, f"{source}{piece.name}", f"{folder}{piece.name}")
    for control in step.control_pieces():
        data = company.join(company.lines[Record(control.shard, control.first)], control)
        yield partial(storage.write, f"{folder}{control.name}", data, content_type="text/csv")
    for piece in step.cut:
        with tempfile.TemporaryDirectory(prefix="pieces-") as scratch:
            path = storage.download(f"{source}{piece.name}", Path(scratch) / "features")
            with path.open("rb") as file:
                lines = Blocks(file, None)  # no feature holds a line break
                for part in step.cut_pieces(piece):
                    block = lines.take(part.records)
                    if block.count < part.records:
                        raise ReconciliationError(
                            f"{source}{piece.name} holds fewer than the {piece.records:,} records that it should",
                            piece.shard,
                        )
                    data = company.join(block.data, part)
                    yield partial(storage.write, f"{folder}{part.name}", data, content_type="text/csv")


def _settle(
    storage: Storage, pipeline: Pipeline, run: Run, rounds: Sequence[Round], found: Found
) -> dict[str, Any]:
    """Put the shards that were cut together again, list what was refused, and say where both are."""
    paths = run.paths.job(rounds[-1].job.name)
    spec = JoinSpec.from_dict(join_spec(pipeline))
    # An object's output is below the first prefix that has it.
    where = {
        piece: f"{each.job.kind.output_uris(each.job.description)[0]}{piece.name}.out"
        for each in reversed(rounds)
        for piece in each.answered
    }
    why = {piece.span: answer for each in rounds for piece, answer in each.refused.items()}
    mended: dict[str, Any] = {}
    for shard in run.shards.values():
        if shard in where:
            continue
        parts = cover(
            shard,
            [piece for piece in where if piece.shard == shard.shard],
            [piece for piece in found.poison if piece.shard == shard.shard],
        )
        mended[shard.shard] = _mend(storage, run, paths, spec, shard, parts, where, why)
    document = {
        "version": 1,
        "refused": sum(each["refused"] for each in mended.values()),
        "rejects": paths.rejects,
        "shards": mended,
    }
    body = json.dumps(document, indent=2).encode()
    storage.write(f"{paths.root}mended.json", body)
    log.warning(
        "The model refused %s, listed with its answers below %s.",
        count(document["refused"], "record"),
        paths.rejects,
    )
    return {
        "document": f"{paths.root}mended.json",
        "sha256": hashlib.sha256(body).hexdigest(),
        "refused": document["refused"],
        "rejects": paths.rejects if document["refused"] else None,
    }


def _mend(
    storage: Storage,
    run: Run,
    paths: JobPaths,
    spec: JoinSpec,
    shard: Piece,
    parts: Sequence[Piece],
    where: Mapping[Piece, str],
    why: Mapping[tuple[str, int, int], str],
) -> dict[str, Any]:
    document = run.documents[shard.shard]
    source = f"{run.wrote.root}{document['records_key']}"
    with tempfile.TemporaryDirectory(prefix="mending-") as name, ThreadPoolExecutor(MOVING) as pool:
        folder = Path(name)
        to = MendedFiles(folder / "records", folder / "predictions", folder / "rejects")
        records = storage.download(source, folder / "all")

        def part_of(piece: Piece) -> Part:
            if piece not in where:
                return Part(piece.name, piece.records, None, why[piece.span])
            answers = storage.download(where[piece], folder / "answers" / piece.name)
            return Part(piece.name, piece.records, answers, company=piece.sent - piece.records)

        refused_records = mend(
            records, list(pool.map(part_of, parts)), spec, to, source=source, rule=REFUSED_BY_MODEL
        )
        keys = {
            "records": f"{paths.mended}records/{Path(document['records_key']).name}",
            "predictions": f"{paths.mended}predictions/{shard.name}.out",
        }
        storage.upload(to.records, keys["records"])
        storage.upload(to.predictions, keys["predictions"])
        if refused_records:
            storage.upload(to.rejects, f"{paths.rejects}{shard.shard}.jsonl")
    job = paths.root.rstrip("/").rpartition("/")[2]
    objects = {
        f"{part}_object": [uri, *itemgetter("size", "etag")(storage.head(uri)), job]
        for part, uri in keys.items()
    }
    return {"records": shard.records - refused_records, "refused": refused_records, **objects}
