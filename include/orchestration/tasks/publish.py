"""`publish`: reconcile, copy the joined parts to the output, commit them by one conditional PUT of the manifest."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from include.orchestration.names import PLAN, PREPROCESSED, SHARDS, TRANSFORMED
from include.orchestration.pipelines import named
from include.orchestration.readback import rows_in
from include.orchestration.storage import Storage
from include.scoring.errors import ReconciliationError
from include.scoring.manifest import build_manifest
from include.scoring.naming import RunPaths, run_slug
from include.scoring.reconciliation import reconcile
from include.scoring.requests import manifest_uris
from include.scoring.shards import read_manifests

log = logging.getLogger(__name__)


def publish(pipeline: str, joined: Iterable[Mapping[str, Any]], *, ti: Any, **_: Any) -> dict[str, Any]:
    """Publish the rows that the joins wrote, or nothing.

    Readers who follow `_manifest.json` never see half a run or a mix of two. The parts of the run that was published
    there before are removed after the commit.

    Raises:
        ReconciliationError: records in are not records rejected plus rows published; nothing was committed.
    """
    config, plan = named(pipeline), ti.xcom_pull(PLAN)
    storage, paths = Storage(config.aws_conn_id), RunPaths(plan["run_prefix"])
    preprocessed, transformed = ti.xcom_pull(PREPROCESSED), ti.xcom_pull(TRANSFORMED)
    documents = [storage.read_json(uri) for uri in storage.uris(paths.job(preprocessed["job_name"]).manifest)]
    found = read_manifests(documents, hosts=preprocessed["instance_count"])
    parts = list(joined)
    reconciled = reconcile(
        found,
        {shard: rows for part in parts for shard, rows in part["shards"].items()},
        objects=manifest_uris(storage.read_json(paths.input_manifest)),
    )

    # The nonce and the try are part of the names: a file that readers may be reading is never overwritten.
    output, run = plan["output_uri"], f"{run_slug(plan['run_id'])}-{plan['nonce'][:6]}-{ti.try_number}"
    before = storage.current(f"{output}_manifest.json")
    targets = {f"{output}{part_name(part['uri'], run)}": part for part in parts}
    try:
        files = [copied(storage, part, target) for target, part in targets.items()]
        rows = sum(file["rows"] for file in files)
        if rows != reconciled.scored:
            raise ReconciliationError(
                f"{rows:,} rows were read back from {output}, but {reconciled.scored:,} were scored; not committed"
            )
        manifest = build_manifest(
            plan=plan,
            files=files,
            reconciled=reconciled,
            facts=ti.xcom_pull(SHARDS, key="facts"),
            transformed=transformed,
        )
        commit(storage, output, manifest, before)
    except ReconciliationError:
        # Only where it is sure that nothing was committed: after a lost connection the parts may be the published ones.
        storage.delete(targets)
        raise
    tidy(storage, output, before)
    log.info("published %s rows in %s files at %s", f"{rows:,}", len(files), output)
    return {
        "output_uri": output,
        "manifest": f"{output}_manifest.json",
        "rows": rows,
        "files": list(targets),
    }


def part_name(uri: str, run: str) -> str:
    """`part-00000.parquet` of a run as `part-00000-<run>.parquet`."""
    stem, suffix = uri.rsplit("/", 1)[1].rsplit(".", 1)
    return f"{stem}-{run}.{suffix}"


def copied(storage: Storage, part: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Copy one part to the output and read its rows back; its entry in the manifest."""
    storage.copy(part["uri"], target)
    rows = rows_in(storage, target)
    if rows != part["rows"]:
        raise ReconciliationError(
            f"{target}: {rows:,} rows were read back, {part['rows']:,} were written; not committed"
        )
    return {"uri": target, "rows": rows, **storage.head(target)}


def commit(storage: Storage, output: str, manifest: dict[str, Any], before: tuple[Any, str] | None) -> None:
    """Make this run the published one, in place of the one that was there `before`.

    Raises:
        ReconciliationError: another run was published since; that one stands.
    """
    if not storage.commit_json(
        f"{output}_manifest.json", manifest, replacing=None if before is None else before[1]
    ):
        raise ReconciliationError(
            f"another run published to {output} while this one was about to; what it published stands, and this run's "
            f"files were removed from there. Clear `publish` to publish this run instead."
        )


def tidy(storage: Storage, output: str, before: tuple[Any, str] | None) -> None:
    """Say that a run is complete, and remove the parts of the one before."""
    storage.write(f"{output}_SUCCESS", "", content_type="text/plain")
    if before is not None:
        remove_parts(storage, output, before[0])


def remove_parts(storage: Storage, output: str, manifest: dict[str, Any]) -> None:
    """Delete the files a manifest names: only part files, and only directly below `output`, whatever it says."""
    named_files = (str(file["uri"]) for file in manifest["files"])
    storage.delete(
        uri for uri in named_files if uri.startswith(f"{output}part-") and "/" not in uri.removeprefix(output)
    )
