"""One process's part of `preprocess`: some objects, in their order, into shards; and several such processes.

An object is read by one process. So a host uses as many cores as it has objects, and bytes worth a process, for them.
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

from include.jobs.config import Config
from include.jobs.duplicates import Duplicates
from include.jobs.errors import JobError
from include.jobs.groups import merge_groups
from include.jobs.judge import Judge
from include.jobs.objects import InputObject
from include.jobs.profiles import merge_profiles
from include.jobs.shards import ShardWriter
from include.jobs.source import read_batches

# A process takes half a second and some 60 MB to start.
WORKER_BYTES = 32 << 20


@dataclass
class Done:
    """What became of some objects, JSON-safe."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    shards: list[dict[str, Any]] = field(default_factory=list)
    rejects_files: list[str] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    imputed: Counter[str] = field(default_factory=Counter)
    groups: dict[str, Any] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)


def work_through(
    objects: Sequence[InputObject],
    sizes: Mapping[str, int],
    config: Config,
    duplicates: Duplicates,
    output: Path,
    host: str,
) -> Done:
    """All of a host's objects; `sizes` are their bytes of text, by source.

    Raises:
        JobError: an object cannot be read, or the user's function failed.
    """
    parts = runs(objects, sizes, len(os.sched_getaffinity(0)))
    if len(parts) == 1:
        return read_objects(objects, sizes, config, duplicates, output, host)
    # Not forked: a thread of Arrow's may hold a lock, which the copy would never see released.
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(parts), mp_context=spawning) as pool:
        started = [
            pool.submit(read_objects, part, sizes, config, duplicates, output, f"{host}-{number:03d}")
            for number, part in enumerate(parts)
        ]
        try:
            return merged([each.result() for each in started])
        except BrokenProcessPool as error:
            raise JobError(
                f"one of the {len(parts)} processes of {host} was killed, most likely for want of memory; name an "
                f"instance type with more of it"
            ) from error


def runs(objects: Sequence[InputObject], sizes: Mapping[str, int], cores: int) -> list[Sequence[InputObject]]:
    """The objects in runs of neighbours, of about equal bytes, one for each process; shards keep the objects' order."""
    total = sum(sizes[one.source] for one in objects)
    count = max(1, min(cores, len(objects), total // WORKER_BYTES))
    ends = np.cumsum([sizes[one.source] for one in objects])
    cuts = [int(np.searchsorted(ends, total * number / count)) + 1 for number in range(1, count)]
    bounds = [0, *cuts, len(objects)]
    return [objects[low:high] for low, high in zip(bounds, bounds[1:]) if low < high] or [objects]


def read_objects(
    objects: Sequence[InputObject],
    sizes: Mapping[str, int],
    config: Config,
    duplicates: Duplicates,
    output: Path,
    name: str,
) -> Done:
    """Write the shards of these objects, called `name`-00000 and so on."""
    judge, done = Judge(config), Done()
    suffix = "jsonl" if config.input.format == "jsonlines" else "csv"
    total = sum(sizes[one.source] for one in objects)
    writer = ShardWriter(output, name, total, config.shard_bytes, suffix)
    before = 0  # bytes of the objects already read
    for one in objects:
        records = blank = 0
        position = float(before)
        before += sizes[one.source]
        columns: tuple[str, ...] = ()
        for layout, batch in read_batches(one, config.input):
            verdict = judge.verdict(layout, batch, duplicates.flags(one, batch), one.source)
            positions = np.minimum(
                position + np.cumsum(np.fromiter(map(len, batch.texts), dtype=np.int64)), before
            )
            if batch.texts:
                position = float(positions[-1])
            columns = layout.names or ()
            writer.add(one.source, columns, batch, verdict, positions)
            done.rejected.update(reject.rule for reject in verdict.rejects)
            records += len(batch.rows)
            blank += batch.blank
        done.objects.append(
            {"source": one.source, "records": records, "blank_lines": blank, "columns": list(columns)}
        )
    writer.finish()
    done.shards, done.rejects_files = writer.shards, writer.rejects_files
    done.imputed = judge.features.imputed
    done.groups, done.profile = judge.groups.to_dict(), judge.profile.to_dict()
    return done


def merged(parts: Sequence[Done]) -> Done:
    """The parts as if one process had done them."""
    done = Done(
        groups=merge_groups([part.groups for part in parts]),
        profile=merge_profiles(part.profile for part in parts),
    )
    for part in parts:
        done.objects += part.objects
        done.shards += part.shards
        done.rejects_files += part.rejects_files
        done.rejected.update(part.rejected)
        done.imputed.update(part.imputed)
    return done
