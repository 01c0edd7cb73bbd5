"""Processing job: CSV, JSON Lines or Parquet becomes equal shards of records, features and rejects.

Run by SageMaker as `python3 -m include.jobs.preprocess`; README.md beside this file has its configuration.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from include.jobs.arrow import require_arrow
from include.jobs.config import Config, read_config
from include.jobs.container import Container, run_job, write_json
from include.jobs.duplicates import find_duplicates
from include.jobs.errors import ConfigError, JobError
from include.jobs.objects import InputObject, list_objects, share
from include.jobs.source import text_bytes
from include.jobs.work import work_through

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
    sizes = {one.source: text_bytes(one, config.input) for one in own}
    done = work_through(own, sizes, config, duplicates, container.output, container.host)
    records_in = sum(one["records"] for one in done.objects)
    records_out = sum(shard["records"] for shard in done.shards)
    present = {name for one in done.objects for name in one["columns"]}
    told = [one for one in done.objects if one["columns"]]
    optional = {column.name for column in config.input.columns if column.optional}
    manifest = {
        "version": MANIFEST_VERSION,
        "host": container.host,
        "hosts": list(container.hosts),
        "columns": [name for name in config.input.names if name in present or name not in optional],
        "label_present": bool(optional and told) and all(optional <= set(one["columns"]) for one in told),
        "objects": done.objects,
        "records_in": records_in,
        "records_out": records_out,
        "rejected": dict(done.rejected),
        "rejected_count": sum(done.rejected.values()),
        "shards": done.shards,
        "rejects_files": done.rejects_files,
        "imputed": dict(done.imputed),
        "groups": done.groups,
        "profile_key": f"profile/{container.host}.json",
        "busy_seconds": round(time.perf_counter() - busy, 3),
        "started_at": started,
        "ended_at": time.time(),
    }
    if records_in != records_out + manifest["rejected_count"]:
        raise JobError(
            f"{records_in:,} records were read, but {records_out:,} written "
            f"and {sum(done.rejected.values()):,} rejected"
        )
    write_json(container.output / "profile" / f"{container.host}.json", done.profile)
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
