"""The charts show a run's figures, say them in words, and are SVG that a browser draws without script."""

from __future__ import annotations

import math
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.pricing.costs import merge_jobs
from batch_inference.reporting.charts import Chart, build_charts
from batch_inference.reporting.charts.svg import (
    MAX_LABEL_LENGTH,
    choose_ticks,
    choose_time_ticks,
    shorten_label,
)
from batch_inference.reporting.charts.trends import MAX_RUNS, PANEL_HEIGHT, build_trends_chart
from batch_inference.reporting.live import build_live_report
from batch_inference.reporting.summary import build_summary
from tests.unit.builders import plan
from tests.unit.reporting.test_report import HOSTILE, job, report, trial

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


class Mark(NamedTuple):
    """A bar of a chart: its class, value, title, and where it is, as shares of the width."""

    colour: str
    value: float
    title: str
    start: float
    width: float

    @property
    def label(self) -> str:
        """The first line of the title."""
        return self.title.partition("\n")[0]


def marks(picture: Chart) -> list[Mark]:
    """The bars of a chart, read as a browser would."""
    return [
        Mark(
            rect.attrib["class"],
            float(rect.attrib["data-value"]),
            str(rect[0].text),
            float(rect.attrib["x"].rstrip("%")) / 100,
            float(rect.attrib["width"].rstrip("%")) / 100,
        )
        for rect in ET.fromstring(str(picture.svg)).iter("rect")
        if "data-value" in rect.attrib
    ]


def texts(picture: Chart) -> list[str]:
    """The texts of a chart that are shown all the time."""
    return [str(each.text) for each in ET.fromstring(str(picture.svg)).iter("text")]


def values(picture: Chart, colour: str | None = None) -> dict[str, float]:
    """The values of a chart's bars by their label."""
    return {mark.label: mark.value for mark in marks(picture) if colour in (None, mark.colour)}


def test_a_report_with_everything_has_a_plot_of_everything_in_order() -> None:
    assert [picture.name for picture in build_charts(everything())] == [
        "funnel", "timeline", "predictions-0", "predictions-1", "groups-0-rejected", "groups-0-mean-0", "cost",
    ]  # fmt: skip


def test_the_funnel_accounts_for_every_record() -> None:
    funnel = named("funnel", everything())
    assert values(funnel) == {
        "In": 68, "Rejected: no duplicates": 5, "Rejected: arity": 3, "Scored": 60, "Joined and published": 60,
    }  # fmt: skip
    assert funnel.caption == (
        "68 records came in, 8 were rejected, 60 were scored and 60 published: every record is accounted for."
    )


def test_many_reasons_share_a_row_and_lose_no_record() -> None:
    figures = everything()
    figures["records"] = {**figures["records"], "rejected_by_reason": {f"rule {n}": n for n in range(1, 21)}}
    bars = {label: number for label, number in values(named("funnel", figures)).items() if "ejected" in label}
    assert sum(bars.values()) == sum(range(1, 21))
    assert bars["Rejected: 8 other reasons"] == sum(range(1, 9))


def test_the_time_line_shows_when_each_instance_worked_and_never_more_than_is_billed() -> None:
    timeline = named("timeline", everything())
    # 450 s fill the width.
    drawn = {
        (mark.label, mark.title.split("\n")[1].split()[0], round(mark.start * 450), mark.value)
        for mark in marks(timeline)
    }
    assert drawn == {
        ("preprocess 1", "provisioning,", 0, 200), ("preprocess 2", "provisioning,", 0, 200),
        ("preprocess 1", "running,", 200, 100), ("preprocess 2", "running,", 200, 100),
        ("transform 1", "provisioning,", 310, 90), ("transform 2", "provisioning,", 310, 90),
        ("transform 1", "idle,", 400, 10), ("transform 1", "working", 410, 30), ("transform 1", "idle,", 440, 10),
        # What its clock says lies before the job's start is cut off.
        ("transform 2", "working", 400, 50),
    }  # fmt: skip
    assert [text for text, _ in timeline.legend] == ["Provisioning", "Idle", "Working", "Running"]
    assert texts(timeline)[:2] == ["preprocess, 2 instances", "ran 1 min 40 s"]
    assert texts(timeline)[-4:] == ["0", "2 min", "4 min", "6 min"]
    assert "Transform ran 50 s on 2 instances, idle for 40% of what is billed." in timeline.caption


def test_a_large_cluster_is_drawn_in_part_and_says_so() -> None:
    figures = report(jobs={"preprocess": job("preprocess", instance_count=50), "transform": job("transform")})
    timeline = named("timeline", figures)
    assert "preprocess, 16 of 50 instances" in texts(timeline)
    assert len(values(timeline)) == 18


