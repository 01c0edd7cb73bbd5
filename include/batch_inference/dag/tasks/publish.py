"""`publish`: commit the joined rows to the output, all of them or nothing."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any

from batch_inference.aws.glue import register_partition
from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ReconciliationError
from batch_inference.common.names import build_publish_journal_prefix
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.assets import emit_asset_events
from batch_inference.dag.task_functions import provide_run_context
from batch_inference.publishing import earlier_runs
from batch_inference.publishing.claims import check_task_active
from batch_inference.publishing.manifest import build_manifest
from batch_inference.publishing.output_cleanup import build_is_run_active, delete_obsolete_parts
from batch_inference.publishing.protocol import Publication
from batch_inference.run.run_context import RunContext
from batch_inference.run.scored_run import ScoredRun
from batch_inference.run.task_ids import CHECKS

log = logging.getLogger(__name__)


@provide_run_context
def publish(run: RunContext, *, task: Any, dag_run: Any, outlet_events: Any, **_: Any) -> dict[str, Any]:
    """Publish the rows that `checks` has reconciled, all or none, and emit its asset events.

    The run is the plan's: this one, or a held run that a person releases.

    Raises:
        OutputConflictError: the manifest at the output is not this pipeline's; nothing there was touched.
        ReconciliationError: the copies differ from the joined parts, or another run was published since; nothing was
            committed.
        OvertakenError: Airflow says that this task is over; nothing was committed.
    """
    config, plan, storage, paths = run.pipeline, run.plan, run.storage, run.paths
    checks_result, scored_run = run.pull(CHECKS), ScoredRun.read(run)
    checks, judged_etag = read_checks(storage, checks_result["checks"])
    run.check_document(checks, checks_result["checks"], written_by=CHECKS)
    publication = Publication(
        storage=storage,
        output=plan.output_uri,
        pipeline=config.name,
        run_id=plan.run_id,
        nonce=plan.nonce,
        publishing_run_id=dag_run.run_id,
        attempt_id=f"{run.ti.try_number}-{secrets.token_hex(4)}",
        journal_prefix=build_publish_journal_prefix(work=config.work, pipeline=config.name),
        delimiter=config.input.delimiter,
    )
    record_etag = storage.read_etag(earlier_runs.build_run_record_uri(config, plan.data_time, plan.run_id))
    with publication.begin_attempt(scored_run.parts):
        # The manifest to replace is noted before this: a later process of this task, or a later run, changes its ETag.
        check_task_active(run.ti)
        files = [publication.copy_part(part) for part in scored_run.parts]
        rows, scored = sum(file["rows"] for file in files), scored_run.reconciled.scored
        if rows != scored:
            raise ReconciliationError(
                f"{rows:,} rows were read back from {publication.output}, but {scored:,} were scored; not committed"
            )
        manifest = build_manifest(
            plan=plan,
            files=files,
            reconciled=scored_run.reconciled,
            preprocess_job=scored_run.stats["preprocess_job"],
            transform_job=scored_run.transform_job,
            checks=checks,
        )
        manifest["replaces"] = publication.list_replaced_parts()
        manifest = publication.commit(manifest)
    # A copy for the report: by then another run may have published to the same output.
    storage.write_json(paths.build_committed_manifest_uri(publication.attempt_id), manifest)
    # A run that replaced this one writes its own _SUCCESS.
    if publication.is_current(manifest):
        publication.mark_success()
    earlier_runs.record_run(
        storage,
        config,
        manifest,
        checks_result["statistics"],
        expected_etag=record_etag,
        is_current=lambda: publication.is_current(manifest),
    )
    partition = register_partition(config, publication.output) if publication.is_current(manifest) else None
    if checks_result["state"] == "released":
        released_checks = {**checks, "state": "published"}
        if storage.write_json_conditionally(paths.checks, released_checks, expected_etag=judged_etag) is None:
            log.warning("%s was changed since it was read, and stays as it is", paths.checks)
    clean_up_output(storage, config, run.ti, dag_run)
    emit_asset_events(
        config,
        outlet_events,
        task=task,
        data_time=plan.data_time,
        requested_output=scored_run.requested_output,
        extra={
            "output_uri": publication.output,
            "manifest": publication.manifest_uri,
            "run_id": plan.run_id,
            "records": manifest["records"],
        },
    )
    uris = [file["uri"] for file in manifest["files"]]
    log.info("published %s rows in %s files at %s", f"{manifest['rows']:,}", len(uris), publication.output)
    return {
        "output_uri": publication.output,
        "manifest": publication.manifest_uri,
        "committed": paths.build_committed_manifest_uri(publication.attempt_id),
        "rows": manifest["rows"],
        "files": uris,
        "partition": partition,
    }


def read_checks(storage: Storage, uri: str) -> tuple[Any, str]:
    """checks.json and its ETag.

    Raises:
        ReconciliationError: it is gone.
    """
    found = storage.read_json_with_etag(uri)
    if found is None:
        raise ReconciliationError(f"{uri} no longer exists; clear `checks` with all that follows it")
    return found


def clean_up_output(storage: Storage, config: Pipeline, ti: Any, dag_run: Any) -> None:
    """Delete obsolete part files; a failure is logged, because the run is published already."""
    try:
        removed = delete_obsolete_parts(
            storage,
            config,
            is_active=build_is_run_active(ti),
            now=time.time(),
            publishing_run_id=dag_run.run_id,
        )
    except Exception:
        log.exception("the run is published; obsolete part files remain for the next publish or the janitor")
    else:
        log.info("obsolete part files deleted: %s", ", ".join(removed) or "none")
