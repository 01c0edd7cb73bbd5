"""The plots show a run's figures, say them in words, and are plots that plotly knows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from batch_inference.pricing.costs import merge_jobs
from batch_inference.reporting.charts import Chart, build_charts
from batch_inference.reporting.charts.chart import build_labels, escape_label
from batch_inference.reporting.charts.trends import build_trends_chart
from batch_inference.reporting.live import build_live_report
from batch_inference.reporting.page import PAGE_FOLDER
from batch_inference.reporting.summary import build_summary
from tests.unit.builders import plan
from tests.unit.reporting.test_report import HOSTILE, job, report

NUMBERS = {
    "kind": "number", "count": 60, "nulls": 2, "min": 0.0, "max": 10.0, "mean": 4.0, "std": 1.0,
    "histogram": {"edges": [0.0, 5.0, 10.0], "counts": [45, 15]},
}  # fmt: skip
TEXTS = {"kind": "text", "count": 60, "nulls": 0, "values": {"yes": 45, "no": 15}, "others": 0}
GROUPS: list[dict[str, Any]] = [
    {
        "column": "sex",
        "groups": [
            {"group": "F", "records": 40, "rejected_share": 0.2, "mean_prediction": {"churn": 0.5}},
            {"group": "M", "records": 28, "rejected_share": 0.0, "mean_prediction": {"churn": -0.25}},
            {"group": "(unreadable)", "records": 1, "rejected_share": 1.0, "mean_prediction": {}},
        ],
    }
]


GATES = [
    {
        "gate": "nulls",
        "column": "churn",
        "then": "hold",
        "outcome": "passed",
        "sentence": "churn: 2 of 62 are missing.",
    },
    {
        "gate": "rows",
        "column": None,
        "then": "warn",
        "outcome": "warned",
        "sentence": "60 rows are 0.20 times the 300.",
    },
]


def everything(**more: Any) -> dict[str, Any]:
    """A report that has all that there are plots of."""
    worked = [
        {"instance": "algo-1", "from": 1410.0, "to": 1440.0},
        {"instance": "algo-2", "from": 1390.0, "to": 1450.0},
    ]
    transform = job(
        "transform",
        created_at=1310.0,
        started_at=1400.0,
        ended_at=1450.0,
        busy_seconds=60.0,
        instances=worked,
    )
    quality = {
        "predictions": {"churn": NUMBERS, "answer": TEXTS},
        "previous": {"predictions": {"churn": {**NUMBERS, "mean": 5.0}, "answer": TEXTS}},
        "groups": GROUPS,
        "checks": {"state": "passed", "gates": GATES},
    }
    given = {name: more.pop(name) for name in quality if name in more}
    figures = report(jobs={"preprocess": job("preprocess"), "transform": transform})
    return {**figures, "quality": {**quality, **given}, **more}


def named(name: str, figures: dict[str, Any]) -> Chart:
    return next(picture for picture in build_charts(figures) if picture.name == name)


def rows(picture: Chart, trace: int = 0) -> dict[str, float]:
    """The bars of a trace by their label."""
    drawn = picture.figure["data"][trace]
    return dict(zip(drawn["y"], drawn["x"], strict=True))


def test_a_report_with_everything_has_a_plot_of_everything_in_order() -> None:
    assert [picture.name for picture in build_charts(everything())] == [
        "funnel", "timeline", "predictions-0", "predictions-1", "groups-0-rejected", "groups-0-mean-0", "cost",
    ]  # fmt: skip


def test_the_funnel_accounts_for_every_record() -> None:
    funnel = named("funnel", everything())
    assert rows(funnel) == {
        "In": 68, "Rejected: no duplicates": 5, "Rejected: arity": 3, "Scored": 60, "Joined and published": 60,
    }  # fmt: skip
    assert funnel.caption == (
        "68 records came in, 8 were rejected, 60 were scored and 60 published: every record is accounted for."
    )


def test_many_reasons_share_a_row_and_lose_no_record() -> None:
    figures = everything()
    figures["records"] = {**figures["records"], "rejected_by_reason": {f"rule {n}": n for n in range(1, 21)}}
    bars = {label: number for label, number in rows(named("funnel", figures)).items() if "ejected" in label}
    assert sum(bars.values()) == sum(range(1, 21))
    assert bars["Rejected: 8 other reasons"] == sum(range(1, 9))


def test_the_time_line_shows_when_each_instance_worked_and_never_more_than_is_billed() -> None:
    timeline = named("timeline", everything())
    drawn = {
        (row, trace["name"], start, length)
        for trace in timeline.figure["data"]
        for row, start, length in zip(trace["y"], trace["base"], trace["x"], strict=True)
        if length
    }
    assert drawn == {
        ("preprocess 1", "Provisioning", 0, 200), ("preprocess 2", "Provisioning", 0, 200),
        ("preprocess 1", "Running", 200, 100), ("preprocess 2", "Running", 200, 100),
        ("transform 1", "Provisioning", 310, 90), ("transform 2", "Provisioning", 310, 90),
        ("transform 1", "Idle", 400, 10), ("transform 1", "Working", 410, 30),
        ("transform 1", "Idle", 440, 10),
        # What its clock says lies before the job's start is cut off.
        ("transform 2", "Working", 400, 50),
    }  # fmt: skip
    assert "Transform ran 50 s on 2 instances, idle for 40% of what is billed." in timeline.caption


def test_a_large_cluster_is_drawn_in_part_and_says_so() -> None:
    figures = report(jobs={"preprocess": job("preprocess", instance_count=50), "transform": job("transform")})
    timeline = named("timeline", figures)
    assert "preprocess 16 of 50" in timeline.figure["data"][0]["y"]
    assert len(timeline.figure["data"][0]["y"]) == 18


def test_predictions_are_shares_of_rows_over_those_of_the_run_before() -> None:
    numbers, texts = named("predictions-0", everything()), named("predictions-1", everything())
    assert [trace["name"] for trace in numbers.figure["data"]] == ["Previous run", "This run"]
    assert max(numbers.figure["data"][1]["y"]) == 0.75
    assert numbers.caption == (
        "churn: mean 4, from 0 to 10; 2 rows without a value. The previous run had mean 5, from 0 to 10."
    )
    assert texts.figure["data"][1]["y"] == [0.75, 0.25]


@pytest.mark.parametrize("before", [None, {}, {"predictions": None}, {"predictions": {"churn": TEXTS}}])
def test_without_a_run_to_compare_with_the_plot_stands_alone(before: Any) -> None:
    drawn = named("predictions-0", everything(previous=before))
    assert [trace["name"] for trace in drawn.figure["data"]] == ["This run"]
    assert "no previous run" in drawn.caption


def test_one_constant_prediction_can_be_seen() -> None:
    constant = {**NUMBERS, "min": 3.0, "max": 3.0, "histogram": {"edges": [3.0, 3.0], "counts": [60]}}
    drawn = named("predictions-0", everything(predictions={"churn": constant}, previous=None))
    assert drawn.figure["data"][0]["x"] == [2.5, 2.5, 3.5, 3.5]


def test_predictions_that_are_all_missing_have_no_plot() -> None:
    assert not [
        picture
        for picture in build_charts(
            everything(predictions={"churn": {"kind": "number", "count": 0, "nulls": 60}})
        )
        if picture.name.startswith("predictions")
    ]


def test_groups_are_compared_in_rejects_and_in_predictions() -> None:
    rejected, means = named("groups-0-rejected", everything()), named("groups-0-mean-0", everything())
    assert rows(rejected) == {"F": 0.2, "M": 0.0, "(unreadable)": 1.0}
    assert rows(means) == {"F": 0.5, "M": -0.25}
    assert means.caption == "Mean churn by sex: from -0.25 in M to 0.5 in F."


def test_the_cost_stands_beside_what_it_would_have_been() -> None:
    figures = everything()
    cost = named("cost", figures)
    own = {trace["name"]: trace["x"] for trace in cost.figure["data"][:2]}
    assert own == {f"This run: {stage['stage']}": [stage["dollars"]] for stage in figures["stages"]}
    assert (
        f"cheaper from {figures['comparison']['endpoint']['breakeven_records_per_day']:,} records a day"
        in cost.caption
    )


def test_an_unknown_price_is_no_plot() -> None:
    figures = report(
        jobs={"preprocess": job("preprocess"), "transform": job("transform", instance_type="ml.c5.xlarge")}
    )
    assert "cost" not in [picture.name for picture in build_charts(figures)]


def live(**stages: dict[str, Any] | list[dict[str, Any]]) -> dict[str, Any]:
    planned = plan([20_000_000] * 2).to_xcom()
    jobs = {stage: each if isinstance(each, list) else [each] for stage, each in stages.items()}
    return build_live_report(plan=planned, jobs=jobs, shard_stats=None, as_of=2000.0)


def test_a_run_that_has_only_a_plan_has_no_plots_yet() -> None:
    assert build_charts(live()) == []


def test_a_job_that_runs_is_drawn_up_to_now() -> None:
    timeline = named("timeline", live(preprocess=job("preprocess", status="InProgress", ended_at=None)))
    assert rows(timeline, 1) == {"preprocess 1": 800.0, "preprocess 2": 800.0}
    assert timeline.caption == "Preprocess runs on 2 instances. Provisioning is not billed."


def test_a_job_that_waits_for_its_instances_is_drawn_as_unbilled() -> None:
    waiting = job("preprocess", status="InProgress", started_at=None, ended_at=None)
    timeline = named("timeline", live(preprocess=waiting))
    assert rows(timeline) == {"preprocess 1": 1000.0, "preprocess 2": 1000.0}
    assert timeline.caption == "Preprocess waits for 2 instances. Provisioning is not billed."


def several_jobs() -> list[dict[str, Any]]:
    """One that has ended, one at work, one without an instance yet, one that nobody was asked about."""
    own = {"instance_count": 1, "created_at": 1300.0}
    return [
        job("transform", **own, status="Completed", started_at=1400.0, ended_at=1450.0),
        job("transform", **own, status="InProgress", started_at=1500.0, ended_at=None),
        job("transform", **own, status="InProgress", started_at=None, ended_at=None),
        job("transform", instance_count=1, status="unknown", created_at=None, started_at=None, ended_at=None),
    ]


def test_each_of_several_jobs_is_drawn_and_billed_for_its_own_time() -> None:
    """To now where it has not ended."""
    figures = live(transform=several_jobs())
    timeline = named("timeline", figures)
    assert rows(timeline) == {"transform 1": 100.0, "transform 2": 200.0, "transform 3": 700.0}
    assert rows(timeline, 1) == {"transform 1": 50.0, "transform 2": 500.0}
    assert timeline.caption == "Transform runs on 4 instances in 4 jobs. Provisioning is not billed."
    [stage] = figures["stages"]
    assert (stage["billed_seconds"], stage["status"], stage["ended_at"]) == (550.0, "InProgress", None)


def test_several_jobs_that_have_ended_are_idle_only_while_they_are_billed() -> None:
    jobs = [
        job(
            "transform", instance_count=1, status="Completed", created_at=1300.0, started_at=1400.0, ended_at=end,
            billed_seconds=end - 1400.0, busy_seconds=end - 1410.0,
            instances=[{"instance": "algo-1", "from": 1410.0, "to": end}],
        )
        for end in (1450.0, 1600.0)
    ]  # fmt: skip
    figures = report(jobs={"preprocess": job("preprocess"), "transform": merge_jobs(jobs)})
    timeline = named("timeline", figures)
    [idle] = [trace for trace in timeline.figure["data"] if trace["name"] == "Idle"]
    spans = [(base, base + length) for base, length in zip(idle["base"], idle["x"], strict=True) if length]
    assert spans == [(400.0, 410.0), (400.0, 410.0)], (
        "from the start to the first record, and not after the end"
    )
    assert figures["stages"][1]["billed_seconds"] == 250.0


def test_trends_need_two_runs_and_leave_gaps_where_nothing_is_known() -> None:
    one = build_summary(report())
    assert build_trends_chart([one]) is None
    drawn = build_trends_chart([one, {**one, "dollars": None, "data_time": "2026-02-01T02:00:00+00:00"}])
    assert drawn is not None
    records, _, _, cost = drawn.figure["data"]
    assert records["y"] == [68, 68]
    assert cost["y"] == [one["dollars"], None]
    assert cost["customdata"][1] == "unknown"


def known_to_plotly(picture: Chart) -> None:
    """Raise ValueError when plotly does not know an attribute or a value; colours are filled in as `draw.js` does."""
    from plotly import graph_objects

    style = (PAGE_FOLDER / "style.css").read_text()
    assert set(re.findall(r"var\((--[a-z-]+)\)", json.dumps(picture.figure))) <= set(
        re.findall(r"(--[a-z-]+):", style)
    )
    graph_objects.Figure(json.loads(re.sub(r"var\(--[a-z-]+\)", "#123456", json.dumps(picture.figure))))


def test_plotly_knows_every_attribute_of_every_plot() -> None:
    run = build_summary(report())
    drawn = build_trends_chart([run, run])
    assert drawn is not None
    for picture in [*build_charts(everything()), drawn]:
        known_to_plotly(picture)


def test_no_text_of_the_data_is_markup_to_plotly() -> None:
    hostile = f"{HOSTILE}\x00\x1b[31m<b>&lt;"
    figures = everything(
        predictions={hostile: {**TEXTS, "values": {hostile: 60}}},
        groups=[{"column": hostile, "groups": [{**GROUPS[0]["groups"][0], "group": hostile}]}],
    )
    figures["records"] = {**figures["records"], "rejected_by_reason": {hostile: 8}}
    for picture in build_charts(figures):
        known_to_plotly(picture)
        drawn = json.dumps(picture.figure)
        assert "<img" not in drawn
        assert "<script" not in drawn
        assert "\\u0000" not in drawn
        assert "\\u001b" not in drawn


def test_labels_that_begin_alike_stay_apart() -> None:
    assert len(set(build_labels(["a" * 40 + "1", "a" * 40 + "2", "b"]))) == 3
    assert escape_label("a<b>&amp;\x07") == "a&lt;b&gt;&amp;amp;·"


@pytest.mark.parametrize(
    ("seconds", "drawn_as", "suffix"), [(90, 90, " s"), (600, 10, " min"), (14_400, 4, " h")]
)
def test_durations_are_drawn_in_a_unit_of_few_digits(seconds: int, drawn_as: float, suffix: str) -> None:
    run = {**build_summary(report()), "data_time": "2026-01-31T02:00:00+00:00", "seconds": seconds}
    drawn = build_trends_chart([{**run, "seconds": None}, run])
    assert drawn is not None
    durations = next(each for each in drawn.figure["data"] if each["name"] == "Duration")
    assert durations["y"] == [None, drawn_as]
    axis = drawn.figure["layout"]["yaxis" + durations["yaxis"][1:]]
    assert axis["ticksuffix"] == suffix
