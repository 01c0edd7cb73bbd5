"""Processing job: joins a run that is too large for Airflow workers, on several instances.

Run by SageMaker as `python3 -m batch_inference.jobs.join`; docs/reference/job-files.md describes its configuration.
Each instance gets its share of the records (ShardedByS3Key) and all predictions (FullyReplicated), which are much
smaller: so the predictions of a record are on its instance. Each shard becomes one file of the output.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch_inference.jobs.common.container import Container, run_job, write_json
from batch_inference.jobs.common.errors import ConfigError, InputError
from batch_inference.jobs.config.fields import FieldReader
from batch_inference.jobs.join.aligned_join import JoinSpec, ShardFiles
from batch_inference.jobs.join.parts import STATISTICS_SUFFIX, format_part_name, join_part
from batch_inference.jobs.join.sinks.text_sinks import SINKS

JOIN_VERSION = 1
CONFIG_FILE = "join.json"
# Each shard that is joined has one thread that reads and writes, and this many that parse.
THREADS_PER_SHARD = 2


@dataclass(frozen=True)
class JoinShard:
    """One shard, which is joined into one file.

    Attributes:
        number: its index among all shards of the run.
        records_path, predictions_path: relative to the inputs `records` and `predictions`.
    """

    number: int
    name: str
    columns: tuple[str, ...]
    records_path: str
    predictions_path: str


@dataclass(frozen=True)
class JoinConfig:
    """The content of join.json."""

    spec: JoinSpec
    shards: tuple[JoinShard, ...]


def join_host_shards(container: Container, config: JoinConfig) -> dict[str, Any]:
    """Join the shards of this host into the container's output; returns the manifest of the host.

    Raises:
        InputError: a shard has records here, but no predictions.
        JoinError, ConfigError, FunctionError: as `join_shards`.
    """
    started = time.time()
    busy_since = time.perf_counter()
    SINKS[config.spec.output_format].require_packages()
    host_shards = select_own_shards(container, config)
    parts = container.output_dir / "parts"
    parts.mkdir(parents=True, exist_ok=True)

    def join_one_shard(task: JoinShard) -> dict[str, Any]:
        name = format_part_name(task.number, config.spec)
        files = ShardFiles(
            task.name,
            container.get_input_dir("records") / task.records_path,
            container.get_input_dir("predictions") / task.predictions_path,
            task.columns,
        )
        part = join_part([files], parts / name, config.spec, THREADS_PER_SHARD)
        return {
            "number": task.number,
            "key": f"parts/{name}",
            "statistics_key": f"parts/{name}{STATISTICS_SUFFIX}",
            **part,
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
        "started_at": started,
        "ended_at": time.time(),
    }
    write_json(container.output_dir / "manifest" / f"{container.host}.json", manifest)
    return manifest


def select_own_shards(container: Container, config: JoinConfig) -> list[JoinShard]:
    """Select the shards whose records are on this host. Raises InputError unless their predictions are there too."""
    host_shards = [
        task for task in config.shards if (container.get_input_dir("records") / task.records_path).is_file()
    ]
    without_predictions = [
        task.name
        for task in host_shards
        if not (container.get_input_dir("predictions") / task.predictions_path).is_file()
    ]
    if without_predictions:
        raise InputError(
            f"{len(without_predictions):,} of the {len(host_shards):,} shards of {container.host} have records but "
            f"no predictions, {without_predictions[0]} first. Nothing was joined."
        )
    return host_shards


def read_join_config(path: Path) -> JoinConfig:
    """Read and validate join.json. Raises ConfigError that names the field."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    top = FieldReader(document, "", ("version", "spec", "shards"))
    if top.get("version", int) != JOIN_VERSION:
        raise ConfigError(f"version is {document['version']}, this job reads version {JOIN_VERSION}")
    shards = []
    for index, value in enumerate(top.get("shards", list)):
        one = FieldReader(value, f"shards[{index}]", ("number", "name", "columns", "records", "predictions"))
        shards.append(
            JoinShard(
                one.get("number", int),
                one.get("name", str),
                tuple(one.get("columns", list)),
                one.get("records", str),
                one.get("predictions", str),
            )
        )
    return JoinConfig(JoinSpec.from_dict(top.get("spec", dict)), tuple(shards))


def main() -> int:
    def job(container: Container) -> str:
        manifest = join_host_shards(container, read_join_config(container.config_dir / CONFIG_FILE))
        return f"{manifest['host']}: {manifest['rows']:,} rows of {len(manifest['parts']):,} shards joined"

    return run_job(job)
