"""The report shows the figures of a run to a program, on a terminal and in a browser, and hides nothing unknown."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from batch_inference.common.formatting import format_dollars
from batch_inference.planning.clusters.rate_history import build_history_rows
from batch_inference.planning.plan import Plan
from batch_inference.publishing.manifest import build_manifest
from batch_inference.reporting.report import build_report, render_html, render_text
from batch_inference.reporting.warnings import build_warnings
from batch_inference.verification.host_manifests import merge_host_manifests
from batch_inference.verification.reconciliation import reconcile
from tests.unit.builders import pipeline, plan
from tests.unit.verification.test_reconciliation import JOINED, two_hosts

ROW = {
    "sex": "M", "length": 0.455, "diameter": 0.365, "height": 0.095, "whole_weight": 0.514, "shucked_weight": 0.2245,
    "viscera_weight": 0.101, "shell_weight": 0.15, "rings": 15, "predicted_rings": 9.123456789,
}  # fmt: skip


QUALITY: dict[str, Any] = {
    "checks": {"version": 1, "run_id": "r", "judged_in": "r", "state": "passed", "gates": []},
    "predictions": {}, "previous": None, "groups": [], "columns": {}, "profile": "s3://w/profile.json", "statistics": "s3://w/s.json",
}  # fmt: skip


REJECT_DETAILS: dict[str, Any] = {
    "groups": [
        {"rule": "no duplicates", "column": "", "records": 5, "examples": []},
        {"rule": "arity", "column": "", "records": 3, "examples": [
            {
                "source": "s3://data/in/a.csv", "line": 7, "record": 6, "found": "2 fields",
                "allowed": "8, as the other records of the object have", "text": "a,1",
            },
        ]},
    ],
    "withheld_columns": [],
    "prefixes": ["s3://data/work/churn/run/pre/rejects/", "s3://data/work/churn/run/transform/rejects/"],
}  # fmt: skip


TRIAL: dict[str, Any] = {
    "instance_type": "ml.m5.large", "max_concurrent_transforms": 8, "max_payload_mb": 6,
    "batch_strategy": "MultiRecord", "bytes": 4_000_000, "max_runtime_seconds": 600, "max_provisioning_seconds": 480,
    "usual_dollars_per_byte": 1e-10,
}  # fmt: skip


def job(stage: str, **changes: Any) -> dict[str, Any]:
    return {
        "job_name": f"churn-{stage}-0123456789ab-deadbeef-1", "instance_type": "ml.m5.xlarge", "instance_count": 2,
        "created_at": 1000.0, "started_at": 1200.0, "ended_at": 1300.0, "attempt": 1, "busy_seconds": 150.0,
        "model_name": "churn-model", **changes,
    }  # fmt: skip


def report(
    *,
    jobs: dict[str, dict[str, Any]] | None = None,
    rows: list[dict[str, Any]] | None = None,
    measured: bool = False,
    trials: list[dict[str, Any]] | None = None,
    details: dict[str, Any] | None = None,
    rows_before: list[int] | None = None,
    quality: dict[str, Any] = QUALITY,
    **params: Any,
) -> dict[str, Any]:
    of = pipeline({"transform.instance_types": ["ml.m5.large"]})
    planned = plan([20_000_000, 20_000_000], of=of, **params).to_xcom()
    planned["trials"] = [TRIAL]
    if measured:
        for stage in ("preprocess", "transform"):
            planned["estimate"][stage]["runs"] = 3
    found = merge_host_manifests(two_hosts(), host_count=2)
    facts: dict[str, Any] = {"preprocess_job": "churn-preprocess-0123456789ab-deadbeef-1", "count": 3}
    jobs = jobs or {
        "preprocess": job("preprocess"),
        "transform": job(
            "transform",
            created_at=1310.0,
            started_at=1400.0,
            ended_at=1450.0,
            busy_seconds=60.0,
            instances=[
                {"instance": name, "from": 1400.0 + start, "to": 1450.0}
                for name, start in (("a", 16.0), ("b", 24.0))
            ],
        ),
    }
    manifest = build_manifest(
        plan=Plan.model_validate(planned),
        files=[{"uri": "s3://data/out/date=2026-01-31/part-0.parquet", "rows": 60, "size": 4}],
        reconciled=reconcile(found, JOINED), preprocess_job=facts["preprocess_job"], transform_job=jobs["transform"],
        checks=QUALITY["checks"],
    )  # fmt: skip
    return build_report(
        plan=Plan.model_validate(planned), jobs=jobs, trials=trials or [], shard_stats=facts, manifest=manifest,
        quality=quality, first_rows=[ROW] if rows is None else rows,
        reject_details=REJECT_DETAILS if details is None else details, rows_before=rows_before or [],
    )  # fmt: skip


def test_the_figures_of_a_run() -> None:
    figures = report()
    assert figures["records"] == {
        "in": 68, "rejected": 8, "rejected_by_reason": {"no duplicates": 5, "arity": 3}, "scored": 60,
    }  # fmt: skip
    assert [
        (stage["stage"], stage["billed_seconds"], stage["idle_seconds"], stage["idle_share"])
        for stage in figures["stages"]
    ] == [("preprocess", 200.0, 50.0, 0.25), ("transform", 100.0, 40.0, 0.4)]
    assert figures["total"]["billed_seconds"] == 300.0
    assert figures["total"]["idle_seconds"] == 90.0
    assert figures["total"]["seconds"] == 450.0
    assert figures["total"]["dollars"] == pytest.approx(300 * 0.23 / 3600)
    assert figures["total"]["dollars_per_1000_records"] == pytest.approx(300 * 0.23 / 3600 / 60 * 1000)
    assert figures["output"] == {
        "uri": "s3://data/out/date=2026-01-31/", "files": 1, "rows": 60,
        "manifest": "s3://data/out/date=2026-01-31/_manifest.json",
    }  # fmt: skip
    assert figures["first_rows"] == [ROW]
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_the_version_that_scored_is_shown_everywhere() -> None:
    """In figures, on the terminal and in the browser."""
    figures = report()
    figures["model"] = {**figures["model"], "package": "arn:x", "group": "churn", "version": 7}
    assert "model         churn-model, version 7 of churn\n" in render_text(figures)
    assert "churn-model, version 7 of churn" in render_html(figures)
    figures["model"] = {**figures["model"], "version": None, "group": None, "key": "alone"}
    assert "churn-model, of alone" in render_text(figures)


def test_the_reason_of_a_size_stands_beside_it() -> None:
    stages = report(transform_instance_count=2)["stages"]
    assert stages[1]["why"] == ["Transform uses 2 × ml.m5.xlarge, because the trigger form said 2."]


def test_the_report_says_how_far_the_plan_was_off() -> None:
    figures = report(measured=True)
    predicted = figures["estimate"]["preprocess"]["seconds"]
    assert figures["plan_error"]["preprocess"] == pytest.approx(100.0 / predicted - 1)
    assert f"off by {100.0 / predicted - 1:+.0%}" in render_text(figures)
    assert "planned 1 min 31 s, at most 2 min " in render_html(figures)


def test_what_stated_defaults_gave_is_not_held_against_the_plan() -> None:
    """They are AWS's usual times: a laptop starts in a second. The next plan rests on what was measured."""
    figures = report()
    assert figures["plan_error"] == {"preprocess": None, "transform": None}
    text = " ".join(render_text(figures).split())
    assert "since no run was measured before; the next one uses this run" in text
    assert "off by" not in text
    assert "assumed 1 min 31 s, at most 2 min " in render_html(figures)
    assert [row.predicted_seconds for row in build_history_rows(figures)] == [None, None]
    assert all(row.predicted_seconds for row in build_history_rows(report(measured=True)))


