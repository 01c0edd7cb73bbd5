"""Evaluates a run's quality gates: one result and sentence for each, and whether the run may be published."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from batch_inference.common.errors import RunHeldByGatesError
from batch_inference.common.formatting import format_share
from batch_inference.config.sections.gates import (
    PREVIOUS,
    ConstantGate,
    DriftGate,
    Gate,
    GroupRejectsGate,
    NullsGate,
    RangeGate,
    RowsGate,
)
from batch_inference.verification.drift import compute_p_value, compute_population_stability_index
from batch_inference.verification.fairness import compute_rejected_share_ratios

#: passed; warned or held: the gate was breached; unknown: there is nothing to compare with yet.
Outcome = Literal["passed", "warned", "held", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInputs:
    """The figures that gates are evaluated on.

    Attributes:
        statistics: of the run's predictions (`include/batch_inference/jobs/join/statistics.py`).
        groups: counts of preprocessing by sensitive column and group.
        rows_before: rows of earlier published runs, the latest last.
        references: by `against` of the gate, the statistics that drift is measured against; None if there are none yet.
    """

    statistics: Mapping[str, Any]
    groups: Mapping[str, Any] = field(default_factory=dict)
    rows_before: Sequence[int] = ()
    references: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateResult:
    """The outcome of one gate: its figures, and a sentence about them."""

    gate: str
    column: str | None
    then: str
    outcome: Outcome
    sentence: str
    figures: Mapping[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe: an infinite figure becomes None."""
        figures = {
            name: value if abs(value or 0) < math.inf else None for name, value in self.figures.items()
        }
        return {**asdict(self), "figures": figures}


def evaluate_gates(gates: Sequence[Gate], inputs: GateInputs) -> list[GateResult]:
    """Evaluate each gate, in order."""
    return [_evaluate_gate(gate, inputs) for gate in gates]


def check_not_held(run_id: str, results: Sequence[GateResult]) -> None:
    """Raise RunHeldByGatesError when a gate holds the run."""
    held = [result.sentence for result in results if result.outcome == "held"]
    if held:
        raise RunHeldByGatesError(run_id, tuple(held))


@dataclass(frozen=True, slots=True)
class _Finding:
    """Whether a gate is breached (None: there is nothing to evaluate), with a sentence and figures."""

    breached: bool | None
    sentence: str
    figures: Mapping[str, float | None]


def _evaluate_gate(gate: Gate, inputs: GateInputs) -> GateResult:
    if not isinstance(gate, RowsGate | GroupRejectsGate) and gate.column not in inputs.statistics["columns"]:
        # A held run that is published after its pipeline's predictions were renamed.
        finding = _Finding(None, f"{gate.column}: the run has no such predictions", {})
    else:
        finding = _EVALUATORS[type(gate)](gate, inputs)
    outcome: Outcome = "unknown" if finding.breached is None else "passed"
    if finding.breached:
        outcome = "held" if gate.then == "hold" else "warned"
    column = getattr(gate, "column", None)
    return GateResult(gate.gate, column, gate.then, outcome, finding.sentence, finding.figures)


def _nulls(gate: NullsGate, inputs: GateInputs) -> _Finding:
    profile = inputs.statistics["columns"][gate.column]
    whole = profile["count"] + profile["nulls"]
    share = profile["nulls"] / whole if whole else 0.0
    return _Finding(
        share > gate.max_share,
        f"{gate.column}: {profile['nulls']:,} of {whole:,} predictions are missing ({format_share(share)}, "
        f"allowed {format_share(gate.max_share)})",
        {"share": share},
    )


def _range(gate: RangeGate, inputs: GateInputs) -> _Finding:
    profile = inputs.statistics["columns"][gate.column]
    if not profile["count"]:
        return _Finding(None, f"{gate.column}: there is no prediction to check", {})
    least, most = profile["min"], profile["max"]
    allowed = _format_limits(gate.min, gate.max)
    return _Finding(
        _is_outside(least, gate.min, None) or _is_outside(most, None, gate.max),
        f"{gate.column}: predictions lie between {least:g} and {most:g} (allowed {allowed})",
        {"min": least, "max": most},
    )


def _is_outside(value: float, least: float | None, most: float | None) -> bool:
    return (least is not None and value < least) or (most is not None and value > most)


def _format_limits(*limits: float | None) -> str:
    return " to ".join("any" if limit is None else f"{limit:g}" for limit in limits)


