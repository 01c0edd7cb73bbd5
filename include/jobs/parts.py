"""One file of the output: joined, counted and digested, wherever the join runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Iterable

from include.jobs.join import JoinSpec, ShardFiles, join_group
from include.jobs.prediction_statistics import Statistics

STATISTICS_SUFFIX = ".statistics.json"


def part_name(number: int, spec: JoinSpec) -> str:
    """Parts are in the order of their names."""
    return f"part-{number:05d}.{spec.format}"


def join_part(shards: Iterable[ShardFiles], output: Path, spec: JoinSpec, threads: int = 2) -> dict[str, Any]:
    """Join the shards into the file `output`, and put the statistics of their answers beside it.

    Gives `rows`, `bytes`, `sha256` and, by name, the rows of each of `shards`. Raises what `join_group` does.
    """
    statistics = Statistics(spec)
    counts = join_group(shards, output, spec, threads, statistics)
    statistics_of(output).write_text(json.dumps(statistics.to_dict()), encoding="utf-8")
    return {
        "rows": sum(count.rows for count in counts),
        "bytes": output.stat().st_size,
        "sha256": sha256_of(output),
        "shards": {count.shard: count.rows for count in counts},
    }


def statistics_of(part: Path) -> Path:
    """Where the statistics of a part are."""
    return part.with_name(part.name + STATISTICS_SUFFIX)


def sha256_of(path: Path) -> str:
    """The digest of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()
