"""Trials with `calibrate: explore`: what is tried, what that may cost, when nothing is, and what is used afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.config.run_params import RunParams
from batch_inference.planning.clusters import sizing
from batch_inference.planning.clusters.exploration import (
    MAX_TRIALS,
    SearchSpace,
    TrialPlan,
    TypeOption,
    has_failed,
    list_failed_trials,
    pick_for_trials,
    read_known_settings,
    sum_ledger,
)
from batch_inference.planning.clusters.rate_history import HistoryRow
from batch_inference.planning.clusters.settings_cost import RequestSettings
from batch_inference.planning.plan import Plan
from batch_inference.planning.planner import make_plan
from tests.unit.builders import context, objects, pipeline, run_info
from tools.benchmarks.exploration import MODELS, simulate_nights

TYPES = ["ml.c5.xlarge", "ml.g4dn.xlarge"]
PRICES = {"ml.m5.xlarge": 0.23, "ml.c5.xlarge": 0.2, "ml.g4dn.xlarge": 0.736}
EXPLORE: dict[str, Any] = {
    "goals": {"calibrate": "explore"},
    "transform": {"instance_types": TYPES, "max_instances": 20},
    "preprocess.max_instances": 20,
    "prices": PRICES,
}
USED = RequestSettings("ml.m5.xlarge", 4, 6, "MultiRecord")
#: Ten instance-hours at 2 MB/s.
SPEED = 2e6
NIGHT_BYTES = int(SPEED * 36_000)


def row(
    settings: RequestSettings = USED,
    *,
    night: int = 1,
    speed: float = SPEED,
    size: int = NIGHT_BYTES,
    is_trial: bool = False,
    **changes: Any,
) -> HistoryRow:
    """What a night measured on one instance, or a trial of that night."""
    seconds = size / speed
    return HistoryRow(
        **{
            "pipeline": "churn", "run_id": f"r{night}", "data_time": f"2026-01-{night:02d}", "stage": "transform",
            "instance_count": 1, "model": "churn-model", "bytes": size, "records": size // 100, "objects": 100,
            "provisioning_seconds": 240.0, "running_seconds": 90 + seconds, "busy_seconds": seconds,
            "start_seconds": 90.0, "predicted_seconds": None,
            "dollars": (90 + seconds) * PRICES[settings.instance_type] / 3600, "is_trial": is_trial,
            **settings._asdict(), **changes,
        }
    )  # fmt: skip


def plan(
    history: Sequence[HistoryRow] = (), *, size: int = NIGHT_BYTES, changes: Any = None, **params: Any
) -> Plan:
    """The plan of the next night."""
    of = pipeline({**EXPLORE, **(changes or {})})
    found = objects([64_000_000] * max(1, size // 64_000_000))
    return make_plan(of, RunParams(**params), found, run_info(), context(of, history=tuple(history)))


def get_reason(planned: Plan) -> str:
    """Why nothing is tried."""
    assert planned.trials == ()
    [reason] = [text for text in planned.sentences if text.startswith("Nothing is tried")]
    return reason


#: A week, whose share of the cost is enough for any trial.
NIGHTS = tuple(row(night=night) for night in range(1, 8))


@pytest.mark.parametrize("name", MODELS)
def test_ten_nights_find_what_costs_little_more_than_the_cheapest_and_trials_cost_their_share(
    name: str,
) -> None:
    """Six models whose cheapest settings are hidden; `make bench-exploration` has more seeds."""
    found = simulate_nights(MODELS[name], seed=1)
    assert found.ratio <= 1.10
    assert found.trials > 5
    assert 0 < found.extra_share <= 0.05


@pytest.mark.parametrize("name", ["memory-bound", "GPU-friendly"])
def test_no_night_is_late_because_of_a_trial(name: str) -> None:
    """Also where one is killed, or slow, and its records are scored again."""
    found = simulate_nights(MODELS[name], seed=1, goals={"deadline": 240})
    assert (found.late, found.trials > 3) == (0, True)


def test_the_first_night_tries_nothing_and_the_next_changes_one_setting_at_a_time() -> None:
    assert "no transform of this model was measured yet" in get_reason(plan())
    trials = plan([row()]).trials
    assert 0 < len(trials) <= MAX_TRIALS
    for trial in trials:
        settings = trial.settings
        assert sum(one != other for one, other in zip(settings, USED, strict=True)) == 1
        assert settings.instance_type in PRICES
        assert trial.bytes < NIGHT_BYTES / 10


def test_a_plan_says_what_is_tried_and_what_that_costs() -> None:
    planned = plan([row()])
    texts = " ".join(planned.sentences)
    for trial in planned.trials:
        assert f"One more instance tries {trial.settings.describe()} on about" in texts
    assert "was left for trials; records of one that fails are scored as all others." in texts
    assert Plan.from_document(planned.to_xcom(), "xcom") == planned


@pytest.mark.parametrize(
    ("changes", "params", "why"),
    [
        ({"transform": {"instance_types": TYPES, "max_instances": 1}}, {}, "limits allow no further instance"),
        (
            {
                "transform": {"instance_types": TYPES, "max_instances": 90},
                "preprocess.max_instances": 90,
            },
            {"deadline": "35"},
            "deadline is too near",
        ),
        ({"goals": {"calibrate": "explore", "budget": 2.55}}, {}, "more than its budget leaves"),
        (
            {"transform": {"max_concurrent_transforms": 4, "max_payload_mb": 6, "max_instances": 20}},
            {},
            "no other settings",
        ),
        ({}, {"transform_instance_type": "ml.m5.xlarge", "transform_max_concurrent_transforms": 4,
              "transform_max_payload_mb": 6}, "no other settings"),
        ({"prices": {}, "transform": {"instance_types": ["ml.c4.xlarge"], "max_concurrent_transforms": 4,
                                      "max_payload_mb": 6, "max_instances": 20}}, {}, "no other settings"),
    ],
    ids=["no instance left", "deadline", "budget", "stated", "form", "unknown price"],
)  # fmt: skip
def test_nothing_is_tried_where_the_run_has_no_room_for_it(
    changes: dict[str, Any], params: dict[str, Any], why: str
) -> None:
    """Limits, a near deadline, the budget and what the file or the form states come first."""
    assert why in get_reason(plan(NIGHTS, changes=changes, **params))


def test_quotas_leave_an_instance_for_a_trial_or_none() -> None:
    """Of the type itself, and of all types together."""
    of = pipeline(EXPLORE)

    def list_tried(quotas: dict[str, int]) -> set[str]:
        found = context(of, history=NIGHTS, quotas=quotas)
        made = make_plan(of, RunParams(), objects([64_000_000] * 1125), run_info(), found)
        return {trial.instance_type for trial in made.trials}

    assert "ml.g4dn.xlarge" in list_tried({})
    assert "ml.g4dn.xlarge" not in list_tried({"ml.g4dn.xlarge for transform job usage": 0})
    assert list_tried({"Number of instances across all transform jobs": 1}) == set()


def test_what_is_not_spent_accumulates_until_a_trial_is_affordable() -> None:
    """A small run says after how many more; with each its share is added, and trials are subtracted."""
    small = int(SPEED * 3600)
    nights = [row(night=night, size=small) for night in range(1, 20)]
    reasons = [plan(nights[:count], size=small) for count in (1, 2)]
    counts = [int(get_reason(each).partition("about ")[2].partition(" ")[0]) for each in reasons]
    assert counts[0] == counts[1] + 1 > 2
    assert plan(nights[: counts[0] + 1], size=small).trials
    spent = row(night=5, is_trial=True, size=1_000_000, trial_extra_dollars=1.0)
    assert plan([*nights, spent], size=small).trials == ()


def test_the_ledger_counts_runs_without_trials_and_what_trials_cost_more() -> None:
    rows = [row(), row(is_trial=True, size=10, trial_extra_dollars=0.01), row(night=2)]
    ledger = sum_ledger(rows)
    assert (ledger.runs, ledger.extra_dollars) == (2, 0.01)
    assert ledger.run_dollars == pytest.approx(2 * (row().dollars or 0))
    assert ledger.compute_balance(0.05) == pytest.approx(0.1 * (row().dollars or 0) - 0.01)


def test_cheaper_settings_are_used_once_they_are_certain_and_the_plan_says_what_they_save() -> None:
    """By 3 % in one trial they are not; by 40 % they are, and in a type's own settings nothing else counts."""
    faster = USED._replace(max_concurrent_transforms=8)
    for ratio, chosen in ((1.03, 4), (1.7, 8)):
        trial = row(faster, speed=ratio * SPEED, size=240_000_000, is_trial=True)
        planned = plan([row(), trial])
        assert planned.transform.max_concurrent_transforms == chosen
    assert planned.estimate.transform.seconds == pytest.approx(90 + NIGHT_BYTES / (1.7 * SPEED), rel=0.1)
    assert any(
        "costs 40% less than ml.m5.xlarge with 4; measured on 1 night." in text for text in planned.sentences
    )
    [why] = [each for each in planned.log if each.field == "transform.max_concurrent_transforms"]
    assert (
        why.text == "Each instance works on 8 requests at a time, because no other was measured to cost less."
    )


