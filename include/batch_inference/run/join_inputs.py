"""The records and predictions that a run joins: of shards, or without `preprocess` of objects that the model read.

Both kinds of runs join, list their parts and prove their counts by `JoinInputs`.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from batch_inference.aws.ranges import download_object
from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ReconciliationError
from batch_inference.common.names import JobPaths
from batch_inference.common.s3_uri import get_folder_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.input_pieces.layout_files import read_join_group, read_listing
from batch_inference.jobs.config.join_spec import ShardFiles
from batch_inference.pricing.costs import merge_jobs
from batch_inference.requests.sagemaker import list_manifest_uris
from batch_inference.run.handoffs import PREPROCESS_JOB, SHARD_STATS
from batch_inference.run.job_outputs import (
    JobOutputs,
    StoredObject,
    check_unchanged,
    download_unchanged,
    read_unchanged_json,
    read_verified,
)
from batch_inference.run.run_context import RunContext
from batch_inference.run.task_ids import (
    AWAIT_CANARY,
    AWAIT_TRANSFORM,
    AWAIT_TRIAL,
    CUT_INPUT,
    SELECT_TRIALS,
    TRANSFORM,
    TRANSFORM_TRIAL,
    WRITE_MANIFESTS,
)
from batch_inference.verification.host_manifests import Shard, ShardList, merge_host_manifests
from batch_inference.verification.reconciliation import Reconciliation, check_all_rejects, reconcile
from batch_inference.verification.rejects import list_resolutions
from batch_inference.verification.transform_objects import TransformObject, reconcile_pieces

if TYPE_CHECKING:
    from _typeshed import SupportsRead

_CHUNK = 1 << 20
# The lookbehind starts a match at the first CR only, so a long row of them is scanned once.
_LINE_END = re.compile(rb"(?<!\r)\r+\n")


class JoinSource(Protocol):
    """Records and the predictions for them, in one object each."""

    def fetch(self, folder: Path) -> ShardFiles:
        """Download both; raises ReconciliationError when one is missing or was changed."""


class JoinInputs(Protocol):
    """The inputs of a run's join.

    Attributes:
        job_names: the jobs that wrote them; a part that names others is of an earlier plan or an earlier clear.
        stats: counts of the run, `preprocess_job` (None without `preprocess`), `count` of shards or objects, `groups`;
            with `preprocess` also `reject_summary` and the `resolutions` of the jobs whose model refused records.
        transform_jobs: the finished jobs of the transform, the canary's first, without trials.
        transform_job: what stands for them in the manifest.
        trials: the finished trials, each with its `job`, the number of its plan (`trial`), the number of its
            `objects`, and its `share` of the records, 0 to 1.
    """

    job_names: list[str]
    stats: dict[str, Any]
    transform_jobs: list[dict[str, Any]]
    transform_job: dict[str, Any]
    trials: list[dict[str, Any]]

    def list_sources(self, group: Mapping[str, int]) -> Sequence[JoinSource]:
        """The sources of one join task, in their order."""

    def reconcile(self, parts: Sequence[Mapping[str, Any]]) -> Reconciliation:
        """The counts of the run, checked per source and in all.

        Raises:
            ReconciliationError, ManifestError: they do not add up, or the output of a job was changed.
        """


def open_join_inputs(run: RunContext) -> JoinInputs:
    """The inputs of the run's join; raises as `ShardInputs` and `PieceInputs`."""
    return PieceInputs(run) if run.pipeline.preprocess is None else ShardInputs(run)


def read_row_counts(
    storage: Storage, part: Mapping[str, Any], expected_names: list[str] | None = None
) -> dict[str, int]:
    """The joined rows of each source of a part: listed in the part of a join job, else in a file next to the part.

    Raises:
        ReconciliationError: they are not the part's rows, or not of these `expected_names`.
    """
    rows: dict[str, int] = part["shards"] if "shards" in part else storage.read_json(part["counts"])
    if sum(rows.values()) != part["rows"] or expected_names not in (None, list(rows)):
        pieces = "" if expected_names is None else f" of {len(expected_names):,} pieces"
        raise ReconciliationError(
            f"{part['uri']} has {part['rows']:,} rows{pieces}, but {part.get('counts', 'its job')} has "
            f"{sum(rows.values()):,} of {len(rows):,}; clear `join` and all that follows it"
        )
    return rows


