"""`choose_join`: choose Airflow's workers or a processing job for the join; `collect_parts`: collect its parts."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from batch_inference.common.errors import ManifestError
from batch_inference.common.formatting import format_bytes
from batch_inference.dag.task_functions import provide_run_context
from batch_inference.planning.clusters.sizing import cap_instance_count
from batch_inference.requests.sagemaker import PREDICTIONS_MANIFEST, RECORDS_MANIFEST, build_join_spec
from batch_inference.run.job_outputs import StoredObject, check_unchanged
from batch_inference.run.join_inputs import ShardInputs, ShardSource
from batch_inference.run.run_context import RunContext
from batch_inference.run.task_ids import AWAIT_JOIN_JOB, CHOOSE_JOIN, JOIN, JOIN_JOB

log = logging.getLogger(__name__)


@provide_run_context
def choose_join(run: RunContext, **_: Any) -> str:
    """The id of the task that joins this run; writes the job's config and manifests first if that is the job.

    Raises:
        ReconciliationError: the predictions are for the output of another run of `preprocess`.
    """
    storage, paths = run.storage, run.paths
    inputs = ShardInputs(run)
    sources = inputs.list_sources()
    records, job = sum(source.records_bytes for source in sources), run.plan.join.job
    if job is None or records <= job.threshold_bytes:
        log.info("Airflow's workers join %s of records", format_bytes(records))
        return JOIN
    from batch_inference.jobs.join.join_job import CONFIG_FILE, JOIN_VERSION

    # The job's containers read without our checks, so the objects are checked before the job and after it.
    check_unchanged(storage, list_source_objects(sources))
    prefix = paths.build_join_inputs_prefix(f"{inputs.job_names[-1]}-{run.ti.try_number}")
    shards = [
        {
            "number": number,
            "name": source.name,
            "columns": list(source.columns),
            "records": source.records.uri.removeprefix(paths.root),
            "predictions": source.predictions.uri.removeprefix(paths.root),
        }
        for number, source in enumerate(sources)
    ]
    document = {"version": JOIN_VERSION, "spec": build_join_spec(run.pipeline), "shards": shards}
    storage.write(f"{prefix}config/{CONFIG_FILE}", json.dumps(document))
    for name, files in ((RECORDS_MANIFEST, "records"), (PREDICTIONS_MANIFEST, "predictions")):
        manifest = [{"prefix": paths.root}, *(shard[files] for shard in shards)]
        storage.write(f"{prefix}{name}", json.dumps(manifest))
    count = cap_instance_count(job.instance_count, len(shards))
    run.push("job", {"inputs": prefix, "instance_count": count})
    size, limit = format_bytes(records), format_bytes(job.threshold_bytes)
    log.info("%s of records are more than %s: a job joins them", size, limit)
    return JOIN_JOB


def list_source_objects(sources: Iterable[ShardSource]) -> Iterator[StoredObject]:
    """All objects that a join reads."""
    for source in sources:
        yield from (source.records, source.predictions)


@provide_run_context
def collect_parts(
    run: RunContext, parts: Iterable[Mapping[str, Any]] | None, **_: Any
) -> list[dict[str, Any]]:
    """The parts of the run, in order: those of the mapped tasks, or those that the job's manifests list.

    Raises:
        ManifestError: an instance of the job wrote no manifest.
        ReconciliationError: an object that the job read was changed while it ran.
    """
    # Airflow's branches push no return value; the job's inputs are pushed only where a job joins.
    if run.pull(CHOOSE_JOIN, "job", is_optional=True) is None:
        return [dict(part) for part in run.filter_by_plan(JOIN, parts)]
    storage, job = run.storage, run.pull(AWAIT_JOIN_JOB)
    inputs = ShardInputs(run)
    check_unchanged(storage, list_source_objects(inputs.list_sources()))
    job_paths = run.paths.build_job_paths(job["job_name"])
    manifests = [storage.read_json(uri) for uri in storage.list_uris(job_paths.manifests)]
    hosts = {manifest["host"] for manifest in manifests}
    if len(hosts) != job["instance_count"] or any(set(each["hosts"]) != hosts for each in manifests):
        raise ManifestError(
            f"{len(manifests)} of {job['instance_count']} hosts of {job['job_name']} wrote a manifest "
            f"({', '.join(sorted(hosts)) or 'none'}); the output of the others is unknown, so none of it is used"
        )
    instances = [
        {"instance": each["host"], "from": each["started_at"], "to": each["ended_at"]} for each in manifests
    ]
    run.push(
        "join_stats",
        {"busy_seconds": sum(each["busy_seconds"] for each in manifests), "instances": instances},
    )
    joined_parts = [
        {
            "uri": f"{job_paths.root}{part['key']}",
            "statistics": f"{job_paths.root}{part['statistics_key']}",
            **{key: part[key] for key in ("number", "rows", "bytes", "sha256", "shards")},
            "jobs": inputs.job_names,
        }
        for manifest in manifests
        for part in manifest["parts"]
    ]
    return sorted(joined_parts, key=lambda part: int(part["number"]))
