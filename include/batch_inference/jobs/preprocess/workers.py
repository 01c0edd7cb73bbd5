"""Runs `preprocess` in several processes of one host: each turns some of the objects, or parts of them, into shards.

An object is cut where a line ends. So that records are numbered within their object, and to find repeated records, all
parts are scanned before any is processed.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from batch_inference.jobs.common.errors import JobError
from batch_inference.jobs.common.groups import merge_group_counts
from batch_inference.jobs.common.profiles import Profile
from batch_inference.jobs.config.preprocess_config import PreprocessConfig
from batch_inference.jobs.preprocess.duplicates import (
    Duplicates,
    find_duplicates,
    select_duplicates_rules,
)
from batch_inference.jobs.preprocess.objects import RECORD_BITS, ObjectPart
from batch_inference.jobs.preprocess.partition import cut_objects, partition_parts, undo_cuts
from batch_inference.jobs.preprocess.peers import Peers
from batch_inference.jobs.preprocess.readers.batch import Batch
from batch_inference.jobs.preprocess.record_validator import RecordValidator
from batch_inference.jobs.preprocess.rejects import RejectSummary
from batch_inference.jobs.preprocess.scan import InputScan, scan_partition
from batch_inference.jobs.preprocess.shard_writer import ShardWriter
from batch_inference.jobs.preprocess.source import ColumnNames, PartReader, combine_batches

# Runs a function once for each tuple of arguments, each time in another process.
RunPartitions = Callable[[Callable[..., Any], Sequence[Tuple[Any, ...]]], List[Any]]

# A process takes a quarter of a second and some 50 MB to start.
WORKER_BYTES = 16 << 20


@dataclass
class PreprocessResult:
    """Shards and counts of some objects."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    shards: list[dict[str, Any]] = field(default_factory=list)
    rejects: RejectSummary = field(default_factory=RejectSummary)
    groups: dict[str, Any] = field(default_factory=dict)
    profile: Profile = field(default_factory=Profile)


def process_objects(
    own: Sequence[ObjectPart],
    scanned: Sequence[ObjectPart],
    config: PreprocessConfig,
    peers: Peers,
    output: Path,
    host: str,
) -> PreprocessResult:
    """Process the objects of this host, each one part.

    `scanned` are those whose keys this host collects: its own, or those of all hosts, if it has no peers.

    Raises:
        JobError: an object cannot be read, or the user's function failed.
    """
    count = count_workers(sum(part.text_bytes for part in scanned))
    parts = cut_objects(scanned, config.input, count)
    own_objects = {part.object for part in own}
    with start_workers(count, host) as run_partitions:
        duplicates = Duplicates({})
        if select_duplicates_rules(config) or len(parts) > len(scanned):
            parts, duplicates = _scan_parts(run_partitions, parts, config, peers, count)
        partitions = partition_parts([part for part in parts if part.object in own_objects], count)
        results = run_partitions(
            process_partition,
            [
                (
                    partition,
                    config,
                    duplicates.select([part.rank for part in partition]),
                    output,
                    f"{host}-{number:03d}" if len(partitions) > 1 else host,
                )
                for number, partition in enumerate(partitions)
            ],
        )
    return merge_results(results)


