"""Processing job: joins a run that is too large for Airflow workers, on several instances.

Run by SageMaker as `python3 -m batch_inference.jobs.join`; docs/reference/job-files.md describes its configuration.
Each instance gets its share of the records (ShardedByS3Key) and all predictions (FullyReplicated), which are much
smaller: so the predictions of a record are on its instance. Each shard becomes one file of the output.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Tuple

from batch_inference.jobs.common.arrow import require_arrow
from batch_inference.jobs.common.container import Container, run_job, write_json
from batch_inference.jobs.common.errors import InputError
from batch_inference.jobs.config.decoder import decode_version, read_document
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.parts import STATISTICS_SUFFIX, format_part_name, join_part

JOIN_VERSION = 1
CONFIG_FILE = "join.json"
# Each shard that is joined has one thread that reads and writes, and this many that parse.
THREADS_PER_SHARD = 2


@dataclass(frozen=True)
class JoinShard:
    """One shard, which is joined into one file.

    Attributes:
        number: its index among all shards of the run.
        records, predictions: paths below the inputs of these names.
    """

    number: int
    name: str
    columns: Tuple[str, ...]
    records: str
    predictions: str


@dataclass(frozen=True)
class JoinConfig:
    """The content of join.json."""

    version: int
    spec: JoinSpec
    shards: Tuple[JoinShard, ...]


def join_host_shards(container: Container, config: JoinConfig) -> dict[str, Any]:
    """Join the shards of this host into the container's output; returns the manifest of the host.

    Raises:
        InputError: a shard has records here, but no predictions.
        JoinError, ConfigError, FunctionError: as `join_shards`.
    """
    started_at = time.time()
    busy_since = time.perf_counter()
    if config.spec.output_format == "parquet":
        require_arrow("join.format is parquet")
    host_shards = select_own_shards(container, config)
    parts = container.output_dir / "parts"
    parts.mkdir(parents=True, exist_ok=True)

    def join_one_shard(shard: JoinShard) -> dict[str, Any]:
        name = format_part_name(shard.number, config.spec)
        records, predictions = get_shard_paths(container, shard)
        files = ShardFiles(shard.name, records, predictions, shard.columns)
        return {
            "number": shard.number,
            "key": f"parts/{name}",
            "statistics_key": f"parts/{name}{STATISTICS_SUFFIX}",
            **join_part([files], parts / name, config.spec, THREADS_PER_SHARD),
        }

    # Most of the time is spent without the GIL, so threads use all cores.
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // THREADS_PER_SHARD)) as pool:
        parts_written = list(pool.map(join_one_shard, host_shards))
    manifest = {
        "version": JOIN_VERSION,
        "host": container.host,
        "hosts": list(container.hosts),
        "parts": parts_written,
        "rows": sum(part["rows"] for part in parts_written),
        "busy_seconds": round(time.perf_counter() - busy_since, 3),
        "started_at": started_at,
        "ended_at": time.time(),
    }
    write_json(container.output_dir / "manifest" / f"{container.host}.json", manifest)
    return manifest


def get_shard_paths(container: Container, shard: JoinShard) -> tuple[Path, Path]:
    """Get the paths of a shard's records and predictions; its records may be on another host."""
    records, predictions = container.get_input_dir("records"), container.get_input_dir("predictions")
    return records / shard.records, predictions / shard.predictions


def select_own_shards(container: Container, config: JoinConfig) -> list[JoinShard]:
    """Select the shards whose records are on this host. Raises InputError unless their predictions are there too."""
    host_shards = [shard for shard in config.shards if get_shard_paths(container, shard)[0].is_file()]
    without_predictions = [
        shard.name for shard in host_shards if not get_shard_paths(container, shard)[1].is_file()
    ]
    if without_predictions:
        raise InputError(
            f"{len(without_predictions):,} of the {len(host_shards):,} shards of {container.host} have records but "
            f"no predictions, {without_predictions[0]} first. Nothing was joined."
        )
    return host_shards


def read_join_config(path: Path) -> JoinConfig:
    """Read join.json. Raises ConfigError that names the field."""
    return decode_version(JoinConfig, read_document(path), JOIN_VERSION)


def main() -> int:
    def job(container: Container) -> str:
        config = read_join_config(container.get_input_dir("config") / CONFIG_FILE)
        manifest = join_host_shards(container, config)
        return f"{manifest['host']}: {manifest['rows']:,} rows of {len(manifest['parts']):,} shards joined"

    return run_job(job)
