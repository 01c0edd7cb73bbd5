"""Processing job: the join of a run that is too large for Airflow's workers, on as many instances as wanted.

Run by SageMaker as `python3 -m include.jobs.join_job`; README.md beside this file has its configuration. SageMaker
brings each instance its share of the records (by key) and all predictions, which are much smaller: so a record and its
prediction meet whatever instance the record came to. Each shard becomes one file of the output.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.jobs.container import Container, run_job, write_json
from include.jobs.errors import ConfigError, InputError
from include.jobs.fields import Fields
from include.jobs.join import JoinSpec, ShardFiles
from include.jobs.parts import STATISTICS_SUFFIX, join_part, part_name
from include.jobs.sinks import SINKS

VERSION = 1
CONFIG = "join.json"
# Each shard that is being joined has one thread that reads and writes and two that parse.
THREADS = 2


@dataclass(frozen=True)
class JoinTask:
    """One shard to be joined into one file.

    Attributes:
        number: its place among all shards of the run.
        records, predictions: below the inputs of these names.
    """

    number: int
    name: str
    columns: tuple[str, ...]
    records: str
    predictions: str


@dataclass(frozen=True)
class JoinConfig:
    """The whole of join.json."""

    spec: JoinSpec
    shards: tuple[JoinTask, ...]


def join(container: Container, config: JoinConfig) -> dict[str, Any]:
    """Join this host's shards below the container's output; returns the host's manifest.

    Raises:
        InputError: SageMaker brought records without their predictions.
        JoinError, ConfigError, FunctionError: as the join does.
    """
    started = time.time()
    busy = time.perf_counter()
    SINKS[config.spec.format].require()
    own = own_shards(container, config)
    parts = container.output / "parts"
    parts.mkdir(parents=True, exist_ok=True)

    def joined(task: JoinTask) -> dict[str, Any]:
        name = part_name(task.number, config.spec)
        files = ShardFiles(
            task.name,
            container.input("records") / task.records,
            container.input("predictions") / task.predictions,
            task.columns,
        )
        part = join_part([files], parts / name, config.spec, THREADS)
        return {
            "number": task.number,
            "key": f"parts/{name}",
            "statistics_key": f"parts/{name}{STATISTICS_SUFFIX}",
            **part,
        }

    # What takes the time holds no lock of Python's, so threads use all cores.
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // THREADS)) as pool:
        done = list(pool.map(joined, own))
    manifest = {
        "version": VERSION,
        "host": container.host,
        "hosts": list(container.hosts),
        "parts": done,
        "rows": sum(part["rows"] for part in done),
        "busy_seconds": round(time.perf_counter() - busy, 3),
        "started_at": started,
        "ended_at": time.time(),
    }
    write_json(container.output / "manifest" / f"{container.host}.json", manifest)
    return manifest


def own_shards(container: Container, config: JoinConfig) -> list[JoinTask]:
    """The shards whose records came to this host; nothing is joined unless their predictions did too."""
    own = [task for task in config.shards if (container.input("records") / task.records).is_file()]
    lacking = [task.name for task in own if not (container.input("predictions") / task.predictions).is_file()]
    if lacking:
        raise InputError(
            f"{len(lacking):,} of the {len(own):,} shards of {container.host} have records but no predictions, "
            f"{lacking[0]} first. Nothing was joined."
        )
    return own


def read_join_config(path: Path) -> JoinConfig:
    """Read and check join.json; raises ConfigError naming the field."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    top = Fields(document, "", ("version", "spec", "shards"))
    if top.get("version", int) != VERSION:
        raise ConfigError(f"version is {document['version']}, this job reads version {VERSION}")
    shards = []
    for index, value in enumerate(top.get("shards", list)):
        one = Fields(value, f"shards[{index}]", ("number", "name", "columns", "records", "predictions"))
        shards.append(
            JoinTask(
                one.get("number", int),
                one.get("name", str),
                tuple(one.get("columns", list)),
                one.get("records", str),
                one.get("predictions", str),
            )
        )
    return JoinConfig(JoinSpec.from_dict(top.get("spec", dict)), tuple(shards))


def main() -> int:
    def work(container: Container) -> str:
        manifest = join(container, read_join_config(container.config / CONFIG))
        return f"{manifest['host']}: {manifest['rows']:,} rows of {len(manifest['parts']):,} shards joined"

    return run_job(work)


if __name__ == "__main__":
    sys.exit(main())
