"""Builds and parses _manifest.json, the list of what a run published. Writing it commits the run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from batch_inference.common.errors import OutputConflictError
from batch_inference.common.names import MANIFEST_VERSION
from batch_inference.planning.plan import Plan
from batch_inference.verification.reconciliation import Reconciliation

_JSON_TYPES = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


def build_manifest(
    *,
    plan: Plan,
    files: Sequence[Mapping[str, Any]],
    reconciled: Reconciliation,
    preprocess_job: str | None,
    transform_job: Mapping[str, Any],
    checks: Mapping[str, Any],
) -> dict[str, Any]:
    """The manifest of one run, JSON-safe.

    `files` has an entry for each published file with at least `uri` and `rows`; `preprocess_job` is the name of that
    job; `transform_job` is the finished job; `checks` are the gate results.
    """
    document = plan.to_xcom()
    return {
        "version": MANIFEST_VERSION,
        **{key: document[key] for key in ("pipeline", "run_id", "nonce", "data_time", "output_uri")},
        "files": [dict(file) for file in files],
        "rows": reconciled.scored,
        "bytes": sum(file["size"] for file in files),
        "records": {
            "in": reconciled.records_in,
            "rejected": reconciled.rejected_count,
            "rejected_by_reason": dict(reconciled.rejected),
            "scored": reconciled.scored,
        },
        # Each object's size and ETag is a line of the listing, and `digest` the SHA-256 of that listing.
        "input": {**document["input"], "listing_uri": plan.paths.input_listing},
        "model": {**document["model"], "name": transform_job.get("model_name") or plan.model.name},
        "jobs": {"preprocess": preprocess_job, "transform": transform_job["job_name"]},
        "plan_uri": plan.paths.plan,
        "code_digest": plan.code_digest,
        "fingerprint": document["fingerprint"],
        "checks": dict(checks),
    }


def parse_manifest(content: bytes, *, uri: str, pipeline: str) -> dict[str, Any]:
    """Parse the manifest at `uri`, if this pipeline wrote it.

    Raises:
        OutputConflictError: it is not a manifest, is another pipeline's, or has an unknown version.
    """
    document: Any = None
    problem: str | None = "is empty" if not content.strip() else "is not JSON"
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(content)
        problem = _find_foreign_reason(document, pipeline)
    if problem is not None:
        raise OutputConflictError(
            f"{uri} {problem}. The pipeline {pipeline!r} publishes only to an empty prefix or over its own output; "
            f"nothing there was changed. Give it an output of its own (`output.uri`). If that data is not needed, "
            f"delete {uri} and its files by hand, then clear this task"
        )
    manifest: dict[str, Any] = document
    return manifest


def _find_foreign_reason(document: Any, pipeline: str) -> str | None:
    """Why a JSON document is not a manifest of this pipeline, as a sentence; None when it is."""
    if not isinstance(document, dict):
        return f"holds {_JSON_TYPES.get(type(document), 'a number')}, not the manifest of a pipeline"
    name, files = document.get("pipeline"), document.get("files")
    if not isinstance(name, str) or "run_id" not in document or "version" not in document:
        members = ", ".join(map(repr, list(document)[:5])) or "no member"
        return f"holds a JSON object with {members}, not the manifest of a pipeline"
    if name != pipeline:
        return f"is the manifest of the pipeline {name!r}, published by its run {document['run_id']!r}"
    if document["version"] != MANIFEST_VERSION:
        return f"is a manifest of this pipeline in version {document['version']!r}; known is version {MANIFEST_VERSION}"
    has_files = isinstance(files, list) and all(
        isinstance(file, dict) and isinstance(file.get("uri"), str) for file in files
    )
    return None if has_files else "is a manifest of this pipeline that does not list its files"
