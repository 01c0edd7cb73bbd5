"""Processing job: CSV, JSON Lines or Parquet becomes equal shards of records, features and rejects.

Run by SageMaker as `python3 -m include.jobs.preprocess`; README.md beside this file has its configuration.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Any

import numpy as np

from include.jobs.arrow import require_arrow
from include.jobs.config import Config, read_config
from include.jobs.container import Container, run_job, write_json
from include.jobs.duplicates import find_duplicates
from include.jobs.errors import ConfigError, JobError
from include.jobs.judge import Judge
from include.jobs.objects import InputObject, list_objects, share
from include.jobs.shards import ShardWriter
from include.jobs.source import read_batches, text_bytes

MANIFEST_VERSION = 1


def preprocess(container: Container, config: Config) -> dict[str, Any]:
    """Write this host's shards and manifest below the container's output; returns the manifest."""
    started = time.time()
    busy = time.perf_counter()
    if config.input.format == "parquet":
        require_arrow("input.format is parquet")
    if config.input.compression == "zstd":
        require_arrow("input.compression is zstd")
    everything = list_objects(container.data, config.input_uri)
    own = own_objects(container, config, everything)
    duplicates = find_duplicates(config, everything)
    judge = Judge(config)
    sizes = {one.source: text_bytes(one, config.input) for one in own}
    suffix = "jsonl" if config.input.format == "jsonlines" else "csv"
    writer = ShardWriter(container.output, container.host, sum(sizes.values()), config.shard_bytes, suffix)
    rejected: Counter[str] = Counter()
    objects: list[dict[str, Any]] = []
    before = 0  # bytes of the objects already read
    for one in own:
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
            rejected.update(reject.rule for reject in verdict.rejects)
            records += len(batch.rows)
            blank += batch.blank
        objects.append(
            {"source": one.source, "records": records, "blank_lines": blank, "columns": list(columns)}
        )
    writer.finish()
    records_in = sum(one["records"] for one in objects)
    records_out = sum(shard["records"] for shard in writer.shards)
    present = {name for one in objects for name in one["columns"]}
    told = [one for one in objects if one["columns"]]
    optional = {column.name for column in config.input.columns if column.optional}
    manifest = {
        "version": MANIFEST_VERSION,
        "host": container.host,
        "hosts": list(container.hosts),
        "columns": [name for name in config.input.names if name in present or name not in optional],
        "label_present": bool(optional and told) and all(optional <= set(one["columns"]) for one in told),
        "objects": objects,
        "records_in": records_in,
        "records_out": records_out,
        "rejected": dict(rejected),
        "rejected_count": sum(rejected.values()),
        "shards": writer.shards,
        "rejects_files": writer.rejects_files,
        "imputed": dict(judge.features.imputed),
        "groups": judge.groups.to_dict(),
        "profile_key": f"profile/{container.host}.json",
        "busy_seconds": round(time.perf_counter() - busy, 3),
        "started_at": started,
        "ended_at": time.time(),
    }
    if records_in != records_out + manifest["rejected_count"]:
        raise JobError(
            f"{records_in:,} records were read, but {records_out:,} written "
            f"and {sum(rejected.values()):,} rejected"
        )
    write_json(container.output / "profile" / f"{container.host}.json", judge.profile.to_dict())
    write_json(container.output / "manifest" / f"{container.host}.json", manifest)
    return manifest


def own_objects(container: Container, config: Config, everything: list[InputObject]) -> list[InputObject]:
    """The objects that this host handles; raises ConfigError if duplicates cannot be told over all."""
    if len(container.hosts) == 1:
        return everything
    if config.distribution == "FullyReplicated":
        return share(everything, container.hosts, container.host)
    for rule in config.rules:
        if rule.kind == "duplicates":
            raise ConfigError(
                f"rule {rule.name!r} needs every host to see all objects: distribution is ShardedByS3Key "
                f"over {len(container.hosts)} hosts, it must be FullyReplicated"
            )
    return everything


def main() -> int:
    def work(container: Container) -> str:
        manifest = preprocess(container, read_config(container.config / "preprocess.json"))
        return (
            f"{manifest['host']}: {manifest['records_in']:,} in, {manifest['rejected_count']:,} rejected, "
            f"{len(manifest['shards'])} shards"
        )

    return run_job(work)


if __name__ == "__main__":
    sys.exit(main())
