"""Joins shards into one part file, with its statistics and SHA-256, on a worker or in a container."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Iterable

from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.aligned_join import join_shards
from batch_inference.jobs.join.statistics import PredictionStatistics

STATISTICS_SUFFIX = ".statistics.json"

#: Suffix of a part by its format.
PART_SUFFIXES = {"parquet": "parquet", "csv": "csv", "jsonlines": "jsonl"}


def format_part_name(number: int, spec: JoinSpec) -> str:
    """Format the file name of a part; names sort in the order of the parts."""
    return f"part-{number:05d}.{PART_SUFFIXES[spec.output_format]}"


def join_part(shards: Iterable[ShardFiles], output: Path, spec: JoinSpec, threads: int = 2) -> dict[str, Any]:
    """Join the shards into the file `output`, and write the statistics of their predictions next to it.

    Returns `rows`, `bytes`, `sha256` and the rows of each of `shards`, by name. Raises the errors of `join_shards`.
    """
    statistics = PredictionStatistics(spec)
    counts = join_shards(shards, output, spec, threads, statistics)
    get_statistics_path(output).write_text(json.dumps(statistics.to_dict()), encoding="utf-8")
    return {
        "rows": sum(counts.values()),
        "bytes": output.stat().st_size,
        "sha256": compute_sha256(output),
        "shards": counts,
    }


def get_statistics_path(part: Path) -> Path:
    """Get the path of the statistics of a part."""
    return part.with_name(part.name + STATISTICS_SUFFIX)


def compute_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()
