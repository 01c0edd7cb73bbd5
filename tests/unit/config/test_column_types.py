"""What a pipeline file may say of a column follows from the column's type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from batch_inference.config.pipeline import Pipeline, load_pipeline
from batch_inference.config.sections.feature_preparation import build_job_imputations
from batch_inference.config.sections.glue_table import build_storage_descriptor
from batch_inference.config.validation_errors import format_validation_error
from tests.unit.builders import document, pipeline

TYPES = {
    "id": "string", "n": "integer", "x": "float", "price": "decimal(18,4)", "flag": "boolean", "day": "date",
    "at": "timestamp", "seen": "timestamptz",
}  # fmt: skip
COLUMNS = [{"name": name, "type": kind} for name, kind in TYPES.items()]
NO_RANGE = "a range needs a float, integer, decimal, date or timestamp column"
NO_OUTLIER = "an outlier rule needs a float, integer or decimal column"
WORDS = "true, t, yes, y, 1, false, f, no, n, 0 or empty"
NO_GROUP = "each value of which would be a group; allowed are columns of strings, booleans and numbers"


def typed(**changes: Any) -> dict[str, Any]:
    return document({"input.columns": COLUMNS, **changes})


def rule(kind: str, column: str, **settings: Any) -> dict[str, Any]:
    return {"rules": [{"rule": kind, "column": column, **settings}]}


def constant(column: str, value: str) -> dict[str, Any]:
    return {"impute": [{"column": column, "strategy": "constant", "value": value}]}


def most_frequent(column: str, value: str) -> dict[str, Any]:
    return {
        "baseline": {column: {"most_frequent": value}},
        "impute": [{"column": column, "strategy": "most_frequent"}],
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (rule("range", "flag", min=0), f"rules[0]: flag is a boolean; {NO_RANGE}; write an allowed rule"),
        (rule("range", "id", min=0), f"rules[0]: id is a string; {NO_RANGE}"),
        (rule("range", "day", min=20260131), "rules[0].min: found 20260131; allowed is a date such as"),
        (rule("range", "day", max="2026-02-30"), "rules[0].max: found '2026-02-30'; allowed is a date of the calendar"),
        (rule("range", "day", max=""), "rules[0].max: found ''; allowed is a value"),
        (rule("range", "at", min="2026-01-31T00:00Z"), "rules[0].min: found '2026-01-31T00:00Z'; allowed is a"),
        (rule("range", "seen", min="2026-01-31"), "rules[0].min: found '2026-01-31'; allowed is a timestamp with Z or"),
        (rule("range", "n", min="1"), "rules[0].min: found '1'; n is a integer, so write a number"),
        (rule("range", "price", min="1,5"), "rules[0].min: found '1,5'; allowed is a number or empty"),
        (rule("range", "price", min="0.2", max="0.10"), "rules[0]: found min 0.2 and max 0.10; no value lies between"),
        (rule("range", "price", min=0.2, max="0.1"), "rules[0]: found min 0.2 and max 0.1; no value lies between"),
        (rule("range", "seen", min="2026-01-31T00:00Z", max="2026-01-31T00:30+01:00"), "rules[0]: found min"),
        (rule("range", "day", min="2026-01-31", max="2026-01-31", exclusive_max=True), "rules[0]: found min"),
        *((rule("outlier", name, method="iqr"), f"rules[0]: {name} is a {TYPES[name]}; {NO_OUTLIER}")
          for name in ("flag", "day", "at", "seen")),
        (rule("allowed", "flag", values=["maybe"]), f"rules[0].values: found 'maybe'; allowed is {WORDS}"),
        (rule("allowed", "flag", values=[2]), f"rules[0].values: found 2; allowed is {WORDS}"),
        (rule("allowed", "flag", values=[True]), "rules[0].values[0]: found true; allowed are texts and"),
        (rule("allowed", "day", values=["2026-01-31", ""]), "rules[0].values: found ''; allowed is a value"),
        (rule("allowed", "price", values=["0.12345"]), "rules[0].values: found '0.12345'; allowed is a decimal(18,4)"),
        (constant("flag", "maybe"), f"impute[0].value: found 'maybe'; allowed is {WORDS}"),
        (constant("day", "today"), "impute[0].value: found 'today'; allowed is a date such as 2026-01-31 or empty"),
        (constant("seen", ""), "impute[0].value: found ''; allowed is a value"),
        (most_frequent("flag", "maybe"), f"baseline.flag.most_frequent: found 'maybe'; allowed is {WORDS}"),
        (most_frequent("seen", "2026-01-31"), "baseline.seen.most_frequent: found '2026-01-31'; allowed is a"),
        *(({"impute": [{"column": name, "strategy": how}]},
           f"impute[0]: {name} is a {TYPES[name]}, which has no {how}; allowed are constant and most_frequent")
          for name in ("flag", "at") for how in ("mean", "median")),
        *(({"sensitive": [{"column": name}]}, f"sensitive[0].column: {name} is a {TYPES[name]}, {NO_GROUP}")
          for name in ("day", "at", "seen")),
        ({"sensitive": [{"column": "price"}]}, "sensitive[0].edges: price has type decimal(18,4); a number needs"),
        ({"sensitive": [{"column": "flag", "edges": [1]}]}, "sensitive[0].edges: flag has type boolean; a number"),
        ({"predictions.types": {"churn": "boolean"}, "predictions.selected": {"column": "churn", "min": 1}},
         "predictions.selected: churn has type boolean; a number has min, max or both, any other type has values"),
        ({"predictions.types": {"churn": "boolean"}, "predictions.selected": {"column": "churn", "values": ["yes"]}},
         "predictions.selected.values: found 'yes'; churn has type boolean: allowed are 'true' and 'false'"),
        ({"predictions.types": {"churn": "date"},
          "gates": [{"gate": "range", "column": "churn", "min": 1, "then": "warn"}]},
         "gates[0].column: churn has type date, which a gate range cannot check"),
    ],
)  # fmt: skip
def test_what_a_type_does_not_have_is_refused_with_the_reason(changes: dict[str, Any], message: str) -> None:
    written = typed(**changes)
    with pytest.raises(ValidationError) as caught:
        Pipeline.model_validate(written)
    (problem,) = format_validation_error(caught.value, Pipeline, written)
    assert problem.startswith(message)


@pytest.mark.parametrize(
    ("found", "nearest"),
    [
        ("bolean", "boolean"), ("bool", "boolean"), ("Date", "date"), ("time-stamp", "timestamp"), ("int", "integer"),
        ("timestamptzz", "timestamptz"), ("decimal", "decimal(18,4)"), ("decimal(39,2)", "decimal(18,4)"),
        ("str", "string"),
    ],
)  # fmt: skip
def test_a_misspelt_type_names_the_nearest(found: str, nearest: str) -> None:
    """With its line, what was found and all that is allowed; of the input, of predictions and of added columns."""
    added = {"module": "m", "name": "f", "adds": {"more": found}}
    for change in (
        {"input.columns": [{"name": "id", "type": found}]},
        {"predictions.types": {"churn": found}},
        {"join.function": added},
    ):
        written = document(change)
        with pytest.raises(ValidationError) as caught:
            Pipeline.model_validate(written)
        (problem,) = format_validation_error(caught.value, Pipeline, written)
        assert f": found {found!r}; allowed is string, float, integer, boolean, date" in problem
        assert problem.endswith(f"; did you mean {nearest!r}?")


def test_dates_need_no_quotes_in_a_pipeline_file(tmp_path: Path) -> None:
    """YAML of other programs would read them as dates."""
    first = "{rule: range, column: day, min: 2026-01-31}"
    rules = f"rules: [{first}, {{rule: allowed, column: at, values: [2026-01-31 10:30]}}]"
    file = tmp_path / "churn.yaml"
    file.write_text(f"{yaml.safe_dump(typed())}{rules}\n")
    low, listed = (rule.to_job_config() for rule in load_pipeline(file).rules)
    assert (low["min"], listed["values"]) == (
        "2026-01-31",
        ["2026-01-31 10:30"],
    )


def test_an_imputed_decimal_has_the_digits_of_its_type() -> None:
    """A mean has more: a function could not read it as a decimal of the column."""
    written = pipeline(
        {
            "input.columns": COLUMNS,
            "baseline": {"price": {"mean": 0.1 + 0.2, "median": 1e15}, "flag": {"most_frequent": "true"}},
            "impute": [
                {"column": "price", "strategy": "mean"},
                {"column": "price", "strategy": "median"},
                {"column": "flag", "strategy": "most_frequent"},
                {"column": "at", "strategy": "constant", "value": "2026-01-31"},
            ],
        }
    )
    imputed = build_job_imputations(written.impute, TYPES, written.baseline)
    assert [each["value"] for each in imputed] == ["0.3000", "1000000000000000.0000", "true", "2026-01-31"]


def test_a_glue_table_has_the_types_that_its_files_have() -> None:
    """No SerDe of JSON Lines reads the other texts."""
    types = {**TYPES, "more": "json"}
    found = {
        file_format: {
            column["Name"]: column["Type"]
            for column in build_storage_descriptor("s3://b/t/", file_format, types)["Columns"]
        }
        for file_format in ("parquet", "jsonlines")
    }
    assert found["parquet"] == {
        "id": "string", "n": "bigint", "x": "double", "price": "decimal(18,4)", "flag": "boolean", "day": "date",
        "at": "timestamp", "seen": "timestamp", "more": "string",
    }  # fmt: skip
    assert found["jsonlines"] == {**dict.fromkeys(types, "string"), "n": "bigint", "x": "double"}
