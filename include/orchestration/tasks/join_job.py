"""`joining` and `joined`: who joins, Airflow's workers or a processing job, and what that one wrote."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from include.jobs.join_job import CONFIG, VERSION
from include.orchestration.job_outputs import StoredObject, check_unchanged
from include.orchestration.names import JOIN, JOIN_JOB, JOIN_JOB_DONE, JOINING, SHARDS, TRANSFORMED
from include.orchestration.run_context import RunContext, with_run
from include.orchestration.shard_sources import ShardSource, shard_sources
from include.scoring.errors import ManifestError
from include.scoring.messages import size
from include.scoring.requests import PREDICTIONS_MANIFEST, RECORDS_MANIFEST, join_spec
from include.scoring.shards import right_size

log = logging.getLogger(__name__)


@with_run
def joining(run: RunContext, **_: Any) -> str:
    """The task that joins this run; for the job, what it must be told is written down first.

    Raises:
        ReconciliationError: the answers are to what another run of `preprocess` wrote.
    """
    storage, paths = run.storage, run.paths
    sources = shard_sources(run)
    records, job = sum(source.bytes for source in sources), run.plan["join"]["job"]
    if job is None or records <= job["above"]:
        log.info("Airflow's workers join %s of records", size(records))
        return JOIN
    # The job's containers read by themselves: before the job, and when it has ended, the objects are looked at.
    check_unchanged(storage, objects_of(sources))
    inputs = paths.join_inputs(f"{run.pull(TRANSFORMED)['job_name']}-{run.ti.try_number}")

    def below(uri: str) -> str:
        return uri.removeprefix(paths.run_prefix)

    shards = [
        {
            "number": number,
            "name": source.name,
            "columns": list(source.columns),
            "records": below(source.records.uri),
            "predictions": below(source.predictions.uri),
        }
        for number, source in enumerate(sources)
    ]
    manifest: list[Any] = [{"prefix": paths.run_prefix}]
    document = {"version": VERSION, "spec": join_spec(run.pipeline), "shards": shards}
    storage.write(f"{inputs}config/{CONFIG}", json.dumps(document))
    storage.write(
        f"{inputs}{RECORDS_MANIFEST}", json.dumps(manifest + [shard["records"] for shard in shards])
    )
    storage.write(
        f"{inputs}{PREDICTIONS_MANIFEST}", json.dumps(manifest + [shard["predictions"] for shard in shards])
    )
    count = right_size(job["instance_count"], len(shards))
    run.push("job", {"inputs": inputs, "instance_count": count})
    log.info("%s of records are more than %s: a job joins them", size(records), size(job["above"]))
    return JOIN_JOB


def objects_of(sources: Iterable[ShardSource]) -> Iterator[StoredObject]:
    """All that a join reads."""
    for source in sources:
        yield from (source.records, source.predictions)


@with_run
def joined(run: RunContext, parts: Iterable[Mapping[str, Any]] | None, **_: Any) -> list[dict[str, Any]]:
    """The parts of the run, in their order: those of the mapped tasks, or those that the job's manifests name.

    Raises:
        ManifestError: an instance of the job left no account of what it wrote.
        ReconciliationError: what the job read was changed meanwhile.
    """
    # Airflow's branches push no return value; the job's inputs are pushed only where a job joins.
    if run.pull(JOINING, "job", is_optional=True) is None:
        return [dict(part) for part in run.of_this_plan(JOIN, parts)]
    storage, job = run.storage, run.pull(JOIN_JOB_DONE)
    check_unchanged(storage, objects_of(shard_sources(run)))
    wrote = run.paths.job(job["job_name"])
    manifests = [storage.read_json(uri) for uri in storage.uris(wrote.manifest)]
    hosts = {manifest["host"] for manifest in manifests}
    if len(hosts) != job["instance_count"] or any(set(each["hosts"]) != hosts for each in manifests):
        raise ManifestError(
            f"{len(manifests)} of {job['instance_count']} hosts of {job['job_name']} left a manifest "
            f"({', '.join(sorted(hosts)) or 'none'}); what the others wrote is not known, so nothing of it is used"
        )
    run.push("facts", {"busy_seconds": sum(each["busy_seconds"] for each in manifests)})
    jobs = {
        "preprocess_job": run.pull(SHARDS, "facts")["preprocess_job"],
        "transform_job": run.pull(TRANSFORMED)["job_name"],
    }
    found = [
        {
            "uri": f"{wrote.root}{part['key']}",
            "statistics": f"{wrote.root}{part['statistics_key']}",
            **{key: part[key] for key in ("rows", "bytes", "sha256", "shards")},
            **jobs,
        }
        for manifest in manifests
        for part in manifest["parts"]
    ]
    return sorted(found, key=lambda part: str(part["uri"]))