def test_another_type_is_used_after_a_trial_and_never_before() -> None:
    """What was never measured takes no whole run, however cheap it is assumed to be."""
    assert plan([row()]).transform.instance_type == "ml.m5.xlarge"
    other = USED._replace(instance_type="ml.c5.xlarge")
    tried = row(other, speed=1.5 * SPEED, size=240_000_000, is_trial=True)
    assert plan([row(), tried]).transform.instance_type == "ml.c5.xlarge"


def test_what_failed_is_not_tried_again_nor_anything_larger_on_that_type() -> None:
    """Another type gets smaller requests; a failure of less than what works elsewhere says nothing of size."""
    failed = USED._replace(instance_type="ml.c5.xlarge")
    rows = [row(), row(failed, size=0, speed=1, is_trial=True, busy_seconds=None, trial_extra_dollars=0.02)]
    assert list_failed_trials(rows) == [failed]
    tried = [each.settings for each in plan(rows).trials]
    assert tried
    assert not any(has_failed(each, [failed]) for each in tried)
    of_that_type = [each for each in tried if each.instance_type == "ml.c5.xlarge"]
    assert all(each.max_payload_mb < 6 for each in of_that_type)
    smaller = USED._replace(max_payload_mb=3)
    known = read_known_settings(
        [row(), row(smaller, size=0, speed=1, is_trial=True)],
        "churn-model",
        SearchSpace(types={"ml.m5.xlarge": TypeOption(
            dollars_per_second=1e-4, default_bytes_per_second=1.0, default_concurrency=4)}, max_payload_mb=100),
    )  # fmt: skip
    assert known is not None
    assert known.is_ruled_out(smaller)
    assert not known.is_ruled_out(USED)
    assert not known.is_ruled_out(USED._replace(max_payload_mb=12))