def test_predictions_are_shares_of_rows_over_those_of_the_run_before() -> None:
    numbers, answers = named("predictions-0", everything()), named("predictions-1", everything())
    assert [text for text, _ in numbers.legend] == ["This run", "Previous run"]
    assert values(numbers) == {"0 to 5": 0.75, "5 to 10": 0.25}
    assert "outline" in numbers.svg
    assert numbers.caption == (
        "churn: mean 4, from 0 to 10; 2 rows without a value. The previous run had mean 5, from 0 to 10."
    )
    assert values(answers, "good") == values(answers, "text") == {"yes": 0.75, "no": 0.25}
    assert texts(answers) == ["yes", "75%", "no", "25%"]


@pytest.mark.parametrize("before", [None, {}, {"predictions": None}, {"predictions": {"churn": TEXTS}}])
def test_without_a_run_to_compare_with_the_plot_stands_alone(before: Any) -> None:
    drawn = named("predictions-0", everything(previous=before))
    assert drawn.legend == ()
    assert "outline" not in drawn.svg
    assert "no previous run" in drawn.caption


def test_one_constant_prediction_can_be_seen() -> None:
    constant = {**NUMBERS, "min": 3.0, "max": 3.0, "histogram": {"edges": [3.0, 3.0], "counts": [60]}}
    drawn = named("predictions-0", everything(predictions={"churn": constant}, previous=None))
    assert values(drawn) == {"2.5 to 3.5": 1.0}
    assert drawn.caption.startswith("churn: the one value 3;")


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
    assert values(rejected) == {"F: 20%": 0.2, "(unreadable): 100%": 1.0}
    assert texts(rejected) == ["F", "20%", "M", "0%", "(unreadable)", "100%"]
    assert values(means) == {"F: 0.5": 0.5, "M: -0.25": -0.25}
    above, below = marks(means)
    for zero in (above.start, below.start + below.width):
        assert zero == pytest.approx(1 / 3, abs=1e-3), "both begin at zero"
    assert means.caption == "Mean churn by sex: from -0.25 in M to 0.5 in F."


def test_the_cost_is_compared_with_an_unsized_run_that_has_the_same_stages() -> None:
    """What failed attempts and trials cost is shown as such, and an endpoint's day is no bar."""
    jobs = {
        "preprocess": job("preprocess"),
        "transform": job("transform", earlier_attempts=[{"billed_seconds": 50.0}], start_seconds=20.0),
    }
    figures = report(jobs=jobs, trials=[trial()])
    cost = named("cost", figures)
    price = 0.23 / 3600
    naive = figures["comparison"]["naive"]["dollars"]
    assert values(cost) == {
        "This run: preprocess": pytest.approx(200 * price),
        "This run: transform": pytest.approx(200 * price),
        "This run: trials": pytest.approx(50 * price / 2),
        "This run: failed attempts": pytest.approx(50 * price),
        "Without sizing, on 4 instances: preprocess": pytest.approx(200 * price),
        "Without sizing, on 4 instances: transform": pytest.approx(naive),
    }
    assert [text for text, _ in cost.legend] == ["Preprocess", "Transform", "Trials", "Failed attempts"]
    own, endpoint = figures["total"]["dollars"], figures["comparison"]["endpoint"]
    assert sum(number for label, number in values(cost).items() if "This run" in label) == pytest.approx(own)
    assert cost.caption.endswith(
        f"An endpoint of one ml.m5.xlarge costs $5.52 a day, as much as {int(5.52 / own)} such runs, and is cheaper "
        f"from {endpoint['breakeven_records_per_day']:,} records a day."
    )