def count_workers(text_bytes: int) -> int:
    """How many processes this host starts for so much input."""
    return max(1, min(len(os.sched_getaffinity(0)), text_bytes // WORKER_BYTES))


@contextmanager
def start_workers(count: int, host: str) -> Iterator[RunPartitions]:
    """Start processes, of which this one is the first; yields a function that runs another one once in each."""
    if count == 1:
        yield lambda function, arguments: [function(*each) for each in arguments]
        return
    # Not forked: a thread of Arrow may hold a lock, which would never be released in the copy.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count - 1, mp_context=context) as pool:

        def run(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
            try:
                futures = [pool.submit(function, *each) for each in arguments[1:]]
                return [function(*arguments[0]), *(each.result() for each in futures)]
            except BrokenProcessPool as error:
                raise JobError(
                    f"one of the {count} processes of {host} was killed, most likely because memory ran out; "
                    "name an instance type with more memory"
                ) from error

        yield run


def _scan_parts(
    run_partitions: RunPartitions,
    parts: list[ObjectPart],
    config: PreprocessConfig,
    peers: Peers,
    count: int,
) -> tuple[list[ObjectPart], Duplicates]:
    """Scan the parts; returns them numbered within their objects, and the repeated records."""
    with tempfile.TemporaryDirectory() as folder:
        while True:
            partitions = partition_parts(parts, count)
            paths = [Path(folder, f"{number}-") for number in range(len(partitions))]
            arguments = [(partition, config, path) for partition, path in zip(partitions, paths)]
            scan = InputScan(list(zip(paths, run_partitions(scan_partition, arguments))), config)
            uncuttable = scan.find_uncuttable_objects()
            if not uncuttable:
                break
            parts = undo_cuts(parts, uncuttable)
        return scan.parts, find_duplicates(select_duplicates_rules(config), scan.read_keys, peers)


def process_partition(
    parts: Sequence[ObjectPart],
    config: PreprocessConfig,
    duplicates: Duplicates,
    output: Path,
    shard_prefix: str,
) -> PreprocessResult:
    """Write the shards of these parts, named `shard_prefix`-00000 and so on."""
    sensitive = [column.column for column in config.sensitive_columns]
    rejects = RejectSummary(config.input.column_names, sensitive)
    validator, result = RecordValidator(config), PreprocessResult(rejects=rejects)
    suffix = "jsonl" if config.input.format == "jsonlines" else "csv"
    total = sum(part.text_bytes for part in parts)
    uris = {part.rank: part.object.uri for part in parts}
    batches = combine_batches(_read_parts(parts, config, result))
    with ShardWriter(output, shard_prefix, total, config.shard_bytes, suffix, rejects) as writer:
        for names, batch, positions in batches:
            label = _label_records(batch.ordinals, uris)
            validation = validator.validate(names, batch, duplicates.flag_repeats(batch), label)
            writer.add(uris, names or (), batch, validation, np.concatenate(positions))
    result.shards, result.groups = writer.shards, validator.group_counts.to_dict()
    result.profile = validator.profile
    return result


def _read_parts(
    parts: Sequence[ObjectPart], config: PreprocessConfig, result: PreprocessResult
) -> Iterator[tuple[ColumnNames, Batch, np.ndarray]]:
    """Yield the batches of the parts with the bytes of text read after each record; counts them in the result."""
    bytes_before = 0  # bytes of the parts already read
    for part in parts:
        count: dict[str, Any] = {"source": part.object.uri, "records": 0, "blank_lines": 0, "columns": []}
        result.objects.append(count)
        position = float(bytes_before)
        bytes_before += part.text_bytes
        for names, batch in PartReader(part, config.input):
            lengths = batch.text_ends + 1 - batch.text_starts
            positions = np.minimum(position + np.cumsum(lengths), bytes_before)
            if len(batch):
                position = float(positions[-1])
            count["records"] += len(batch)
            count["blank_lines"] += batch.blank_lines
            count["columns"] = list(names or ())
            yield names, batch, positions


def _label_records(ordinals: np.ndarray, uris: Mapping[int, str]) -> str:
    """Name records in messages, from the first to the last."""
    if not len(ordinals):
        return "no records"
    ends = [divmod(int(ordinals[at]), 1 << RECORD_BITS) for at in (0, -1)]
    (first_rank, first), (last_rank, last) = ends
    if first_rank == last_rank:
        return f"records {first:,} to {last:,} of {uris[first_rank]}"
    return f"records from {first:,} of {uris[first_rank]} to {last:,} of {uris[last_rank]}"


def merge_results(results: Sequence[PreprocessResult]) -> PreprocessResult:
    """Merge the results of several processes into one; an object may have parts in two that follow each other."""
    combined = PreprocessResult(groups=merge_group_counts(part.groups for part in results))
    for part in results:
        for one in part.objects:
            last = combined.objects[-1] if combined.objects else None
            if last is not None and last["source"] == one["source"]:
                last["records"] += one["records"]
                last["blank_lines"] += one["blank_lines"]
                last["columns"] = last["columns"] or one["columns"]
            else:
                combined.objects.append(one)
        combined.shards += part.shards
        combined.rejects.merge(part.rejects)
        combined.profile.merge(part.profile)
    return combined
