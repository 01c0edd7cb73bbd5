"""`publish`: commit the joined rows to the output, all of them or nothing."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any

from include.orchestration import published_runs
from include.orchestration.assets import tell_of
from include.orchestration.catalog import register
from include.orchestration.claims import check_not_over
from include.orchestration.names import CHECKS
from include.orchestration.output_cleanup import activity, clean_outputs
from include.orchestration.publishing import Publication
from include.orchestration.run_context import RunContext, with_run
from include.orchestration.storage import Storage
from include.scoring.config import Pipeline
from include.scoring.errors import ReconciliationError
from include.scoring.manifest import build_manifest
from include.scoring.naming import publishing_prefix
from include.scoring.reconciliation import Reconciled

log = logging.getLogger(__name__)


@with_run
def publish(run: RunContext, *, dag_run: Any, outlet_events: Any, **_: Any) -> dict[str, Any]:
    """Publish the rows that `checks` has proved to be all of them, and tell of it by an Asset event, or nothing.

    The run is the one that `plan` names: this one, or one that was held and that a person publishes.

    Raises:
        OutputError: the manifest at the output is not this pipeline's; nothing there was touched.
        ReconciliationError: what was read back is not what was joined, or another run was published meanwhile;
            nothing was committed.
        OvertakenError: Airflow says that this task is over; nothing was committed.
    """
    config, plan, storage, paths = run.pipeline, run.plan, run.storage, run.paths
    judged, scored = run.pull(CHECKS), run.read_json(paths.scored, written_by=CHECKS)
    judgement, judged_etag = read_checks(storage, judged["checks"])
    run.check_document(judgement, judged["checks"], written_by=CHECKS)
    parts, reconciled = scored["parts"], Reconciled(**scored["reconciled"])
    publication = Publication(
        storage=storage,
        output=plan["output_uri"],
        pipeline=config.name,
        run_id=plan["run_id"],
        nonce=plan["nonce"],
        dag_run_id=dag_run.run_id,
        attempt=f"{run.ti.try_number}-{secrets.token_hex(4)}",
        journal=publishing_prefix(work=config.work, pipeline=config.name),
        delimiter=config.input.delimiter,
    )
    recorded = storage.etag(published_runs.uri_of(config, plan["moment"], plan["run_id"]))
    with publication.uncommitted(parts):
        # Which manifest is replaced is known by now: a later process of this task, or a later run, changes it.
        check_not_over(run.ti)
        files = [publication.copied(part) for part in parts]
        rows = sum(file["rows"] for file in files)
        if rows != reconciled.scored:
            raise ReconciliationError(
                f"{rows:,} rows were read back from {publication.output}, but {reconciled.scored:,} were scored; "
                f"not committed"
            )
        manifest = build_manifest(
            plan=plan,
            files=files,
            reconciled=reconciled,
            facts=scored["facts"],
            transformed=scored["transformed"],
            checks=judgement,
        )
        manifest["replaces"] = publication.replaces()
        manifest = publication.commit(manifest)
    # For `report`: by then another run may have published to the same place.
    storage.write_json(paths.committed(publication.attempt), manifest)
    # What was published in its place since says so of itself.
    if publication.is_current(manifest):
        publication.mark_success()
    published_runs.record(
        storage,
        config,
        manifest,
        judged["statistics"],
        replacing=recorded,
        is_current=lambda: publication.is_current(manifest),
    )
    registered = register(config, publication.output) if publication.is_current(manifest) else None
    if judged["state"] == "released":
        done = {**judgement, "state": "published"}
        if storage.commit_json(paths.checks, done, replacing=judged_etag) is None:
            log.warning("%s was judged anew meanwhile; it stays as it is", paths.checks)
    clean(storage, config, run.ti, dag_run)
    tell_of(
        config,
        outlet_events,
        asked_output=scored["asked_output"],
        facts={
            "output_uri": publication.output,
            "manifest": publication.manifest_uri,
            "run_id": plan["run_id"],
            "records": manifest["records"],
        },
    )
    log.info(
        "published %s rows in %s files at %s",
        f"{manifest['rows']:,}",
        len(manifest["files"]),
        publication.output,
    )
    return {
        "output_uri": publication.output,
        "manifest": publication.manifest_uri,
        "committed": paths.committed(publication.attempt),
        "rows": manifest["rows"],
        "files": [file["uri"] for file in manifest["files"]],
        "partition": registered,
    }


def read_checks(storage: Storage, uri: str) -> tuple[Any, str]:
    """checks.json and its ETag.

    Raises:
        ReconciliationError: it is gone.
    """
    found = storage.current(uri)
    if found is None:
        raise ReconciliationError(f"{uri} is gone; clear `checks` with what follows it")
    return found


def clean(storage: Storage, config: Pipeline, ti: Any, dag_run: Any) -> None:
    """Delete the part files that may go; what cannot be deleted does not undo that this run is published."""
    try:
        removed = clean_outputs(
            storage, config, is_active=activity(ti), now=time.time(), published_in=dag_run.run_id
        )
    except Exception:
        log.exception("this run is published; the next one, and the janitor, try again to delete what may go")
    else:
        log.info("part files that were deleted: %s", ", ".join(removed) or "none")
