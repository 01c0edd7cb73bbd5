"""_manifest.json: what a run published. Writing it commits the run; who follows it sees whole runs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from include.scoring.errors import OutputError
from include.scoring.reconciliation import Reconciled

#: Of the manifest's form. A reader of `files` need not know what else it holds.
VERSION = 1
_JSON_TYPES = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


def build_manifest(
    *,
    plan: Mapping[str, Any],
    files: Sequence[Mapping[str, Any]],
    reconciled: Reconciled,
    facts: Mapping[str, Any],
    transformed: Mapping[str, Any],
    checks: Mapping[str, Any],
) -> dict[str, Any]:
    """The manifest of one run, JSON-safe.

    `plan` is the plan as JSON, `files` one entry per published file with at least `uri` and `rows`, `facts`
    what was read back from preprocessing, `transformed` the finished transform job, `checks` what the gates found.
    """
    return {
        "version": VERSION,
        "pipeline": plan["pipeline"],
        "run_id": plan["run_id"],
        "nonce": plan["nonce"],
        "moment": plan["moment"],
        "output_uri": plan["output_uri"],
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
        "input": {**plan["input"], "listing_uri": f"{plan['run_prefix']}input.listing"},
        "model": {**plan["model"], "name": transformed.get("model_name") or plan["model"]["name"]},
        "jobs": {"preprocess": facts["preprocess_job"], "transform": transformed["job_name"]},
        "plan_uri": f"{plan['run_prefix']}plan.json",
        "code": plan["code"],
        "fingerprint": plan["fingerprint"],
        "checks": dict(checks),
    }


def parse_manifest(content: bytes, *, uri: str, pipeline: str) -> dict[str, Any]:
    """The manifest that lies at `uri`, if this pipeline wrote it.

    Raises:
        OutputError: it is something else, another pipeline's, or of a form that is not known here.
    """
    document: Any = None
    found: str | None = "is empty" if not content.strip() else "is not JSON"
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(content)
        found = _foreign(document, pipeline)
    if found is not None:
        raise OutputError(
            f"{uri} {found}. The pipeline {pipeline!r} publishes only where nothing lies or where it published itself; "
            f"nothing there was touched. Give it an output of its own (`output.uri`). If what lies there may go, "
            f"delete {uri} and the files that belong to it by hand, then clear this task"
        )
    published: dict[str, Any] = document
    return published


def replaced_parts(manifest: Mapping[str, Any], committed_at: datetime) -> dict[str, datetime]:
    """The part files that this manifest, or one that it follows, has replaced and that may still be there; since when.

    What an earlier manifest replaced stands with that one's time; `committed_at` is the time of this one.
    """
    found: dict[str, datetime] = {}
    for part in manifest.get("replaces", ()):
        # Before parts were kept for a grace time, a part was its URI alone.
        uri, since = (part["uri"], part["replaced_at"]) if isinstance(part, dict) else (part, None)
        found[str(uri)] = committed_at if since is None else datetime.fromisoformat(since)
    return found


def rows_digests(manifest: Mapping[str, Any]) -> list[tuple[int, str]]:
    """What the files of a manifest hold, in their order, whatever they are called."""
    return [(file["rows"], file["sha256"]) for file in manifest["files"]]


def _foreign(document: Any, pipeline: str) -> str | None:
    """What makes a JSON document at a manifest's place not a manifest of this pipeline, or None."""
    if not isinstance(document, dict):
        return f"holds {_JSON_TYPES.get(type(document), 'a number')}, not the manifest of a pipeline"
    name, files = document.get("pipeline"), document.get("files")
    if not isinstance(name, str) or "run_id" not in document or "version" not in document:
        members = ", ".join(map(repr, list(document)[:5])) or "no member"
        return f"holds a JSON object with {members}, not the manifest of a pipeline"
    if name != pipeline:
        return f"is the manifest of the pipeline {name!r}, published by its run {document['run_id']!r}"
    if document["version"] != VERSION:
        return (
            f"is a manifest of this pipeline in version {document['version']!r}; known is version {VERSION}"
        )
    has_files = isinstance(files, list) and all(
        isinstance(file, dict) and isinstance(file.get("uri"), str) for file in files
    )
    return None if has_files else "is a manifest of this pipeline that does not list its files"