def test_each_stage_and_the_whole_have_the_same_figures() -> None:
    """Provisioning, which nobody bills, is kept apart from running."""
    figures = report()
    wanted = {
        "provisioning_seconds", "running_seconds", "billed_seconds", "busy_seconds", "idle_seconds", "idle_share",
        "dollars", "dollars_per_1000_records",
    }  # fmt: skip
    for each in (*figures["stages"], figures["total"]):
        assert wanted <= each.keys()
    whole = figures["total"]
    assert (whole["provisioning_seconds"], whole["running_seconds"]) == (290.0, 150.0)
    assert (whole["busy_seconds"], whole["idle_share"]) == (210.0, 0.3)
    assert whole["dollars_per_1000_records"] == pytest.approx(
        sum(stage["dollars_per_1000_records"] for stage in figures["stages"])
    )


def test_a_stage_that_ran_smaller_than_planned_says_so() -> None:
    stages = report(jobs={"preprocess": job("preprocess"), "transform": job("transform")})["stages"]
    assert stages[1]["why"][-1] == ("It ran on 2 of the 4 planned, because there were fewer shards.")


def test_a_last_job_that_had_little_left_to_do_says_so() -> None:
    """The ones before it failed and had done the rest; they are in the bill."""
    earlier = [{"billed_seconds": 30.0}]
    jobs = {
        "preprocess": job("preprocess"),
        "transform": job("transform", instance_count=1, earlier_attempts=earlier),
    }
    figures = report(jobs=jobs, transform_instance_count=4)
    said = figures["stages"][1]["why"]
    assert "Its last job ran on 1 of the 4 planned, because the earlier ones had left few shards." in said