@dataclass(frozen=True, slots=True)
class ShardSource:
    """One shard: its records, their columns and `records_bytes`, and the predictions for them."""

    storage: Storage
    name: str
    records: StoredObject
    predictions: StoredObject
    columns: Sequence[str]
    records_bytes: int

    def fetch(self, folder: Path) -> ShardFiles:
        """See `JoinSource`."""
        return ShardFiles(
            name=self.name,
            records_path=download_unchanged(self.storage, self.records, folder / f"{self.name}.records"),
            predictions_path=download_unchanged(
                self.storage, self.predictions, folder / f"{self.name}.predictions"
            ),
            columns=list(self.columns),
        )


class ShardInputs:
    """The shards of a run, see `JoinInputs`.

    Raises:
        ReconciliationError: the counts of `await_preprocess` are of another job than its own.
    """

    def __init__(self, run: RunContext) -> None:
        self.run = run
        self.stats: dict[str, Any] = run.pull(*SHARD_STATS)
        self.preprocess_job, self.transform_job = run.pull(*PREPROCESS_JOB), run.pull(AWAIT_TRANSFORM)
        self.trials = self._read_trials()
        self.job_names = [
            self.preprocess_job["job_name"],
            *(trial["job"]["job_name"] for trial in self.trials),
            self.transform_job["job_name"],
        ]
        if self.stats["preprocess_job"] != self.job_names[0]:
            raise ReconciliationError(
                f"`await_preprocess` counted what {self.stats['preprocess_job']} wrote, but waited for "
                f"{self.job_names[0]}; clear `await_preprocess` and all that follows it"
            )
        # `await_preprocess` decides whether there is a canary: after a clear, a skipped `await_canary` keeps its value.
        self.transform_jobs: list[dict[str, Any]] = [
            *([run.pull(AWAIT_CANARY)] if self.stats.get("canary") else []),
            self.transform_job,
        ]
        self.paths = run.paths.build_job_paths(self.stats["preprocess_job"])
        self.outputs = JobOutputs.read(run.storage, self.preprocess_job)
        resolved_jobs = (*(trial["job"] for trial in self.trials), self.transform_job)
        self.merged_shards = {
            name: shard
            for job in resolved_jobs
            for name, shard in read_merged_shards(run.storage, job).items()
        }
        self.stats["resolutions"] = list_resolutions(resolved_jobs)

    def _read_trials(self) -> list[dict[str, Any]]:
        """See `JoinInputs`; with the names of their `shards`."""
        if self.run.pipeline.goals.calibrate != "explore":
            return []
        selected: Sequence[Mapping[str, Any]] = self.run.pull(SELECT_TRIALS)
        indexes = range(len(selected))
        if not indexes:
            return []
        specs = self.run.pull(TRANSFORM_TRIAL, "spec", map_indexes=indexes)
        for trial, spec in zip(selected, specs, strict=True):
            check_source(spec, trial["source"], SELECT_TRIALS, TRANSFORM_TRIAL)
        jobs = self.run.pull(AWAIT_TRIAL, map_indexes=indexes)
        return [
            {
                **trial,
                "objects": len(trial["shards"]),
                "share": trial["records"] / self.stats["records_out"],
                "job": job,
            }
            for trial, job in zip(selected, jobs, strict=True)
        ]

    def read_shards(self) -> tuple[Shard, ...]:
        """The shards in their order."""
        return ShardList.model_validate(self.run.storage.read_json(self.paths.shards)).shards

    def list_sources(self, group: Mapping[str, int] | None = None) -> list[ShardSource]:
        """The shards of a group, or all of them.

        Raises:
            ReconciliationError: the predictions are for the output of another run of `preprocess`, or a shard has none.
        """
        storage = self.run.storage
        check_features_origin(self.run.pull(TRANSFORM, "spec"), self.paths)
        jobs = (*(trial["job"] for trial in self.trials), *self.transform_jobs)
        outputs = [JobOutputs.read(storage, job) for job in jobs]

        def find_source(shard: Shard) -> ShardSource:
            if merged := self.merged_shards.get(shard.name):
                records = StoredObject(*merged["records_object"])
                predictions = StoredObject(*merged["predictions_object"])
            else:
                name = f"{Path(shard.features_key).name}.out"
                records = self.outputs.find(f"{self.paths.root}{shard.records_key}")
                job = next((each for each in outputs if each.has_output(name)), outputs[-1])
                predictions = job.find_output(name)
            return ShardSource(storage, shard.name, records, predictions, shard.columns, shard.bytes)

        shards = self.read_shards()
        return [
            find_source(each)
            for each in (shards if group is None else shards[group["first"] : group["last"] + 1])
        ]

    def reconcile(self, parts: Iterable[Mapping[str, Any]]) -> Reconciliation:
        """See `JoinInputs`."""
        storage = self.run.storage
        # The transform reads the features without our checks. The shards of canary and trials were moved out of them.
        canary = self.stats.get("canary")
        names = {name for trial in self.trials for name in trial["shards"]}
        names |= {canary["shard"]} if canary else set()
        moved = {
            f"{self.paths.root}{each.features_key}"
            for each in (self.read_shards() if names else ())
            if each.name in names
        }
        features = self.outputs.list_below(self.paths.features)
        check_unchanged(storage, [each for each in features if each.uri not in moved])
        manifests = self.outputs.list_below(self.paths.manifests)
        reconciled = reconcile(
            merge_host_manifests(
                [read_unchanged_json(storage, each) for each in manifests],
                host_count=self.preprocess_job["instance_count"],
            ),
            merge_row_counts(storage, parts),
            objects=list_manifest_uris(storage.read_json(self.run.paths.input_manifest)),
            refused_records={name: each["refused"] for name, each in self.merged_shards.items()},
        )
        if self.trials:
            # Each job has compared only its own refused records with the limit.
            check_all_rejects(reconciled, self.run.pipeline.max_rejected)
        return reconciled


