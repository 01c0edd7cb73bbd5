"""Processing job: splits CSV, JSON Lines or Parquet objects into equal shards of records, features and rejects.

Run by SageMaker as `python3 -m batch_inference.jobs.preprocess`; docs/reference/job-files.md describes its
configuration.
"""

from __future__ import annotations

import time
from typing import Any

from batch_inference.jobs.common.arrow import require_arrow
from batch_inference.jobs.common.container import Container, run_job, write_json
from batch_inference.jobs.common.errors import ConfigError, JobError
from batch_inference.jobs.config.preprocess_config import PreprocessConfig, read_config
from batch_inference.jobs.preprocess.duplicates import find_duplicates
from batch_inference.jobs.preprocess.objects import InputObject, list_objects, select_balanced_share
from batch_inference.jobs.preprocess.source import estimate_text_bytes
from batch_inference.jobs.preprocess.workers import process_objects

MANIFEST_VERSION = 1


def preprocess(container: Container, config: PreprocessConfig) -> dict[str, Any]:
    """Write the shards and the manifest of this host to the container's output; returns the manifest."""
    started_at = time.time()
    busy_since = time.perf_counter()
    if config.input.format == "parquet":
        require_arrow("input.format is parquet")
    if config.input.compression == "zstd":
        require_arrow("input.compression is zstd")
    all_objects = list_objects(container.get_input_dir("data"), config.input_uri)
    own = select_own_objects(container, config, all_objects)
    duplicates = find_duplicates(config, all_objects)
    sizes = {one.uri: estimate_text_bytes(one, config.input) for one in own}
    result = process_objects(own, sizes, config, duplicates, container.output_dir, container.host)
    records_in = sum(one["records"] for one in result.objects)
    records_out = sum(shard["records"] for shard in result.shards)
    rejected_count = sum(result.rejected.values())
    present = {name for one in result.objects for name in one["columns"]}
    optional = {column.name for column in config.input.columns if column.optional}
    manifest = {
        "version": MANIFEST_VERSION,
        "host": container.host,
        "hosts": list(container.hosts),
        "columns": [name for name in config.input.column_names if name in present or name not in optional],
        "objects": result.objects,
        "records_in": records_in,
        "records_out": records_out,
        "rejected": dict(result.rejected),
        "rejected_count": rejected_count,
        "shards": result.shards,
        "groups": result.groups,
        "profile_key": f"profile/{container.host}.json",
        "busy_seconds": round(time.perf_counter() - busy_since, 3),
        "started_at": started_at,
        "ended_at": time.time(),
    }
    if records_in != records_out + rejected_count:
        raise JobError(
            f"{records_in:,} records were read, but {records_out:,} written and {rejected_count:,} rejected"
        )
    write_json(container.output_dir / "profile" / f"{container.host}.json", result.profile.to_dict())
    write_json(container.output_dir / "manifest" / f"{container.host}.json", manifest)
    return manifest


def select_own_objects(
    container: Container, config: PreprocessConfig, all_objects: list[InputObject]
) -> list[InputObject]:
    """Select the objects that this host reads. Raises ConfigError if `duplicates` needs those of other hosts too."""
    if len(container.hosts) == 1:
        return all_objects
    if config.distribution == "FullyReplicated":
        return select_balanced_share(all_objects, container.hosts, container.host)
    for rule in config.rules:
        if rule.kind == "duplicates":
            raise ConfigError(
                f"rule {rule.name!r} needs every host to see all objects: distribution is ShardedByS3Key "
                f"over {len(container.hosts)} hosts, it must be FullyReplicated"
            )
    return all_objects


def main() -> int:
    def job(container: Container) -> str:
        manifest = preprocess(container, read_config(container.get_input_dir("config") / "preprocess.json"))
        return (
            f"{manifest['host']}: {manifest['records_in']:,} in, {manifest['rejected_count']:,} rejected, "
            f"{len(manifest['shards'])} shards"
        )

    return run_job(job)