def test_what_is_not_known_stays_unknown_in_every_form() -> None:
    unknown = job("transform", busy_seconds=None, instance_type="ml.c4.xlarge")
    figures = report(jobs={"preprocess": job("preprocess"), "transform": unknown})
    assert figures["stages"][1]["dollars"] is None
    assert figures["total"]["dollars"] is None
    assert figures["total"]["idle_seconds"] is None
    assert figures["total"]["dollars_per_1000_records"] is None
    text = render_text(figures)
    assert "billed 3 min 20 s, idle unknown, price unknown" in text
    assert "price unknown" in render_html(figures)


def test_the_terminal_summary_fits_80_columns_but_for_addresses() -> None:
    text = render_text(report(rows=[ROW, {**ROW, "sex": "x" * 200, "rings": None}]))
    for line in text.splitlines():
        assert len(line) <= 80 or line.strip().startswith("s3://"), line
    lines = [re.sub(r"\s+", " ", line.strip()) for line in text.splitlines()]
    for wanted in (
        "records in 68", "scored 60", "rejected 8 (11.8%)", "5 no duplicates", "3 arity",
        "preprocess 2 × ml.m5.xlarge, ran 1 min 40 s after 3 min 20 s of provisioning",
        "billed 3 min 20 s, idle 50 s (25%), $0.0128",
        "time 7 min 30 s; assumed 12 min 06 s, at most 15 min 58 s",
        "cost $0.0192; assumed $0.0360, at most $0.0528", "billed 5 min 00 s, idle 1 min 30 s (30%)",
        "$0.3194 per 1,000 records",
        "published 60 rows in 1 file", "s3://data/out/date=2026-01-31/", "The first 2 joined rows:",
    ):  # fmt: skip
        assert wanted in lines, f"{wanted!r} is not in\n{text}"


def test_what_needs_attention_comes_first_on_the_terminal() -> None:
    gates = [
        {"outcome": "passed", "sentence": "churn: none of 60 is missing."},
        {
            "outcome": "warned",
            "sentence": "60 rows are 0.20 times the 300 of the last run, " + "which is few " * 3,
        },
    ]
    lines = render_text({**report(), "warnings": [], "quality": {"checks": {"gates": gates}}}).splitlines()
    assert lines[2].startswith("warned        60 rows are 0.20 times")
    assert lines[3].startswith("              ")
    assert lines[4] == "published     60 rows in 1 file"
    assert "gates         1 of 2 gates passed" in lines


def test_a_plan_that_rests_on_runs_is_called_a_plan() -> None:
    assert "time          7 min 30 s; planned 12 min 06 s" in render_text(report(measured=True))