def _constant(gate: ConstantGate, inputs: GateInputs) -> _Finding:
    profile = inputs.statistics["columns"][gate.column]
    if profile["count"] < gate.min_rows:
        return _Finding(None, f"{gate.column}: {profile['count']:,} predictions are too few to check", {})
    if profile["kind"] == "number":
        same, value = profile["min"] == profile["max"], f"{profile['min']:g}"
    else:
        same, value = len(profile["values"]) == 1 and not profile["others"], next(iter(profile["values"]))
    said = f"all {profile['count']:,} predictions are {value}" if same else "predictions differ"
    return _Finding(same, f"{gate.column}: {said}", {})


def _rows(gate: RowsGate, inputs: GateInputs) -> _Finding:
    rows = int(inputs.statistics["rows"])
    last = list(inputs.rows_before[-gate.runs :])
    median = statistics.median(last) if last else 0
    if not median:
        return _Finding(None, f"{rows:,} rows; no run was published before", {"rows": rows})
    ratio = rows / median
    breached = _is_outside(ratio, gate.min_ratio, gate.max_ratio)
    allowed = _format_limits(gate.min_ratio, gate.max_ratio)
    of = "the last published run" if len(last) == 1 else f"the last {len(last)} published runs"
    return _Finding(
        breached,
        f"{rows:,} rows are {ratio:.2f} times the {median:,.0f} of {of} (allowed {allowed})",
        {"rows": rows, "median": median, "ratio": ratio},
    )


def _drift(gate: DriftGate, inputs: GateInputs) -> _Finding:
    reference = inputs.references.get(gate.against)
    what = "the run published before" if gate.against == PREVIOUS else gate.against
    now = inputs.statistics["columns"][gate.column]
    before = None if reference is None else reference["columns"].get(gate.column)
    if reference is None or before is None or before["kind"] != now["kind"]:
        return _Finding(None, f"{gate.column}: {what} has no such predictions to compare with", {})
    if not before["count"] or not now["count"]:
        return _Finding(None, f"{gate.column}: there are no predictions to compare", {})
    if now["kind"] == "number" and before["sketch"]["gamma"] != now["sketch"]["gamma"]:
        return _Finding(None, f"{gate.column}: {what} was counted in other buckets, by another version", {})
    figures: dict[str, float | None] = {}
    said: list[str] = []
    breached = False
    if gate.max_psi is not None:
        index = figures["psi"] = compute_population_stability_index(before, now)
        breached |= index > gate.max_psi
        said.append(f"PSI {index:.3f} (allowed {gate.max_psi:g})")
    if gate.min_p_value is not None:
        samples = (each["sample"]["columns"][gate.column] for each in (reference, inputs.statistics))
        p = figures["p_value"] = compute_p_value(now["kind"], *samples)
        breached |= p < gate.min_p_value
        test = "Kolmogorov-Smirnov" if now["kind"] == "number" else "chi-squared"
        said.append(f"{test} p = {p:.2g} (allowed from {gate.min_p_value:g})")
    return _Finding(breached, f"{gate.column} compared with {what}: {', '.join(said)}", figures)


def _group_rejects(gate: GroupRejectsGate, inputs: GateInputs) -> _Finding:
    ratios = compute_rejected_share_ratios(inputs.groups.get(gate.column, {}), gate.min_records)
    if not ratios:
        too_few = f"{gate.column}: no two groups have {gate.min_records:,} records to compare"
        return _Finding(None, too_few, {})
    worst = max(ratios, key=lambda label: (ratios[label], label))
    ratio = ratios[worst]
    counts = inputs.groups[gate.column][worst]
    times = (
        "and none of the others are" if math.isinf(ratio) else f"{ratio:.2f} times the share of the others"
    )
    return _Finding(
        ratio > gate.max_ratio,
        f"{gate.column} {worst}: {counts['rejected']:,} of {counts['records']:,} records are rejected by rules, "
        f"{times} (allowed {gate.max_ratio:g} times)",
        {"ratio": ratio},
    )


_EVALUATORS: Mapping[type, Callable[[Any, GateInputs], _Finding]] = {
    NullsGate: _nulls,
    RangeGate: _range,
    ConstantGate: _constant,
    RowsGate: _rows,
    DriftGate: _drift,
    GroupRejectsGate: _group_rejects,
}