def test_a_type_that_trials_do_not_get_is_not_asked_for_night_after_night() -> None:
    """The records of such a trial are a job of their own: it costs a start-up, and others are tried in its place."""

    def refused(night: int) -> HistoryRow:
        found = row(USED._replace(instance_type="ml.c5.xlarge"), night=night, size=0, speed=1, is_trial=True)
        nothing = dict.fromkeys(("max_concurrent_transforms", "max_payload_mb", "batch_strategy"))
        return found.model_copy(update={**nothing, "trial_extra_dollars": 0.01})

    def list_tried(*more: HistoryRow) -> set[str]:
        return {each.instance_type for each in plan([*NIGHTS, *more]).trials}

    assert "ml.c5.xlarge" in list_tried() & list_tried(refused(1))
    assert list_tried(refused(1), refused(2))
    assert "ml.c5.xlarge" not in list_tried(refused(1), refused(2))


def test_vcpus_of_an_accelerator_are_never_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried as what may be as cheap as the others, and later known by what it measured."""
    count = sizing.count_vcpus

    def count_others(instance_type: str) -> int:
        assert "g4dn" not in instance_type
        return count(instance_type)

    monkeypatch.setattr(sizing, "count_vcpus", count_others)
    trials = plan(NIGHTS).trials
    assert [each.max_concurrent_transforms for each in trials if each.instance_type == "ml.g4dn.xlarge"] == [
        4
    ]


def test_a_server_that_logs_no_requests_is_not_measured_by_trials() -> None:
    """A trial's start-up would count as its work."""
    silent = row(busy_seconds=None, start_seconds=None)
    assert "no transform of this model was measured yet" in get_reason(plan([silent]))


