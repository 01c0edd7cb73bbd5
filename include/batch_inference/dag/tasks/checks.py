"""`checks`: reconcile joined rows with input records, and evaluate the gates, before anything is published."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ReconciliationError
from batch_inference.config.sections.gates import PREVIOUS, DriftGate, find_pinned_statistics
from batch_inference.dag.task_functions import provide_run_context
from batch_inference.jobs.join.statistics import merge_statistics
from batch_inference.planning.plan import Plan
from batch_inference.publishing.claims import DocumentClaim
from batch_inference.run.run_context import RunContext
from batch_inference.run.scored_run import ScoredRun, build_scored_run
from batch_inference.run.task_ids import JOIN
from batch_inference.verification.gate_checks import GateInputs, GateResult, check_not_held, evaluate_gates

log = logging.getLogger(__name__)

#: Released: a person publishes the held run. Published: a person has published it.
ChecksState = Literal["unjudged", "passed", "held", "released", "published"]


@provide_run_context
def run_checks(
    run: RunContext,
    joined: Iterable[Mapping[str, Any]] | None,
    *,
    dag_run: Any,
    params: Mapping[str, Any],
    **_: Any,
) -> dict[str, Any]:
    """Check that no record is lost or doubled, evaluate the gates; write scored.json, statistics.json and checks.json.

    When a person releases a held run, its gates are evaluated and reported once more, but do not hold it.

    Raises:
        RunHeldByGatesError: a gate holds the run; nothing is published, and everything is kept.
        OvertakenError: another process of this task has evaluated the run since.
        ReconciliationError: records in are not records rejected plus rows joined, the parts are of different jobs, or
            their statistics are of other rows.
    """
    pipeline, plan, storage, paths = run.pipeline, run.plan, run.storage, run.paths
    claim = DocumentClaim(run.ti, storage, paths.checks, paths.scored_run, paths.statistics)
    is_released = plan.run_id != dag_run.run_id
    if not is_released:
        parts = run.filter_by_plan(JOIN, joined)
        scored_run = build_scored_run(run, parts, requested_output=params.get("output_uri"))
        # The result of an earlier try does not hold for the files that are written now.
        claim.write_json(paths.checks, run.add_nonce(build_checks_document(plan, dag_run, "unjudged", [])))
        claim.write_json(paths.scored_run, run.add_nonce(scored_run.model_dump(mode="json")))
    scored_run = ScoredRun.read(run)
    statistics = merge_run_statistics(storage, scored_run.parts)
    claim.write(paths.statistics, json.dumps(run.add_nonce(statistics)))
    groups = scored_run.read_profile(storage, paths)["groups"]
    results = evaluate_gates(pipeline.gates, collect_gate_inputs(run, statistics, groups))
    for result in results:
        level = logging.INFO if result.outcome in ("passed", "unknown") else logging.WARNING
        log.log(level, "%s: %s", result.outcome, result.sentence)
    is_held = any(result.outcome == "held" for result in results)
    state: ChecksState = "released" if is_released else "held" if is_held else "passed"
    claim.write_json(paths.checks, run.add_nonce(build_checks_document(plan, dag_run, state, results)))
    if not is_released:
        # Kept in XCom also when this task fails: clean_up reports why the run has failed.
        run.ti.xcom_push(key="state", value=state)
        check_not_held(plan.run_id, results)
    return {"state": state, "checks": paths.checks, "statistics": paths.statistics}


def build_checks_document(
    plan: Plan, dag_run: Any, state: ChecksState, results: Sequence[GateResult]
) -> dict[str, Any]:
    """checks.json."""
    return {
        "version": 1,
        "run_id": plan.run_id,
        "judged_in": dag_run.run_id,
        "state": state,
        "gates": [result.to_dict() for result in results],
    }


def merge_run_statistics(storage: Storage, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the statistics of all parts.

    Raises:
        ReconciliationError: they cover more or fewer rows than were joined.
    """
    statistics = merge_statistics(storage.read_json(part["statistics"]) for part in parts)
    rows = sum(part["rows"] for part in parts)
    if statistics["rows"] != rows:
        raise ReconciliationError(
            f"{rows:,} rows were joined, but the statistics cover {statistics['rows']:,}; nothing is published"
        )
    return statistics


def collect_gate_inputs(
    run: RunContext, statistics: Mapping[str, Any], groups: Mapping[str, Any]
) -> GateInputs:
    """The inputs of the gates; reads only what the pipeline's gates need."""
    gates, storage = run.pipeline.gates, run.storage
    compares = any(isinstance(gate, DriftGate) and gate.against == PREVIOUS for gate in gates)
    runs_asked = [gate.runs for gate in gates if gate.gate == "rows"]
    last = run.read_previous_runs(max([*runs_asked, 1 if compares else 0], default=0))
    references: dict[str, Mapping[str, Any] | None] = {
        uri: storage.read_json(uri) for uri in find_pinned_statistics(gates)
    }
    references[PREVIOUS] = storage.read_json(last[-1]["statistics"]) if compares and last else None
    rows = [each["rows"] for each in last]
    return GateInputs(statistics=statistics, groups=groups, rows_before=rows, references=references)
