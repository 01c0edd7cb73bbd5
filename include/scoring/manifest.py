"""_manifest.json: what a run published. Writing it commits the run; who follows it sees whole runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from include.scoring.reconciliation import Reconciled


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
        "version": 1,
        "pipeline": plan["pipeline"],
        "run_id": plan["run_id"],
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
        "fingerprint": plan["fingerprint"],
        "checks": dict(checks),
    }