@given(
    sizes=st.lists(st.integers(1, 1_000), max_size=60),
    wanted=st.lists(st.integers(1, 20_000), max_size=MAX_TRIALS),
)
def test_trials_take_different_objects_and_never_more_than_half(sizes: list[int], wanted: list[int]) -> None:
    trials = [
        TrialPlan(
            **USED._asdict(),
            bytes=each,
            max_runtime_seconds=1,
            max_provisioning_seconds=1,
            usual_dollars_per_byte=0.0,
        )
        for each in wanted
    ]
    picked = pick_for_trials(sizes, trials, 4 * sum(sizes))
    everything = [position for each in picked for position in each]
    assert len(picked) == len(trials)
    assert len(set(everything)) == len(everything) <= len(sizes) / 2
    assert all(0 <= position < len(sizes) for position in everything)


def test_a_trial_takes_about_its_bytes_from_all_over_the_objects() -> None:
    trial = TrialPlan(
        **USED._asdict(),
        bytes=1_000,
        max_runtime_seconds=1,
        max_provisioning_seconds=1,
        usual_dollars_per_byte=0.0,
    )
    everywhere = [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
    assert pick_for_trials([100] * 100, [trial], 10_000) == [everywhere]
    # The same of text that lies there as a quarter, and beside an object that would take the trial for hours.
    assert pick_for_trials([25] * 100, [trial], 10_000) == [everywhere]
    assert pick_for_trials([*[100] * 100, 10_000], [trial], 20_000) == [everywhere]


def test_a_night_that_is_slow_for_all_does_not_look_like_slow_settings() -> None:
    """The trial and the run of one night are compared with each other."""
    same = USED._replace(max_concurrent_transforms=8)
    rows = [row(night=night) for night in range(1, 4)]
    rows += [
        row(night=4, speed=SPEED / 2),
        row(same, night=4, speed=SPEED / 2, size=240_000_000, is_trial=True),
    ]
    space = SearchSpace(
        types={"ml.m5.xlarge": TypeOption(
            dollars_per_second=1e-4, default_bytes_per_second=1.0, default_concurrency=4)},
        max_payload_mb=100,
    )  # fmt: skip
    known = read_known_settings(rows, "churn-model", space)
    assert known is not None
    assert math.exp(known.cost.compare(same, USED).mean) == pytest.approx(1, abs=0.1)


def test_shards_are_small_enough_for_a_trial_and_a_run_with_too_few_records_says_so() -> None:
    """A trial takes whole shards, and has several requests for each slot."""
    assert plan(NIGHTS, size=4_000_000_000).transform.shards >= 100
    slow = [row(night=night, speed=SPEED / 400, size=200_000_000) for night in range(1, 8)]
    planned = plan(slow, size=200_000_000)
    assert "takes at most 5% of its records, which are too few to measure by" in get_reason(planned)


@pytest.mark.parametrize("quotas", [{}, {"ml.m5.xlarge for transform job usage": 0}])
def test_a_type_that_was_never_measured_is_taken_where_no_run_could_start_without_it(
    quotas: dict[str, int],
) -> None:
    """One that is larger may keep a deadline that is lost on the measured one, and another has a quota of its own."""
    types = {"instance_types": ["ml.c5.9xlarge"], "max_instances": 1}
    of = pipeline({
        **EXPLORE, "transform": types, "prices": {**PRICES, "ml.c5.9xlarge": 1.836},
        "goals": {"calibrate": "explore", **({} if quotas else {"deadline": "600"})},
    })  # fmt: skip
    made = make_plan(
        of, RunParams(), objects([NIGHT_BYTES // 20] * 20), run_info(), context(of, history=[row()], quotas=quotas)
    )  # fmt: skip
    assert made.transform.instance_type == "ml.c5.9xlarge"
