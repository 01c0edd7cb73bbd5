"""Processing job: splits CSV, JSON Lines or Parquet objects into equal shards of records, features and rejects.

Run by SageMaker as `python3 -m batch_inference.jobs.preprocess`; docs/reference/job-files.md describes its
configuration.
"""

from __future__ import annotations

import time
from typing import Any

from batch_inference.jobs.common.arrow import require_arrow
from batch_inference.jobs.common.container import Container, run_job, write_json
from batch_inference.jobs.common.errors import JobError
from batch_inference.jobs.config.preprocess_config import PreprocessConfig, read_config
from batch_inference.jobs.preprocess.duplicates import rank_objects, select_duplicates_rules
from batch_inference.jobs.preprocess.objects import ObjectPart, list_objects, select_balanced_share
from batch_inference.jobs.preprocess.peers import Peers
from batch_inference.jobs.preprocess.source import estimate_text_bytes
from batch_inference.jobs.preprocess.workers import PreprocessResult, process_objects

MANIFEST_VERSION = 1


def preprocess(container: Container, config: PreprocessConfig) -> dict[str, Any]:
    """Write the shards and the manifest of this host to the container's output; returns the manifest."""
    started_at = time.time()
    if config.input.format == "parquet":
        require_arrow("input.format is parquet")
    if config.input.compression == "zstd":
        require_arrow("input.compression is zstd")
    # Hosts with objects of their own exchange the keys of their records.
    has_peers = bool(select_duplicates_rules(config)) and config.distribution == "ShardedByS3Key"
    hosts = container.hosts if has_peers else (container.host,)
    with Peers(hosts, container.host, repr(config).encode("utf-8")) as peers:
        busy_since = time.perf_counter()  # other hosts may start later
        result = _process_own_objects(container, config, peers)
    records_in = sum(one["records"] for one in result.objects)
    records_out = sum(shard["records"] for shard in result.shards)
    rejected = result.rejects.count_by_rule()
    rejected_count = sum(rejected.values())
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
        "rejected": rejected,
        "rejected_count": rejected_count,
        "reject_groups": result.rejects.list_groups(),
        "shards": result.shards,
        "groups": result.groups,
        "profile_key": f"profile/{container.host}.json",
        "exchanged_bytes": peers.bytes_sent,
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


def _process_own_objects(container: Container, config: PreprocessConfig, peers: Peers) -> PreprocessResult:
    """Process the objects of this host: all that it has, or its share of them if it has those of all hosts.

    A host that has all objects finds repeated records in all of them.
    """
    objects = own = list_objects(container.get_input_dir("data"), config.input_uri)
    if config.distribution == "FullyReplicated":
        own = select_balanced_share(objects, container.hosts, container.host)
    scanned = objects if select_duplicates_rules(config) else own
    ranks = rank_objects([one.uri for one in scanned], peers)
    parts = [
        ObjectPart(one, rank, estimate_text_bytes(one, config.input)) for one, rank in zip(scanned, ranks)
    ]
    own_objects = set(own)
    own_parts = [part for part in parts if part.object in own_objects]
    return process_objects(own_parts, parts, config, peers, container.output_dir, container.host)


def main() -> int:
    def job(container: Container) -> str:
        manifest = preprocess(container, read_config(container.get_input_dir("config") / "preprocess.json"))
        exchanged = f", {sent:,} bytes of keys sent" if (sent := manifest["exchanged_bytes"]) else ""
        return (
            f"{manifest['host']}: {manifest['records_in']:,} in, {manifest['rejected_count']:,} rejected, "
            f"{len(manifest['shards'])} shards{exchanged}"
        )

    return run_job(job)