def test_rejects_are_shown_by_reason_and_column_with_examples() -> None:
    """As a share first, in a warning colour from one in twenty on; with the address of all of them."""
    figures = report()
    page, text = read_html(figures), render_text(figures)
    for words in (
        "11.8% of the records: 8 of 68",
        "no duplicates – 5 7.35%", "arity – 3 4.41%",
        "Example of: arity", "line 7 of a.csv 2 fields 8, as the other records of the object have a,1",
        "All of them, with source, line and text: s3://data/work/churn/run/pre/rejects/",
        "Further ones, with source, line and text: s3://data/work/churn/run/transform/rejects/",
    ):  # fmt: skip
        assert words in page, f"{words!r} is not in\n{page}"
    assert '<strong class="warn">11.8%</strong>' in render_html(figures)
    lines = " ".join(text.split())
    assert "rejected 8 (11.8%) 5 no duplicates 3 arity" in lines
    assert "line 7 of s3://data/in/a.csv: 2 fields, allowed is 8, as the other records" in lines
    assert "s3://data/work/churn/run/transform/rejects/" in lines


def test_examples_without_their_values_say_so() -> None:
    """A pipeline with sensitive columns shows no text of a record, and no value of such a column."""
    (_, group) = REJECT_DETAILS["groups"]
    withheld = {**group, "column": "age", "examples": [{**group["examples"][0], "found": None, "text": None}]}
    figures = report(details={**REJECT_DETAILS, "groups": [withheld], "withheld_columns": ["age"]})
    assert "line 7 of a.csv withheld 8, as" in read_html(figures)
    assert "values of the sensitive columns age, are withheld here" in read_html(figures)
    assert "age is withheld, because the pipeline has sensitive columns" in " ".join(
        render_text(figures).split()
    )


@pytest.mark.parametrize(
    ("rows_before", "sentence"),
    [
        ([200] * 9, "Only 60 rows published: 30% of the 200 that the last 7 runs (median) published."),
        ([150], "Only 60 rows published: 40% of the 150 that the last run published."),
        ([120, 120, 10_000], None),
        ([], None),
    ],
)
def test_a_run_with_far_fewer_rows_than_the_last_ones_says_so_at_the_top(
    rows_before: list[int], sentence: str | None
) -> None:
    """In the same words in the figures, on the page and on the terminal."""
    figures = report(rows_before=rows_before)
    rejected = "11.8% of the records were rejected: 8 of 68 records, 5 of them for: no duplicates."
    assert figures["warnings"] == [*filter(None, [sentence]), rejected]
    for warning in figures["warnings"]:
        assert f'<p class="warn">{warning}</p>' in render_html(figures)
        assert warning in " ".join(render_text(figures).split())


def test_few_rejects_are_no_warning_and_a_gate_has_the_say_on_rows() -> None:
    records = {"in": 1000, "rejected": 49, "rejected_by_reason": {"arity": 49}, "scored": 951}
    assert build_warnings(records, rows=1, rows_before=[]) == []
    assert build_warnings({**records, "rejected": 0, "rejected_by_reason": {}, "in": 0}) == []
    assert len(build_warnings(records, rows=9, rows_before=[90])) == 1
    gate = {"gate": "rows", "outcome": "passed", "sentence": "60 rows are 0.10 times the 600"}
    gated = {**QUALITY, "checks": {**QUALITY["checks"], "gates": [gate]}}
    assert report(rows_before=[600], quality=gated)["warnings"] == report()["warnings"]


def test_keys_and_predictions_come_first_and_stay_when_the_others_scroll() -> None:
    figures = {**report(), "leading_columns": ["id", "churn"]}
    figures["first_rows"] = [{"age": 1, "town": "x", "id": "a", "churn": 0.5}]
    heads = re.findall(r"<th scope=\"col\"([^>]*)>(id|churn|age|town)</th>", render_html(figures))
    assert heads == [(' class="pin pin-0"', "id"), (' class="pin pin-1"', "churn"), ("", "age"), ("", "town")]


