"""Runs `preprocess` in several processes of one host: each turns some of the objects into shards.

An object is read by one process. So a host starts at most one process for each core, each object and each WORKER_BYTES.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from batch_inference.jobs.common.errors import JobError
from batch_inference.jobs.common.groups import merge_group_counts
from batch_inference.jobs.common.profiles import Profile
from batch_inference.jobs.config.preprocess_config import PreprocessConfig
from batch_inference.jobs.preprocess.duplicates import Duplicates
from batch_inference.jobs.preprocess.objects import InputObject
from batch_inference.jobs.preprocess.record_validator import RecordValidator
from batch_inference.jobs.preprocess.shard_writer import ShardWriter
from batch_inference.jobs.preprocess.source import read_batches

# A process takes half a second and some 60 MB to start.
WORKER_BYTES = 32 << 20


@dataclass
class PreprocessResult:
    """Shards and counts of some objects."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    shards: list[dict[str, Any]] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    groups: dict[str, Any] = field(default_factory=dict)
    profile: Profile = field(default_factory=Profile)


def process_objects(
    objects: Sequence[InputObject],
    text_bytes_by_uri: Mapping[str, int],
    config: PreprocessConfig,
    duplicates: Duplicates,
    output: Path,
    host: str,
) -> PreprocessResult:
    """Process all objects of a host, whose bytes of text are in `text_bytes_by_uri`.

    Raises:
        JobError: an object cannot be read, or the user's function failed.
    """
    partitions = partition_objects(objects, text_bytes_by_uri, len(os.sched_getaffinity(0)))
    shared = (text_bytes_by_uri, config, duplicates, output)
    if len(partitions) == 1:
        return process_partition(objects, *shared, host)
    # Not forked: a thread of Arrow may hold a lock, which would never be released in the copy.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(partitions), mp_context=context) as pool:
        futures = [
            pool.submit(process_partition, part, *shared, f"{host}-{number:03d}")
            for number, part in enumerate(partitions)
        ]
        try:
            return merge_results([each.result() for each in futures])
        except BrokenProcessPool as error:
            raise JobError(
                f"one of the {len(partitions)} processes of {host} was killed, most likely because memory ran out; "
                "name an instance type with more memory"
            ) from error


def partition_objects(
    objects: Sequence[InputObject], text_bytes_by_uri: Mapping[str, int], core_count: int
) -> list[Sequence[InputObject]]:
    """Partition the objects, in their order, into parts of about equal bytes, one for each process."""
    total = sum(text_bytes_by_uri[one.uri] for one in objects)
    count = max(1, min(core_count, len(objects), total // WORKER_BYTES))
    ends = np.cumsum([text_bytes_by_uri[one.uri] for one in objects])
    cuts = [int(np.searchsorted(ends, total * number / count)) + 1 for number in range(1, count)]
    bounds = [0, *cuts, len(objects)]
    return [objects[low:high] for low, high in zip(bounds, bounds[1:]) if low < high] or [objects]


def process_partition(
    objects: Sequence[InputObject],
    text_bytes_by_uri: Mapping[str, int],
    config: PreprocessConfig,
    duplicates: Duplicates,
    output: Path,
    shard_prefix: str,
) -> PreprocessResult:
    """Write the shards of these objects, named `shard_prefix`-00000 and so on."""
    validator, result = RecordValidator(config), PreprocessResult()
    suffix = "jsonl" if config.input.format == "jsonlines" else "csv"
    total = sum(text_bytes_by_uri[one.uri] for one in objects)
    writer = ShardWriter(output, shard_prefix, total, config.shard_bytes, suffix)
    bytes_before = 0  # bytes of the objects already read
    for one in objects:
        records = blank = 0
        position = float(bytes_before)
        bytes_before += text_bytes_by_uri[one.uri]
        columns: tuple[str, ...] = ()
        for names, batch in read_batches(one, config.input):
            validation = validator.validate(names, batch, duplicates.flag_repeats(one, batch), one.uri)
            lengths = np.fromiter(map(len, batch.texts), dtype=np.int64)
            positions = np.minimum(position + np.cumsum(lengths), bytes_before)
            if batch.texts:
                position = float(positions[-1])
            columns = names or ()
            writer.add(one.uri, columns, batch, validation, positions)
            result.rejected.update(rule for rule, _ in validation.rejects.values())
            records += len(batch.rows)
            blank += batch.blank_lines
        result.objects.append(
            {"source": one.uri, "records": records, "blank_lines": blank, "columns": list(columns)}
        )
    writer.finish()
    result.shards, result.groups = writer.shards, validator.group_counts.to_dict()
    result.profile = validator.profile
    return result


def merge_results(results: Sequence[PreprocessResult]) -> PreprocessResult:
    """Merge the results of several processes into one."""
    combined = PreprocessResult(groups=merge_group_counts(part.groups for part in results))
    for part in results:
        combined.objects += part.objects
        combined.shards += part.shards
        combined.rejected.update(part.rejected)
        combined.profile.merge(part.profile)
    return combined
