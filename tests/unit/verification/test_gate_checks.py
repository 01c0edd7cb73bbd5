"""Gates: what a pipeline may state, and what they find in the statistics of a run."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from batch_inference.common.errors import RunHeldByGatesError
from batch_inference.jobs.common.groups import UNREADABLE_GROUP
from batch_inference.jobs.common.profiles import NumberProfile, TextProfile
from batch_inference.verification.drift import compute_population_stability_index
from batch_inference.verification.gate_checks import GateInputs, GateResult, check_not_held, evaluate_gates
from tests.unit.builders import pipeline

SENSITIVE = {"sensitive": [{"column": "age", "edges": [30]}]}


def gate(**stated: Any) -> Any:
    """The one gate of a pipeline whose prediction columns are `churn` and the text `label`."""
    changes = {
        "gates": [{"then": "hold", **stated}],
        "predictions": {"fields": {"score": "churn", "label": "kind"}, "types": {"kind": "string"}},
        **SENSITIVE,
    }
    return pipeline(changes).gates[0]


def numbers(values: list[float | None]) -> dict[str, Any]:
    """Statistics of a run whose column `churn` has these values."""
    import numpy

    profile = NumberProfile()
    profile.add(numpy.array([float("nan") if value is None else value for value in values]))
    return {
        "rows": len(values),
        "columns": {"churn": profile.to_dict()},
        "sample": {"hashes": list(range(len(values))), "columns": {"churn": list(values)}},
        "groups": {},
    }


def texts(values: list[str]) -> dict[str, Any]:
    """The same of the column `kind`."""
    profile = TextProfile()
    profile.add(values)
    sample = {"hashes": list(range(len(values))), "columns": {"kind": values}}
    return {"rows": len(values), "columns": {"kind": profile.to_dict()}, "sample": sample, "groups": {}}


def evaluate(stated: dict[str, Any], statistics: dict[str, Any], **more: Any) -> GateResult:
    """What the gate says about the run."""
    (found,) = evaluate_gates([gate(**stated)], GateInputs(statistics=statistics, **more))
    return found


@pytest.mark.parametrize(
    ("stated", "values", "outcome", "said"),
    [
        ({"gate": "nulls", "column": "churn", "max_share": 0.25}, [1, None, 2, 3], "passed", "1 of 4"),
        (
            {"gate": "nulls", "column": "churn", "max_share": 0.24},
            [1, None, 2, 3],
            "held",
            "25%, allowed 24%",
        ),
        ({"gate": "nulls", "column": "churn", "max_share": 0}, [], "passed", "0 of 0"),
        ({"gate": "range", "column": "churn", "min": 0, "max": 1}, [0.0, 1.0], "passed", "between 0 and 1"),
        (
            {"gate": "range", "column": "churn", "max": 1},
            [0.5, 1.25],
            "held",
            "0.5 and 1.25 (allowed any to 1)",
        ),
        ({"gate": "range", "column": "churn", "min": 0}, [-0.5, 1], "held", "(allowed 0 to any)"),
        ({"gate": "range", "column": "churn", "min": 0}, [None], "unknown", "no prediction"),
        ({"gate": "constant", "column": "churn"}, [7, 7, None], "held", "all 2 predictions are 7"),
        ({"gate": "constant", "column": "churn"}, [7, 8], "passed", "differ"),
        ({"gate": "constant", "column": "churn"}, [7], "unknown", "too few"),
    ],
)
def test_a_gate_on_the_predictions_themselves(
    stated: dict[str, Any], values: list[float | None], outcome: str, said: str
) -> None:
    """Each says what it saw and what is allowed."""
    found = evaluate(stated, numbers(values))
    assert found.outcome == outcome
    assert said in found.sentence


def test_a_constant_text_is_told_too() -> None:
    """Every row got the same label."""
    stated = {"gate": "constant", "column": "kind", "then": "warn"}
    assert evaluate(stated, texts(["a", "a"])).outcome == "warned"
    assert evaluate(stated, texts(["a", "b"])).outcome == "passed"


@pytest.mark.parametrize(
    ("before", "outcome"),
    [
        ([], "unknown"),
        ([4], "passed"),
        ([9], "held"),
        ([1], "held"),
        ([1, 1, 4, 4, 4], "passed"),
        ([4, 4, 4, 100, 100], "held"),
    ],
)
def test_rows_are_held_against_the_median_of_the_last_runs(before: list[int], outcome: str) -> None:
    """Of as many as the gate says, the latest last; one odd night does not move it."""
    stated = {"gate": "rows", "min_ratio": 0.5, "max_ratio": 2, "runs": 3}
    assert evaluate(stated, numbers([1, 2, 3, 4]), rows_before=before).outcome == outcome


def normal(mean: float, seed: int, count: int = 2_000) -> dict[str, Any]:
    """A run with predictions around a mean."""
    draw = random.Random(seed)
    return numbers([draw.gauss(mean, 1) for _ in range(count)])


DRIFT = {"gate": "drift", "column": "churn", "max_psi": 0.1, "min_p_value": 0.001}


@pytest.mark.parametrize(("mean", "outcome"), [(0.0, "passed"), (0.5, "held"), (-3.0, "held")])
def test_a_shift_of_the_predictions_is_drift_and_chance_is_not(mean: float, outcome: str) -> None:
    """Against the run before; both figures are given."""
    found = evaluate(DRIFT, normal(mean, 2), references={"previous": normal(0.0, 1)})
    assert found.outcome == outcome
    assert "PSI" in found.sentence
    assert "Kolmogorov-Smirnov" in found.sentence
    assert set(found.figures) == {"psi", "p_value"}


@pytest.mark.parametrize("reference", [None, texts(["a"]), numbers([None])])
def test_without_anything_to_compare_with_drift_is_unknown(reference: dict[str, Any] | None) -> None:
    """The first run, and one whose model answers other columns, are not held for that."""
    assert evaluate(DRIFT, normal(0, 1), references={"previous": reference}).outcome == "unknown"


def test_buckets_of_another_version_are_not_compared() -> None:
    """Their bounds are others, so any index would mean nothing."""
    old = normal(0, 1)
    old["columns"]["churn"]["sketch"]["gamma"] = 1.01
    found = evaluate(DRIFT, normal(0, 2), references={"previous": old})
    assert found.outcome == "unknown"
    assert "another version" in found.sentence


def test_a_run_that_was_scored_before_its_columns_were_renamed_is_judged_by_what_is_left() -> None:
    """It may have been held, and be published by hand only now."""
    found = evaluate({"gate": "constant", "column": "kind"}, numbers([1, 1]))
    assert (found.outcome, found.sentence) == ("unknown", "kind: the run has no such predictions")


def test_labels_drift_by_how_often_they_occur() -> None:
    """Chi-squared on the samples; labels too rare for it are one, and a new label counts."""
    stated = {"gate": "drift", "column": "kind", "max_psi": 0.1, "min_p_value": 0.001}
    before = texts(["a"] * 500 + ["b"] * 500 + ["c"])
    for now, outcome in (
        (texts(["a"] * 510 + ["b"] * 490 + ["d"]), "passed"),
        (texts(["a"] * 800 + ["b"] * 200), "held"),
        (texts(["a"] * 400 + ["b"] * 400 + ["new"] * 200), "held"),
    ):
        found = evaluate(stated, now, references={"previous": before})
        assert found.outcome == outcome, found.sentence
        assert "chi-squared" in found.sentence


def test_a_pinned_baseline_is_compared_instead() -> None:
    """`against` names its statistics."""
    uri = "s3://data/work/churn/good-run/statistics.json"
    stated = {**DRIFT, "against": uri}
    found = evaluate(stated, normal(2, 2), references={"previous": normal(2, 1), uri: normal(0, 3)})
    assert found.outcome == "held"
    assert uri in found.sentence


@settings(max_examples=60)
@given(
    st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=80),
    st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=80),
)
def test_the_index_is_never_negative_and_zero_for_equals(first: list[float], second: list[float]) -> None:
    """Whatever the values, zeros and single values among them."""
    before, now = (numbers(list(values))["columns"]["churn"] for values in (first, second))
    assert compute_population_stability_index(before, before) == 0
    assert compute_population_stability_index(before, now) >= -1e-12


def test_the_index_is_that_of_ten_classes() -> None:
    """By hand: the upper half of the reference is gone, so five classes are empty and five hold twice as much."""
    before = numbers([float(n) for n in range(1, 1001)])["columns"]["churn"]
    now = numbers([float(n) for n in range(1, 501)])["columns"]["churn"]
    # Five times (0.2 - 0.1) ln 2 and five times (0.0001 - 0.1) ln(0.0001 / 0.1).
    assert compute_population_stability_index(before, now) == pytest.approx(0.3466 + 3.4505, rel=0.05)


def counts(records: int, rejected: int) -> dict[str, Any]:
    """Counts of one group."""
    return {"records": records, "rejected": rejected, "by_rule": {"r": rejected}}


REJECTS = {"gate": "group_rejects", "column": "age", "max_ratio": 1.5}


@pytest.mark.parametrize(
    ("groups", "outcome", "said"),
    [
        ({"below 30": counts(1000, 10), "30 and above": counts(1000, 12)}, "passed", "1.20 times"),
        (
            {"below 30": counts(1000, 10), "30 and above": counts(1000, 16)},
            "held",
            "30 and above: 16 of 1,000",
        ),
        ({"below 30": counts(1000, 0), "30 and above": counts(1000, 1)}, "held", "none of the others are"),
        ({"below 30": counts(1000, 0), "30 and above": counts(1000, 0)}, "passed", "1.00 times"),
        ({"below 30": counts(1000, 10), "30 and above": counts(99, 90)}, "unknown", "no two groups"),
        ({"below 30": counts(1000, 10), UNREADABLE_GROUP: counts(500, 500)}, "unknown", "no two groups"),
        ({}, "unknown", "no two groups"),
    ],
)
def test_rejecting_one_group_more_than_the_others_is_held(
    groups: dict[str, Any], outcome: str, said: str
) -> None:
    """By the ratio that is stated; small groups and unreadable records are not judged."""
    found = evaluate(REJECTS, numbers([1]), groups={"age": groups})
    assert found.outcome == outcome
    assert said in found.sentence
    assert all(value is None or value < 1e9 for value in found.to_dict()["figures"].values())


def test_a_run_is_held_by_a_gate_that_says_so_and_by_no_other() -> None:
    """The message says why, and how a person publishes it all the same."""
    range_ = {"gate": "range", "column": "churn", "max": 1}
    warned = evaluate({**range_, "then": "warn"}, numbers([2]))
    check_not_held("nightly-1", [warned])
    with pytest.raises(RunHeldByGatesError, match=r'between 2 and 2.*\{"publish_run": "nightly-1"\}'):
        check_not_held("nightly-1", [warned, evaluate(range_, numbers([2]))])


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"gate": "nulls", "column": "chrun", "max_share": 0}, "found 'chrun'.*did you mean 'churn'"),
        ({"gate": "range", "column": "kind", "min": 0}, "type string, which a gate range cannot check"),
        ({"gate": "range", "column": "churn"}, "neither min nor max"),
        ({"gate": "range", "column": "churn", "min": 2, "max": 1}, "no number lies between"),
        ({"gate": "rows"}, "neither min_ratio nor max_ratio"),
        ({"gate": "drift", "column": "churn"}, "neither max_psi nor min_p_value"),
        (
            {"gate": "drift", "column": "churn", "max_psi": 0.1, "against": "yesterday"},
            "allowed are previous and",
        ),
        ({"gate": "group_rejects", "column": "id", "max_ratio": 2}, "columns of sensitive are age"),
        ({"gate": "nulls", "column": "churn", "max_share": 0, "then": "stop"}, "warn"),
        ({"gate": "wishes"}, "wishes"),
    ],
)
def test_a_gate_that_cannot_be_judged_is_refused(stated: dict[str, Any], message: str) -> None:
    """When the file is read, with what was found and what is allowed."""
    with pytest.raises(ValidationError, match=message):
        gate(**stated)


def test_a_selection_must_suit_its_column() -> None:
    """A number has bounds, a text values, and the column is a prediction."""
    for selected, message in (
        ({"column": "id", "min": 1}, "found 'id'; the prediction columns are churn"),
        ({"column": "churn", "values": ["yes"]}, "a number has min"),
        ({"column": "churn"}, "a number has min"),
    ):
        with pytest.raises(ValidationError, match=message):
            pipeline({"predictions.selected": selected})
    assert pipeline({"predictions.selected": {"column": "churn", "min": 0.5}}).predictions.selected


@pytest.mark.parametrize("bounds", [{"values": ["yes"]}, {"min": 1}, {}])
def test_json_is_not_selected_by(bounds: dict[str, Any]) -> None:
    """Its values are not counted; the join, which would find that out, comes after the transform was paid."""
    changes = {"predictions.types": {"churn": "json"}, "predictions.selected": {"column": "churn", **bounds}}
    with pytest.raises(ValidationError, match="churn has type json; allowed are columns of any other type"):
        pipeline(changes)


def test_a_sensitive_column_can_be_kept_from_the_model() -> None:
    """It leaves the default features, and may not be named among stated ones."""
    kept = {"sensitive": [{"column": "age", "edges": [30], "in_features": False}]}
    assert pipeline(kept).feature_columns == ("id",)
    with pytest.raises(ValidationError, match="found 'age', which sensitive keeps from the model"):
        pipeline({**kept, "features.columns": ["id", "age"]})
