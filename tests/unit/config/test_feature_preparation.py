"""What happens to records before the model sees them is stated in the pipeline file, and checked there."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from batch_inference.common.errors import TooManyRejectsError
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.record_rules import IMPLICIT_RULES
from batch_inference.config.validation_errors import format_validation_error
from batch_inference.jobs.config.preprocess_config import parse_config
from batch_inference.requests.sagemaker import build_preprocess_config
from batch_inference.verification.host_manifests import merge_host_manifests
from batch_inference.verification.reconciliation import check_max_rejected
from tests.unit.builders import document, pipeline, plan
from tests.unit.verification.test_reconciliation import two_hosts

STATED: dict[str, Any] = {
    "baseline": {
        "age": {"mean": 40, "std": 10, "median": 38, "q1": 30, "q3": 50},
        "id": {"most_frequent": "x"},
    },
    "rules": [{"rule": "outlier", "column": "age", "method": "zscore"}],
    "impute": [
        {"column": "age", "strategy": "median"},
        {"column": "id", "strategy": "constant", "value": "none"},
    ],
    "function": {"module": "churn_features", "name": "features"},
    "sensitive": [{"column": "id"}, {"column": "age", "edges": [30, 50]}],
    "features": {"columns": ["age", "age_squared"]},
}


BECAUSE = (
    "write it there: a statistic of the run's own records would make predictions depend on the other records"
)


def test_the_preprocessing_job_understands_all_of_it() -> None:
    of = pipeline(STATED)
    read = parse_config(build_preprocess_config(of, plan(of=of)))
    assert [(rule.name, rule.min, rule.max) for rule in read.rules] == [("age no outlier", 10.0, 70.0)]
    assert [(step.column, step.value) for step in read.imputations] == [("age", "38"), ("id", "none")]
    assert read.function is not None
    assert (read.function.module, read.function.name) == ("pipeline_functions.churn_features", "features")
    assert [(group.column, group.edges) for group in read.sensitive_columns] == [
        ("id", ()),
        ("age", (30.0, 50.0)),
    ]
    assert read.feature_columns == ("age", "age_squared")


def test_the_preprocessing_job_is_told_what_escapes_quotes() -> None:
    of = pipeline({"input.escape": "\\"})
    assert parse_config(build_preprocess_config(of, plan(of=of))).input.escape == "\\"


def test_what_is_not_stated_is_not_sent() -> None:
    assert set(build_preprocess_config(pipeline(), plan())) == {
        "version", "pipeline", "input_uri", "distribution", "input", "rules", "feature_columns", "shard_bytes", "nonce",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"rules": [{"rule": "outlier", "column": "age", "method": "iqr"}]},
            f"rules[0]: needs the q1 of age, but baseline has nothing for it; {BECAUSE}",
        ),
        (
            {"rules": [{"rule": "outlier", "column": "id", "method": "iqr"}]},
            "rules[0]: id is a string; an outlier rule needs a float, integer or decimal column",
        ),
        (
            {"baseline": {"age": {"mean": 1}}, "impute": [{"column": "age", "strategy": "median"}]},
            f"impute[0]: needs the median of age, but baseline has mean for it; {BECAUSE}",
        ),
        (
            {"impute": [{"column": "age", "strategy": "constant"}]},
            'impute[0]: found a constant without a value; write it as value: "0"',
        ),
        (
            {"impute": [{"column": "age", "stratgey": "constant"}]},
            (
                "impute[0].stratgey: found an unknown key; allowed are 'column', 'strategy' and 'value'; "
                "did you mean 'strategy'?"
            ),
        ),
        (
            {"baseline": {"agee": {}}},
            "baseline.agee: found 'agee'; the input's columns are id, age, label; did you mean 'age'?",
        ),
        (
            {"sensitive": [{"column": "age"}]},
            (
                "sensitive[0].edges: age has type integer; a number needs edges between its groups, a text or a "
                "boolean has none"
            ),
        ),
        ({"sensitive": [{"column": "age", "edges": [5, 3]}]}, "sensitive[0]: found edges [5.0, 3.0]; they must rise"),
        (
            {"features": {"columns": ["age_squared"]}},
            "features.columns: found 'age_squared'; the columns that are always there are id, age; did you mean 'age'?",
        ),
        ({"max_rejected": -1}, "max_rejected: found -1; allowed is a number of at least 0"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_the_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Pipeline.model_validate(document(changes))
    assert message in format_validation_error(caught.value, Pipeline, document(changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": {"columns": []}}, "features.columns: found []; allowed is at least 1 item(s)"),
        ({"input.delimiter": ",,"}, "input.delimiter: found ',,'; allowed is what matches"),
        ({"input.encoding": "utf-9"}, "input.encoding: found 'utf-9'; allowed is 'utf-8', 'utf-16'"),
        (
            {"rules": [{"rule": "range", "column": "age"}]},
            "rules[0]: found neither min nor max; a range needs one of them, or both",
        ),
        ({"rules": [{"rule": "range", "column": "age", "mim": 2}]}, "rules[0].mim: found an unknown key; allowed are"),
        ({"rules": [{"rule": "allowed", "column": "age"}]}, "rules[0].values: is missing"),
        (
            {"rules": [{"rule": "outlier", "column": "age", "method": "mad"}]},
            "rules[0].method: found 'mad'; allowed is 'iqr' or 'zscore'",
        ),
        (
            {"impute": [{"column": "age", "strategy": "knn"}]},
            "impute[0].strategy: found 'knn'; allowed is 'median', 'mean', 'most_frequent' or 'constant'",
        ),
        (
            {"baseline": {"age": {"q1": 2, "q3": 1}}},
            "baseline.age: found q1 2 above q3 1; the first quartile is at most the third",
        ),
        ({"predictions.fields": {}}, "predictions.fields: found {}; allowed is at least 1 item(s)"),
        (
            {"predictions.nullable": ["id"]},
            "predictions.nullable: found 'id'; the output columns of any type but string and json are",
        ),
        (
            {"join.exclude_columns": ["age"], "predictions.fields": {"score": "age"}},
            "predictions.fields: found the output column 'age', which the input already has",
        ),
        *(
            ({"rules": [{"rule": "duplicates", "name": name}]}, f"rules[0].name: found {name!r}, which names a rule")
            for name in IMPLICIT_RULES
        ),
    ],
)  # fmt: skip
def test_the_job_need_not_check_again_what_is_refused_here(changes: dict[str, Any], message: str) -> None:
    """In the container there is no pydantic."""
    with pytest.raises(ValidationError) as caught:
        Pipeline.model_validate(document(changes))
    (problem,) = format_validation_error(caught.value, Pipeline, document(changes))
    assert problem.startswith(message)


@pytest.mark.parametrize("most", [None, 8, 0.2, 1.0])
def test_rejects_within_the_limit_are_no_reason_to_stop(most: float | None) -> None:
    check_max_rejected(merge_host_manifests(two_hosts(), host_count=2), most)


@pytest.mark.parametrize(("most", "limit"), [(7, "7"), (0, "0"), (0.1, "10%, which is 6")])
def test_more_rejects_than_allowed_stop_the_run_before_it_pays_for_a_transform(
    most: float, limit: str
) -> None:
    with pytest.raises(TooManyRejectsError) as caught:
        check_max_rejected(merge_host_manifests(two_hosts(), host_count=2), most)
    assert str(caught.value) == (
        "8 of 68 records were rejected (5 no duplicates, 3 arity); max_rejected allows "
        f"{limit}; nothing was scored"
    )