def test_an_unknown_price_is_no_plot() -> None:
    figures = report(
        jobs={"preprocess": job("preprocess"), "transform": job("transform", instance_type="ml.c4.xlarge")}
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
    assert values(timeline, "other") == {"preprocess 1": 800.0, "preprocess 2": 800.0}
    assert timeline.caption == "Preprocess runs on 2 instances. Provisioning is not billed."


def test_a_job_that_waits_for_its_instances_is_drawn_as_unbilled() -> None:
    waiting = job("preprocess", status="InProgress", started_at=None, ended_at=None)
    timeline = named("timeline", live(preprocess=waiting))
    assert values(timeline) == {"preprocess 1": 1000.0, "preprocess 2": 1000.0}
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
    assert values(timeline, "waiting") == {"transform 1": 100.0, "transform 2": 200.0, "transform 3": 700.0}
    assert values(timeline, "other") == {"transform 1": 50.0, "transform 2": 500.0}
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
    # 600 s fill the width.
    spans = [
        (round(mark.start * 600), round((mark.start + mark.width) * 600))
        for mark in marks(timeline)
        if mark.colour == "idle"
    ]
    assert spans == [(400, 410), (400, 410)], "from the start to the first record, and not after the end"
    assert figures["stages"][1]["billed_seconds"] == 250.0


def test_trends_need_two_runs_and_leave_gaps_where_nothing_is_known() -> None:
    one = build_summary(report())
    assert build_trends_chart([one]) is None
    drawn = build_trends_chart([one, {**one, "dollars": None, "data_time": "2026-02-01T02:00:00+00:00"}])
    assert drawn is not None
    assert [mark.value for mark in marks(drawn) if "Records in" in mark.title] == [68, 68]
    assert [mark.value for mark in marks(drawn) if "Cost" in mark.title] == [pytest.approx(one["dollars"])]
    assert "1 Feb 2026, 02:00 UTC\nCost: unknown" in drawn.svg
    assert "last unknown, most $0.0192" in texts(drawn)
    assert drawn.caption.startswith("Records in: 68, last 68. Rejected: 11.8%, last 11.8%."), (
        "no range of equal ends"
    )


def test_a_few_rejected_records_are_drawn_low() -> None:
    run = build_summary(report())
    run["records"] = {"in": 100_000, "rejected": 100, "scored": 99_900}
    drawn = build_trends_chart([run, run])
    assert drawn is not None
    heights = {
        float(rect.attrib["height"])
        for rect in ET.fromstring(str(drawn.svg)).iter("rect")
        if "Rejected" in str(rect[0].text) and "data-value" in rect.attrib
    }
    assert heights == {PANEL_HEIGHT / 10}


def test_trends_are_of_the_last_runs() -> None:
    runs = [
        {**build_summary(report()), "data_time": f"2026-01-01T{number // 60:02d}:{number % 60:02d}:00+00:00"}
        for number in range(MAX_RUNS + 3)
    ]
    drawn = build_trends_chart(runs)
    assert drawn is not None
    assert drawn.title == f"Last {MAX_RUNS} published runs"
    assert texts(drawn)[-2:] == ["1 Jan 2026, 00:03 UTC", "1 Jan 2026, 00:32 UTC"]


def test_a_picture_is_named_by_its_caption_and_has_no_style_or_script() -> None:
    run = build_summary(report())
    trends = build_trends_chart([run, run])
    assert trends is not None
    for picture in [*build_charts(everything()), trends]:
        root = ET.fromstring(str(picture.svg))
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"].endswith(picture.caption)
        assert {each.tag for each in root.iter()} <= {"svg", "rect", "title", "text", "line", "polyline"}
        assert not {name for each in root.iter() for name in each.attrib if name in ("style", "id", "fill")}


def test_no_text_of_the_data_is_markup() -> None:
    hostile = f"{HOSTILE}\x00\x1b[31m<b>&lt;"
    figures = everything(
        predictions={hostile: {**TEXTS, "values": {hostile: 60}}},
        groups=[{"column": hostile, "groups": [{**GROUPS[0]["groups"][0], "group": hostile}]}],
    )
    figures["records"] = {**figures["records"], "rejected_by_reason": {hostile: 8}}
    for picture in build_charts(figures):
        shown = "".join(ET.fromstring(str(picture.svg)).itertext())
        assert "<img" not in picture.svg
        assert "<script" not in picture.svg
        assert "\x00" not in shown
        assert "\x1b" not in shown
    assert "<script>alert(1)" in "".join(ET.fromstring(str(named("funnel", figures).svg)).itertext())


def test_labels_that_begin_alike_stay_apart() -> None:
    first, second = shorten_label("a" * 40 + "1"), shorten_label("a" * 40 + "2")
    assert first != second
    assert len(first) == len(second) == MAX_LABEL_LENGTH
    assert shorten_label("short") == "short"


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [
        (0, ["0"]),
        (0.9, ["0", "0.5 s"]),
        (90, ["0", "30 s", "60 s", "90 s"]),
        (600, ["0", "5 min", "10 min"]),
        (14_400, ["0", "1 h", "2 h", "3 h", "4 h"]),
        (1e6, ["0", "72 h", "144 h", "216 h"]),
    ],
)
def test_time_has_ticks_of_one_unit(seconds: float, ticks: list[str]) -> None:
    assert [text for _, text in choose_time_ticks(seconds)] == ticks


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 0.75, ["0", "0.2", "0.4", "0.6"]),
        (-3, 7, ["-2.5", "0", "2.5", "5"]),
        (1_000_000, 1_000_000.4, ["1000000", "1000000.1", "1000000.2", "1000000.3", "1000000.4"]),
        (0, 1_500_000, ["0", "500,000", "1,000,000", "1,500,000"]),
        (2, 2, ["2"]),
        (math.nan, 1, []),
    ],
)
def test_axes_have_round_ticks(low: float, high: float, ticks: list[str]) -> None:
    assert [text for _, text in choose_ticks(low, high)] == ticks


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_any_range_has_few_ticks_inside_it(first: float, second: float) -> None:
    low, high = sorted((first, second))
    ticks = choose_ticks(low, high)
    assert len(ticks) <= 5
    room = (high / 2 - low / 2) * 1e-6
    assert all(low - room <= place <= high + room or low == high for place, _ in ticks)