def merge_row_counts(storage: Storage, parts: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The joined rows of each shard.

    Raises:
        ReconciliationError: a shard is in two parts, or the counts of a part are not its rows.
    """
    merged: dict[str, int] = {}
    for part in parts:
        rows = read_row_counts(storage, part)
        if repeated := merged.keys() & rows.keys():
            raise ReconciliationError(
                f"shard {min(repeated)} is in two parts, {part['uri']} among them", min(repeated)
            )
        merged |= rows
    return merged


def read_merged_shards(storage: Storage, transform_job: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The shards that were transformed in pieces and merged again, by name.

    For each: its records and predictions as they were written (`records_object`, `predictions_object`: URI, size, ETag
    and the job), their number (`records`), and the number that the model refused (`refused`).
    """
    resolved = transform_job.get("resolution")
    if resolved is None:
        return {}
    content = read_verified(storage, resolved["document"], resolved["sha256"], transform_job["job_name"])
    shards: dict[str, dict[str, Any]] = json.loads(content)["shards"]
    return shards


def check_source(spec: Mapping[str, Any], wanted: str, written_by: str, submitted_by: str) -> None:
    """Raise ReconciliationError unless the transform of this spec was asked to read `wanted`."""
    read = spec["request"]["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    if read != wanted:
        raise ReconciliationError(
            f"a transform job read {read}, but `{written_by}` wrote {wanted}; `plan` has run again without it: clear "
            f"`{submitted_by}` and all that follows it"
        )


def check_features_origin(transform_spec: Mapping[str, Any], preprocess_paths: JobPaths) -> None:
    """Check that the transform read the features of this preprocess job: shard names are the same in each run of it.

    Raises:
        ReconciliationError: the transform was asked to read the output of another job.
    """
    read = transform_spec["request"]["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    if read != preprocess_paths.features:
        raise ReconciliationError(
            f"the transform read {read}, but `await_preprocess` counted {preprocess_paths.root}; one of them was run "
            f"again without the other: clear `transform` and all that follows it"
        )


@dataclass(frozen=True, slots=True)
class PieceSource:
    """One piece: its records below `source_folder_uri`, and its predictions among the `outputs` of its job.

    With `is_unsplit` the records are the user's own object, which must still have the ETag that was planned.
    """

    storage: Storage
    pipeline: Pipeline
    piece: TransformObject
    source_folder_uri: str
    is_unsplit: bool
    outputs: JobOutputs

    def fetch(self, folder: Path) -> ShardFiles:
        """See `JoinSource`; the records are lines of utf-8 text."""
        piece = self.piece
        etag = piece.sources[0].etag if self.is_unsplit else piece.etag
        stored = download_object(self.storage, piece.uri, etag, folder / f"{piece.name}.stored")
        records = folder / f"{piece.name}.records"
        is_compressed = self.pipeline.input.compression == "gzip"
        with stored.open("rb") as source, records.open("wb") as target:
            copy_normalized_lines(gzip.GzipFile(fileobj=source) if is_compressed else source, target)
        stored.unlink()
        predictions = self.outputs.find_output(f"{piece.uri.removeprefix(self.source_folder_uri)}.out")
        return ShardFiles(
            name=piece.name,
            records_path=records,
            predictions_path=download_unchanged(
                self.storage, predictions, folder / f"{piece.name}.predictions"
            ),
            columns=self.pipeline.column_names,
        )


class PieceInputs:
    """The objects that the mapped transform jobs of a run read, see `JoinInputs`.

    Raises:
        ReconciliationError: a job read another manifest than the last one of `write_manifests`.
    """

    def __init__(self, run: RunContext) -> None:
        self.run = run
        manifests: Sequence[Mapping[str, Any]] = run.pull(WRITE_MANIFESTS)
        indexes = range(len(manifests))
        specs = run.pull(TRANSFORM, "spec", map_indexes=indexes)
        for job, spec in zip(manifests, specs, strict=True):
            check_source(spec, job["manifest"], WRITE_MANIFESTS, TRANSFORM)
        self.stats: dict[str, Any] = {"preprocess_job": None, **run.pull(CUT_INPUT, "cut_stats")}
        # In the order of the manifests.
        self._jobs: list[dict[str, Any]] = run.pull(AWAIT_TRANSFORM, map_indexes=indexes)
        self.transform_jobs = [
            job for job, listed in zip(self._jobs, manifests, strict=True) if not listed["trial"]
        ]
        self.trials = [
            {
                **listed,
                "trial": int(listed["trial"]),
                "share": listed["bytes"] / sum(each["bytes"] for each in manifests),
                "job": job,
            }
            for job, listed in zip(self._jobs, manifests, strict=True)
            if listed["trial"]
        ]
        self.transform_job = merge_jobs(self._jobs)
        self.job_names: list[str] = [job["job_name"] for job in self._jobs]

    def list_sources(self, group: Mapping[str, int]) -> list[PieceSource]:
        """The pieces of a group."""
        run, paths = self.run, self.run.layout_paths
        is_unsplit = run.plan.require_layout().mode == "unsplit"
        folder = get_folder_uri(run.plan.input.uri) if is_unsplit else paths.pieces
        outputs = [JobOutputs.read(run.storage, job) for job in self._jobs]
        assignment = run.storage.read_json(paths.assignment)
        return [
            PieceSource(
                run.storage, run.pipeline, piece, folder, is_unsplit, outputs[assignment[piece.position]]
            )
            for piece in read_join_group(run.storage, paths, group["number"])
        ]

    def reconcile(self, parts: Iterable[Mapping[str, Any]]) -> Reconciliation:
        """See `JoinInputs`."""
        return reconcile_pieces(read_listing(self.run.storage, self.run.plan), self._count_rows(parts))

    def _count_rows(self, parts: Iterable[Mapping[str, Any]]) -> Iterator[tuple[TransformObject, int]]:
        """Each piece with the number of its joined rows."""
        storage, paths = self.run.storage, self.run.layout_paths
        for part in parts:
            pieces = read_join_group(storage, paths, part["number"])
            rows = read_row_counts(storage, part, [piece.name for piece in pieces])
            yield from zip(pieces, rows.values(), strict=True)


def copy_normalized_lines(source: SupportsRead[bytes], target: IO[bytes]) -> None:
    """Copy text and turn its line ends into LF, as the join expects them.

    Line ends are LF, CR LF, and CR CR LF, which a text mode makes of CR LF; CRs at the very end are dropped.
    """
    held = b""
    while chunk := source.read(_CHUNK):
        data = held + chunk
        # CRs at the end of a chunk wait for the next one.
        lines = data.rstrip(b"\r")
        held = data[len(lines) :]
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n")
            lines = _LINE_END.sub(b"\n", lines) if b"\r\n" in lines else lines
        target.write(lines)
