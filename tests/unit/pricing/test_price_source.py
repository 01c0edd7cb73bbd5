"""Plans and reports say by whose prices their dollars are, and claim no region or date for those that have none."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from batch_inference.config.pipeline import Pipeline
from batch_inference.planning.plan import Plan
from batch_inference.pricing.costs import load_prices
from batch_inference.reporting.report import build_report, render_html, render_text
from tests.unit.builders import pipeline, plan
from tests.unit.reporting.test_report import QUALITY, job

TABLE = load_prices()
DATED = f"{TABLE.region} as of {TABLE.as_of.isoformat()}"
OWN = {"ml.m5.xlarge": 0.3}
MANIFEST: dict[str, Any] = {
    "records": {"in": 60, "rejected": 0, "rejected_by_reason": {}, "scored": 60}, "rows": 60, "files": [],
    "output_uri": "s3://data/out/", "model": {"name": "churn-model", "version": None, "package": None},
}  # fmt: skip


def planned(changes: dict[str, Any] | None = None, region: str | None = None) -> Plan:
    types = {"transform.instance_types": ["ml.m5.large"]}
    return plan([20_000_000] * 2, of=pipeline({**types, **(changes or {})}), region=region)


def reported(
    made: Plan, transform: str = "ml.m5.xlarge", jobs: dict[str, Any] | None = None
) -> dict[str, Any]:
    jobs = jobs or {"preprocess": job("preprocess"), "transform": job("transform", instance_type=transform)}
    facts = {"preprocess_job": "p", "count": 3}
    return build_report(
        plan=made,
        jobs=jobs,
        shard_stats=facts,
        manifest=MANIFEST,
        first_rows=[],
        quality=QUALITY,
        reject_details={"groups": [], "withheld_columns": [], "prefixes": []},
    )


def said(figures: dict[str, Any]) -> tuple[str, str]:
    """What a person reads on the terminal and in the browser, each on one line."""
    shown = re.sub(r"<script.*?</script>", "", render_html(figures), flags=re.DOTALL)
    return (
        " ".join(render_text(figures).split()),
        " ".join(html.unescape(re.sub(r"<[^>]+>", " ", shown)).split()),
    )


@pytest.mark.parametrize("region", [None, TABLE.region])
def test_prices_of_the_table_are_said_with_its_region_and_date(region: str | None) -> None:
    figures = reported(planned(region=region))
    for text in said(figures):
        assert f"Costs use the prices of {DATED}." in text
        assert "The jobs ran in" not in text
    assert figures["prices"] == {
        "as_of": TABLE.as_of.isoformat(), "region": "us-east-1", "currency": "USD", "from_aws": False,
        "table": ["ml.m5.xlarge"], "own": [], "ran_in": region,
    }  # fmt: skip


@pytest.mark.parametrize("region", [None, "eu-central-1"])
def test_own_prices_are_said_to_be_the_pipelines_and_nothing_is_claimed_for_them(region: str | None) -> None:
    figures = reported(planned({"prices": OWN}, region))
    for text in said(figures):
        assert "Costs use the prices of the pipeline file." in text
        assert TABLE.region not in text
        assert TABLE.as_of.isoformat() not in text
        assert "The jobs ran in" not in text
    assert (figures["prices"]["own"], figures["prices"]["table"]) == (["ml.m5.xlarge"], [])
    assert (figures["prices"]["as_of"], figures["prices"]["region"]) == (None, None)


def test_each_type_is_said_to_have_the_price_it_has() -> None:
    for text in said(reported(planned({"prices": OWN}), transform="ml.m5.large")):
        assert (
            f"Costs use the prices of {DATED} for ml.m5.large, and those of the pipeline file for ml.m5.xlarge."
        ) in text


def test_types_of_failed_attempts_are_named_with_those_of_the_jobs_that_ended() -> None:
    """They were paid for, too."""
    earlier = [{"instance_type": "ml.m5.large", "billed_seconds": 60.0}]
    jobs = {
        "preprocess": job("preprocess"),
        "transform": job("transform", billed_seconds=200.0, earlier_attempts=earlier),
    }
    figures = reported(planned({"prices": OWN}), jobs=jobs)
    assert (figures["prices"]["own"], figures["prices"]["table"]) == (["ml.m5.xlarge"], ["ml.m5.large"])


def test_a_report_of_another_region_says_that_its_dollars_are_not_by_its_prices() -> None:
    for text in said(reported(planned(region="eu-central-1"))):
        assert f"Costs use the prices of {DATED}." in text
        assert (
            "The jobs ran in eu-central-1, where prices may differ; write your own under prices in the pipeline"
            in text
        )


def test_a_report_without_a_known_price_names_nobodys() -> None:
    made = planned({"preprocess.instance_type": "ml.c4.xlarge", "transform.instance_type": "ml.c4.xlarge"})
    jobs = {stage: job(stage, instance_type="ml.c4.xlarge") for stage in ("preprocess", "transform")}
    figures = reported(made, jobs=jobs)
    assert (figures["prices"]["own"], figures["prices"]["table"]) == ([], [])
    for text in said(figures):
        assert "price unknown" in text
        assert "Costs use" not in text


def test_a_report_of_before_that_knows_only_a_date_and_a_region_claims_neither() -> None:
    figures = reported(planned())
    figures["prices"] = {"as_of": "2026-11-22", "region": "us-east-1", "currency": "USD"}
    for text in said(figures):
        assert "us-east-1" not in text
        assert "price" not in text


def test_a_plan_for_another_region_says_whose_prices_its_dollars_are_by() -> None:
    made = planned(region="eu-central-1")
    assert made.region == "eu-central-1"
    assert made.sentences[-1] == (
        "The jobs run in eu-central-1, but the costs of ml.m5.xlarge use the prices of us-east-1; write your own "
        "under prices in the pipeline file."
    )
    assert made.estimate == planned().estimate, "budgets keep working with them"


@pytest.mark.parametrize(
    ("changes", "region"),
    [({}, None), ({}, TABLE.region), ({"prices": OWN}, "eu-central-1")],
    ids=["unknown", "the table's", "own prices"],
)
def test_a_plan_whose_dollars_are_by_the_right_prices_as_far_as_is_known_says_nothing_of_regions(
    changes: dict[str, Any], region: str | None
) -> None:
    assert not [
        text for text in planned(changes, region).sentences if "region" in text or "The jobs run in" in text
    ]


def test_of_several_types_the_plan_names_those_with_the_tables_price() -> None:
    made = planned({"prices": OWN, "transform.instance_type": "ml.m5.large"}, "eu-central-1")
    assert "the costs of ml.m5.large use the prices of us-east-1" in made.sentences[-1]


def test_the_description_of_prices_names_the_region_of_the_table() -> None:
    described = Pipeline.model_fields["prices"].description
    assert described is not None
    assert f"{TABLE.region}'s" in described
