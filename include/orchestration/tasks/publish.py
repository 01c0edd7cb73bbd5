"""`publish`: commit the joined rows to the output, all of them or nothing."""

from __future__ import annotations

import logging
from typing import Any

from include.orchestration import published_runs
from include.orchestration.assets import tell_of
from include.orchestration.catalog import register
from include.orchestration.names import CHECKS, PLAN
from include.orchestration.pipelines import named
from include.orchestration.publishing import Publication
from include.orchestration.storage import Storage
from include.scoring.errors import ReconciliationError
from include.scoring.manifest import build_manifest
from include.scoring.naming import RunPaths, run_slug
from include.scoring.reconciliation import Reconciled

log = logging.getLogger(__name__)


def publish(pipeline: str, *, ti: Any, dag_run: Any, outlet_events: Any, **_: Any) -> dict[str, Any]:
    """Publish the rows that `checks` has proved to be all of them, and tell of it by an Asset event, or nothing.

    The run is the one that `plan` names: this one, or one that was held and that a person publishes.

    Raises:
        ReconciliationError: what was read back is not what was joined, or another run was published meanwhile;
            nothing was committed.
    """
    config, plan, judged = named(pipeline), ti.xcom_pull(PLAN), ti.xcom_pull(CHECKS)
    storage, paths = Storage(config.aws_conn_id, config.region), RunPaths(plan["run_prefix"])
    scored, judgement = storage.read_json(paths.scored), storage.read_json(judged["checks"])
    parts, reconciled = scored["parts"], Reconciled(**scored["reconciled"])
    # The run itself, and the one by which a person publishes it, count their tries each on its own.
    by_hand = "" if plan["run_id"] == dag_run.run_id else f"{run_slug(dag_run.run_id)[-8:]}-"
    attempt = f"{by_hand}{ti.try_number}"
    publication = Publication(
        storage, plan["output_uri"], plan["run_id"], plan["nonce"], attempt, config.input.delimiter
    )
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
            plan=plan,
            files=files,
            reconciled=reconciled,
            facts=scored["facts"],
            transformed=scored["transformed"],
            checks=judgement,
        )
        manifest["replaces"] = publication.replaced(before)
        publication.commit(manifest, before)
    except ReconciliationError:
        # Only where it is sure that nothing was committed: after a lost connection the parts may be the published ones.
        publication.remove_parts(publication.target(part["uri"]) for part in parts)
        raise
    publication.tidy(manifest)
    published_runs.record(storage, config, manifest, judged["statistics"])
    registered = register(config, publication.output)
    if judged["state"] == "released":
        storage.write_json(paths.checks, {**judgement, "state": "published"})
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
    log.info("published %s rows in %s files at %s", f"{rows:,}", len(files), publication.output)
    return {
        "output_uri": publication.output,
        "manifest": publication.manifest_uri,
        "rows": rows,
        "files": [file["uri"] for file in files],
        "partition": registered,
    }