def read_html(figures: dict[str, Any]) -> str:
    """What a person reads, on one line."""
    body = render_html(figures).split("</style>")[1]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_the_table_of_rows_keeps_the_first_columns_and_the_prediction() -> None:
    table = render_text(report()).splitlines()[-2:]
    assert table[0].split() == ["sex", "length", "diameter", "…", "shell_weight", "rings", "predicted_rings"]
    assert table[1].split() == ["M", "0.455", "0.365", "…", "0.15", "15", "9.12346"]


def test_a_narrow_table_shows_every_column() -> None:
    table = render_text(report(rows=[{"a": 1, "b": None}])).splitlines()[-2:]
    assert [line.split() for line in table] == [["a", "b"], ["1", "–"]]


def test_cells_that_json_cannot_hold_are_made_plain() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert report(rows=[{"a": float("nan"), "b": moment, "c": b"x"}])["first_rows"] == [
        {"a": None, "b": "2026-01-01T00:00:00+00:00", "c": "b'x'"}
    ]


class Page(HTMLParser):
    """Collects what a browser would fetch or run, and the text it would show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.shown: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data: str) -> None:
        self.shown.append(data)


HOSTILE = "<img src=x onerror=alert(1)>\"'&{{ 7*7 }}</table><script>alert(1)</script>"


def test_nothing_from_the_data_becomes_markup_in_the_page() -> None:
    figures = report(rows=[{HOSTILE: HOSTILE}])
    figures["records"]["rejected_by_reason"] = {HOSTILE: 1}
    figures["run_id"] = figures["pipeline"] = HOSTILE
    figures["sentences"] = [HOSTILE]
    plain, hostile = Page(render_html(report(rows=[{"a": "b"}]))), Page(render_html(figures))
    assert "".join(hostile.shown).count(HOSTILE) >= 6
    assert [name for name, _ in hostile.attributes if name.startswith("on")] == []
    assert set(hostile.tags) == set(plain.tags)
    assert "script" not in hostile.tags


def test_the_page_asks_nobody_for_anything_and_runs_nothing() -> None:
    text = render_html(report())
    page = Page(text)
    assert not {"src", "href", "srcset", "action", "style"} & {name for name, _ in page.attributes}
    assert "url(" not in text
    assert "@import" not in text
    assert "script" not in page.tags
    policy = next(
        value for name, value in page.attributes if name == "content" and value and "default-src" in value
    )
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "prefers-color-scheme: dark" in text


def test_the_style_of_the_page_is_the_one_that_its_policy_names() -> None:
    text = render_html(report())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    [content] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in html.unescape(policy[1])


def test_what_the_gates_found_is_said() -> None:
    figures = {
        **report(),
        "quality": {"checks": {"gates": [{"outcome": "warned", "sentence": "60 rows are few."}]}},
    }
    assert "warned : 60 rows are few." in re.sub(r"\s+", " ", " ".join(Page(render_html(figures)).shown))


def test_the_page_is_small_enough_to_be_mailed() -> None:
    assert len(render_html(report()).encode()) < 60_000


def test_the_page_shows_the_figures() -> None:
    shown = re.sub(r"\s+", " ", " ".join(Page(render_html(report())).shown))
    for wanted in (
        "68 records in",
        "60 scored",
        "8 rejected",
        "5 min 00 s billed",
        "1 min 30 s idle",
        "$0.0192 cost",
        "no duplicates 5",
    ):
        assert wanted in shown, f"{wanted!r} is not in {shown}"


@pytest.mark.parametrize(
    ("excluded", "line"),
    [
        ({"control_files": 4, "unpublished": 0}, "left out      4 control files\n"),
        (
            {"control_files": 1, "unpublished": 2},
            "left out      1 control file and 2 objects that no manifest names\n",
        ),
    ],
)
def test_the_report_says_what_the_listing_held_beside_the_input(excluded: dict[str, int], line: str) -> None:
    figures = report()
    assert "left out" not in render_text(figures)
    figures["input"]["excluded"].update(excluded)
    assert line in render_text(figures)


def trial(**changes: Any) -> dict[str, Any]:
    """A trial of a tenth of the records, on one instance: 20 s of work after 30 s of start-up."""
    ran = job(
        "transform", created_at=1310.0, started_at=1400.0, ended_at=1450.0, busy_seconds=20.0, instance_count=1,
        instance_type="ml.m5.large", is_trial=True, billed_seconds=50.0,
        instances=[{"instance": "c", "from": 1430.0, "to": 1450.0}],
    )  # fmt: skip
    return {"trial": 0, "share": 0.1, "objects": 1, "job": {**ran, **changes}}


def test_a_trial_counts_in_the_run_and_is_measured_apart() -> None:
    """The transform's row is of the other records; what the trial cost above their cost is in its own."""
    figures = report(trials=[trial()])
    without = report()
    [tried] = figures["trials"]
    own = 50 * 0.115 / 3600
    # 54 of 60 records took 60 busy seconds of an instance at $0.23 an hour.
    usual = 60 / 0.9 * 0.1 * 0.23 / 3600
    assert (tried["completed"], tried["records"], tried["dollars"]) == (True, 6, pytest.approx(own))
    assert tried["extra_dollars"] == pytest.approx(own - usual)
    assert figures["total"]["dollars"] == pytest.approx(without["total"]["dollars"] + own)
    assert figures["total"]["billed_seconds"] == without["total"]["billed_seconds"] + 50
    # 20 s at half the price for what takes 6.67 s.
    outcome = (
        "ml.m5.large with 8 requests of up to 6 MB: $0.0016, a record 50% dearer than ml.m5.xlarge with 4."
    )
    assert tried["outcome"] == outcome
    _, transform, row = build_history_rows(figures)
    whole = build_history_rows(without)[1]
    assert (transform.bytes, transform.records) == (round(whole.bytes * 0.9), 54)
    assert transform.objects == whole.objects - 1
    assert (row.stage, row.is_trial, row.instance_type, row.max_concurrent_transforms) == (
        "transform", True, "ml.m5.large", 8,
    )  # fmt: skip
    assert (row.bytes, row.busy_seconds, row.start_seconds) == (round(whole.bytes * 0.1), 20.0, 30.0)
    assert row.trial_extra_dollars == tried["extra_dollars"]
    text = re.sub(r"\s+", " ", render_text(figures))
    assert outcome in text
    assert "6 records, $0.0012 more than among the others" in text
    page = html.unescape(render_html(figures))
    assert outcome in page
    assert f"trials {format_dollars(own)}" in page


