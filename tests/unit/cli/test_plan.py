"""What `batch-inference plan` prints."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from batch_inference.cli.aws.plan import render_types
from batch_inference.cli.main import main
from batch_inference.planning.clusters.type_comparison import TypeRow, TypeTable
from batch_inference.reporting.text import render_plan
from tests.unit.builders import document, pipeline, plan

ROW = TypeRow(
    stage="preprocess", instance_type="ml.m5.xlarge", instance_count=2, seconds=737, seconds_high=955,
    probability=0.8, dollars=0.0384, in_time="maybe", in_budget=True, is_chosen=True,
)  # fmt: skip
OTHER = TypeRow(
    stage="transform", instance_type="ml.c5.xlarge", instance_count=10, seconds=4000, seconds_high=8000,
    probability=0.01, dollars=None, in_time="no", in_budget=None, is_chosen=False,
)  # fmt: skip


def test_the_table_has_a_line_for_each_type_and_says_how_to_add_one() -> None:
    assert render_types(TypeTable(rows=(ROW, OTHER), excluded=(("transform", "ml.m5.large"),))) == [
        "  stage      instances           run takes     at most    cost in time   in budget",
        "* preprocess 2 × ml.m5.xlarge  12 min 17 s 15 min 55 s $0.0384 maybe 80% yes",
        "  transform  10 × ml.c5.xlarge  1 h 07 min  2 h 13 min unknown no 1%     unknown",
        "  transform  ml.m5.large       the account's quota is too low",
        "",
        "* is the plan's choice. Times and cost are of the whole run; the other stages",
        "have the marked types. To compare more types, add them to",
        "preprocess.instance_types and transform.instance_types in the pipeline file.",
        "maybe: in time as expected, but less likely than goals.confidence asks for. For",
        "an unknown cost, state the dollars per hour of the type under prices in the",
        "file.",
    ]


def test_without_deadline_and_budget_their_columns_are_left_out() -> None:
    header, line, *_ = render_types(
        TypeTable(rows=(ROW.model_copy(update={"in_time": None, "in_budget": None}),))
    )
    assert header.split() == ["stage", "instances", "run", "takes", "at", "most", "cost"]
    assert line.endswith(" $0.0384")


def test_the_estimate_is_at_the_top_and_not_said_twice() -> None:
    made = plan([10_000_000])
    lines = render_plan(made)
    assert lines[0].startswith("churn: The run should take ")
    assert max(map(len, lines)) <= 80
    assert " ".join(lines).count("The run should take") == 1
    assert "- Input is 1 object of 10.0 MB in all, the largest 10.0 MB." in lines
    skipped = render_plan(made.model_copy(update={"unchanged_since": "scheduled__1"}))
    assert "- The run would skip its jobs: scheduled__1 published the same rows already." in skipped


def test_an_empty_input_has_no_estimate() -> None:
    lines = render_plan(plan([], of=pipeline({"on_empty": "skip"})))
    assert lines[0] == "churn: nothing to score"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--date", "31.1.2026"], "found --date '31.1.2026'; allowed is a date such as 2026-01-31"),
        (["--input", "customers.csv"], "input_uri: found 'customers.csv'; allowed is an S3 URI"),
        (["--conf", '{"budget": -1}'], "--conf: "),
        (["--conf", '{"publish_run": "r"}'], "found publish_run"),
    ],
)
def test_a_wrong_argument_is_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "dags" / "pipelines"
    folder.mkdir(parents=True)
    (folder / "churn.yaml").write_text(yaml.safe_dump(document()))
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "churn", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
