"""`checks`: reconcile what was joined with what came in, and judge it by the gates, before it is published."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from include.jobs.prediction_statistics import merge_statistics
from include.orchestration import published_runs
from include.orchestration.claims import Claim
from include.orchestration.direct import scored as direct
from include.orchestration.names import CHECKS, JOIN
from include.orchestration.run_context import RunContext, with_run
from include.orchestration.scored import profile_of, scored_run
from include.orchestration.storage import Storage
from include.scoring.checks import Evidence, Verdict, check_held, judge
from include.scoring.config import Pipeline
from include.scoring.errors import ReconciliationError
from include.scoring.gates import PREVIOUS, DriftGate, pinned

log = logging.getLogger(__name__)


@with_run
def checks(
    run: RunContext,
    joined: Iterable[Mapping[str, Any]] | None,
    *,
    dag_run: Any,
    params: Mapping[str, Any],
    **_: Any,
) -> dict[str, Any]:
    """Prove that no record is lost or doubled, then judge; scored.json, statistics.json and checks.json say the rest.

    Where a person publishes a run that was held, its gates are judged and reported once more, and hold nothing.

    Raises:
        HeldError: a gate holds the run; nothing is published, and everything is kept.
        OvertakenError: another process of this task has judged the run meanwhile.
        ReconciliationError: records in are not records rejected plus rows joined, parts are of different jobs, or their
            statistics are of other rows.
    """
    config, plan, storage, paths = run.pipeline, run.plan, run.storage, run.paths
    claim = Claim(run.ti, storage, paths.checks, paths.scored, paths.statistics)
    released = plan["run_id"] != dag_run.run_id
    if not released:
        prove = scored_run if config.preprocess is not None else direct.scored_run
        found = prove(run, run.of_this_plan(JOIN, joined))
        # What an earlier try judged does not speak for what is written now.
        claim.write_json(paths.checks, run.mark(checks_document(plan, dag_run, "unjudged", [])))
        claim.write_json(paths.scored, run.mark({**found, "asked_output": params.get("output_uri")}))
    scored = run.read_json(paths.scored, written_by=CHECKS)
    statistics = run_statistics(storage, scored["parts"])
    claim.write(paths.statistics, json.dumps(run.mark(statistics)))
    evidence = evidence_of(storage, config, plan, statistics, profile_of(storage, paths, scored)["groups"])
    verdicts = judge(config.gates, evidence)
    for verdict in verdicts:
        log.log(
            logging.INFO if verdict.outcome in ("passed", "unknown") else logging.WARNING,
            "%s: %s", verdict.outcome, verdict.sentence,
        )  # fmt: skip
    held = any(verdict.outcome == "held" for verdict in verdicts)
    state = "released" if released else "held" if held else "passed"
    claim.write_json(paths.checks, run.mark(checks_document(plan, dag_run, state, verdicts)))
    if not released:
        # Kept in Airflow also when this task fails: clean_up says why the run has failed.
        run.ti.xcom_push(key="state", value=state)
        check_held(plan["run_id"], verdicts)
    return {"state": state, "checks": paths.checks, "statistics": paths.statistics}


def checks_document(
    plan: Mapping[str, Any], dag_run: Any, state: str, verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """checks.json.

    `state` is unjudged, passed, held, released (being published by a person) or published (by one).
    """
    return {
        "version": 1,
        "run_id": plan["run_id"],
        "judged_in": dag_run.run_id,
        "state": state,
        "gates": [verdict.as_dict() for verdict in verdicts],
    }


def run_statistics(storage: Storage, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The statistics of all parts in one.

    Raises:
        ReconciliationError: they are of more or fewer rows than were joined.
    """
    statistics = merge_statistics(storage.read_json(part["statistics"]) for part in parts)
    rows = sum(part["rows"] for part in parts)
    if statistics["rows"] != rows:
        raise ReconciliationError(
            f"{rows:,} rows were joined, but statistics were made of {statistics['rows']:,}; nothing is published"
        )
    return statistics


def evidence_of(
    storage: Storage,
    config: Pipeline,
    plan: Mapping[str, Any],
    statistics: Mapping[str, Any],
    groups: Mapping[str, Any],
) -> Evidence:
    """What the gates look at; only what they ask for is read."""
    compares = any(isinstance(gate, DriftGate) and gate.against == PREVIOUS for gate in config.gates)
    runs_asked = [gate.runs for gate in config.gates if gate.gate == "rows"]
    last = published_runs.before(
        storage,
        config,
        moment=datetime.fromisoformat(plan["moment"]),
        run_id=plan["run_id"],
        most=max([*runs_asked, 1 if compares else 0], default=0),
    )
    references: dict[str, Mapping[str, Any] | None] = {
        uri: storage.read_json(uri) for uri in pinned(config.gates)
    }
    references[PREVIOUS] = storage.read_json(last[-1]["statistics"]) if compares and last else None
    return Evidence(
        statistics=statistics,
        groups=groups,
        rows_before=[run["rows"] for run in last],
        references=references,
    )