@pytest.mark.parametrize(
    ("attempts", "settings", "said"),
    [
        (
            [{"job_name": "t-1", "status": "Failed", "billed_seconds": 120.0, "instance_type": "ml.m5.large",
              "failure_reason": "ClientError: Please use an instance type with more memory"}],
            (8, 6),
            "ClientError: Please use an instance type with more memory; its records were scored as all others.",
        ),
        ([], (None, None), "AWS did not accept it; its records were scored as all others."),
    ],
    ids=["killed", "refused"],
)  # fmt: skip
def test_a_trial_that_failed_leaves_its_cost_and_no_rate(
    attempts: list[dict[str, Any]], settings: tuple[int | None, int | None], said: str
) -> None:
    """Its settings are kept where it ran, so that they are not tried again; no capacity says nothing about them."""
    figures = report(
        trials=[trial(is_trial=False, instance_type="ml.m5.xlarge", attempt=2, earlier_attempts=attempts)]
    )
    [tried] = figures["trials"]
    assert tried["outcome"].endswith(said)
    row = build_history_rows(figures)[-1]
    assert (row.is_trial, row.bytes, row.has_work_seconds) == (True, 0, False)
    assert (row.max_concurrent_transforms, row.max_payload_mb) == settings
    usual = 60 / 0.9 * 0.1 * 0.23 / 3600
    billed = 50 * 0.23 / 3600 + sum(each["billed_seconds"] for each in attempts) * 0.115 / 3600
    assert row.trial_extra_dollars == pytest.approx(billed - usual)
