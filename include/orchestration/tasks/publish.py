"""`publish`: reconcile what was joined with what came in, publish it, or nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from include.orchestration.assets import tell_of
from include.orchestration.names import PLAN, PREPROCESSED, SHARDS, TRANSFORMED
from include.orchestration.pipelines import named
from include.orchestration.publishing import Publication
from include.orchestration.shard_sources import mended_shards
from include.orchestration.storage import Storage
from include.scoring.config import Pipeline
from include.scoring.errors import ReconciliationError
from include.scoring.manifest import build_manifest
from include.scoring.naming import RunPaths
from include.scoring.reconciliation import Reconciled, reconcile
from include.scoring.requests import manifest_uris
from include.scoring.shards import read_manifests

log = logging.getLogger(__name__)


def publish(
    pipeline: str,
    joined: Iterable[Mapping[str, Any]],
    *,
    ti: Any,
    params: Mapping[str, Any],
    outlet_events: Any,
    **_: Any,
) -> dict[str, Any]:
    """Publish the rows that the joins wrote and tell of it by an Asset event, or nothing.

    Raises:
        ReconciliationError: records in are not records rejected plus rows published, or parts are of different jobs;
            nothing was committed.
    """
    config, plan = named(pipeline), ti.xcom_pull(PLAN)
    storage = Storage(config.aws_conn_id, config.region)
    preprocessed, transformed = ti.xcom_pull(PREPROCESSED), ti.xcom_pull(TRANSFORMED)
    facts = ti.xcom_pull(SHARDS, key="facts")
    parts = parts_of(joined, facts, preprocessed["job_name"], transformed["job_name"])
    refused = {shard: each["refused"] for shard, each in mended_shards(storage, transformed).items()}
    return publish_parts(
        config,
        storage,
        plan,
        parts,
        reconciled_run(storage, plan, preprocessed, parts, refused),
        facts=facts,
        transformed=transformed,
        try_number=ti.try_number,
        asked_output=params.get("output_uri"),
        outlet_events=outlet_events,
    )


def publish_parts(
    config: Pipeline,
    storage: Storage,
    plan: Mapping[str, Any],
    parts: Sequence[Mapping[str, Any]],
    reconciled: Reconciled,
    *,
    facts: Mapping[str, Any],
    transformed: Mapping[str, Any],
    try_number: int,
    asked_output: str | None,
    outlet_events: Any,
) -> dict[str, Any]:
    """Publish parts whose records add up, and tell of it.

    Raises:
        ReconciliationError: what was read back of the published files is not as many rows; nothing was committed.
    """
    publication = Publication(storage, plan["output_uri"], plan["run_id"], plan["nonce"], try_number)
    before = publication.before()
    try:
        files = [publication.copied(part) for part in parts]
        rows = sum(file["rows"] for file in files)
        if rows != reconciled.scored:
            raise ReconciliationError(
                f"{rows:,} rows were read back from {publication.output}, but {reconciled.scored:,} were scored; "
                f"not committed"
            )
        manifest = build_manifest(
            plan=plan, files=files, reconciled=reconciled, facts=facts, transformed=transformed
        )
        manifest["replaces"] = publication.replaced(before)
        publication.commit(manifest, before)
    except ReconciliationError:
        # Only where it is sure that nothing was committed: after a lost connection the parts may be the published ones.
        publication.remove_parts(publication.target(part["uri"]) for part in parts)
        raise
    publication.tidy(manifest)
    tell_of(
        config,
        outlet_events,
        asked_output=asked_output,
        facts={
            "output_uri": publication.output,
            "manifest": publication.manifest_uri,
            "run_id": plan["run_id"],
            "records": manifest["records"],
        },
    )
    log.info("published %s rows in %s files at %s", f"{rows:,}", len(files), publication.output)
    return {
        "output_uri": publication.output,
        "manifest": publication.manifest_uri,
        "rows": rows,
        "files": [file["uri"] for file in files],
    }


def parts_of(
    joined: Iterable[Mapping[str, Any]], facts: Mapping[str, Any], preprocess_job: str, transform_job: str
) -> list[Mapping[str, Any]]:
    """The parts that were joined from these two jobs.

    A join that was cleared away, because a later run of `shards` gave fewer groups, leaves its result in Airflow; its
    jobs are others.

    Raises:
        ReconciliationError: a shard is in two parts, or `shards` has not read what `preprocess` wrote last.
    """
    if facts["preprocess_job"] != preprocess_job:
        raise ReconciliationError(
            f"`shards` read what {facts['preprocess_job']} wrote, but `preprocess` has run again as {preprocess_job}; "
            f"clear `shards` and all that follows it"
        )
    current = (preprocess_job, transform_job)
    parts = [part for part in joined if (part["preprocess_job"], part["transform_job"]) == current]
    seen: set[str] = set()
    for part in parts:
        twice = seen.intersection(part["shards"])
        if twice:
            raise ReconciliationError(
                f"shard {min(twice)} is in two parts, {part['uri']} among them", min(twice)
            )
        seen.update(part["shards"])
    return parts


def reconciled_run(
    storage: Storage,
    plan: Mapping[str, Any],
    preprocessed: Mapping[str, Any],
    parts: Iterable[Mapping[str, Any]],
    refused: Mapping[str, int],
) -> Reconciled:
    """The counts of the run, which add up: per object, per shard and in all. `refused`: records that the model could
    not take, by shard.

    Raises:
        ReconciliationError, ManifestError: they do not.
    """
    paths = RunPaths(plan["run_prefix"])
    manifests = storage.uris(paths.job(preprocessed["job_name"]).manifest)
    found = read_manifests(
        [storage.read_json(uri) for uri in manifests], hosts=preprocessed["instance_count"]
    )
    return reconcile(
        found,
        {shard: rows for part in parts for shard, rows in part["shards"].items()},
        objects=manifest_uris(storage.read_json(paths.input_manifest)),
        refused=refused,
    )
