"""A pipeline without `preprocess` is refused what only that can do, and gives the model the input's own lines."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import build_param_specs
from batch_inference.requests.lint import LintContext, lint_transform
from tests.unit.builders import PREFIX, pipeline, pipeline_without_preprocess, requests
from tools.checkout import REPO

COLUMN = {"name": "id", "type": "string"}


@pytest.mark.parametrize(
    ("changes", "begin", "end"),
    [
        (
            {"rules": [{"rule": "duplicates"}]},
            "rules: found without preprocess; no record is checked before the model sees it",
            "add a preprocess section, or drop it",
        ),
        ({"max_rejected": 5}, "max_rejected: found without preprocess; no record is checked, so none", "drop it"),
        (
            {"impute": [{"column": "age", "strategy": "constant", "value": "1"}]},
            "impute: found without preprocess; empty cells are filled by preprocess",
            "drop it",
        ),
        (
            {"function": {"module": "mine", "name": "f"}},
            "function: found without preprocess; it runs in the preprocessing job",
            "drop it",
        ),
        (
            {"transform.on_bad_records": "reject"},
            "transform.on_bad_records: found without preprocess; refused records are found by splitting shards",
            "drop it",
        ),
        ({"sensitive": [{"column": "id"}]}, "sensitive: found without preprocess; groups are counted", "drop it"),
        (
            {"features": {"columns": ["age"]}},
            "features: found without preprocess; the model reads whole records",
            "transform.input_filter, such as $[1:], or add a preprocess section",
        ),
        (
            {"input.format": "parquet"},
            "input.format: found parquet without preprocess; Batch Transform splits its input at line ends",
            "add a preprocess section, which writes the records as lines",
        ),
        (
            {"input.header": True},
            "input.header: found true without preprocess; SageMaker would send the line of column names to the model",
            "which removes it, or upload the objects without it",
        ),
        (
            {"input.escape": "\\"},
            "input.escape: found '\\\\' without preprocess; the model would read the escaped quotes",
            "add a preprocess section, which doubles them",
        ),
        (
            {"input.encoding": "latin-1"},
            "input.encoding: found latin-1 without preprocess; the model would read these bytes",
            "which writes utf-8",
        ),
        (
            {"input.compression": "auto"},
            "input.compression: found auto without preprocess; SageMaker has one CompressionType",
            "write none or gzip, or add a preprocess section",
        ),
        (
            {"input.columns": [COLUMN, {"name": "label", "type": "string", "optional": True}]},
            "input.columns: found the optional column 'label' without preprocess",
            "which selects the columns",
        ),
        (
            {"transform.input_filter": "$['customer_id']"},
            "found '_' in \"$['customer_id']\"; SageMaker refuses it as",
            "or choose by position",
        ),
        ({"transform.input_filter": "$[0:2,4:]"}, "found several ranges in '$[0:2,4:]'", "in the join"),
        ({"transform.input_filter": "$" + "[0]" * 21}, "found 64 characters; SageMaker takes 63", "instead"),
        ({"transform.input_filter": "[1:]"}, "found '[1:]'; SageMaker takes a JsonPath", "$[1:] or $.features"),
    ],
)  # fmt: skip
def test_what_needs_preprocessing_is_refused_with_the_reason(
    changes: dict[str, Any], begin: str, end: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        pipeline_without_preprocess(changes)
    message = str(caught.value.errors()[0]["ctx"]["error"])
    assert message.startswith(begin)
    assert message.endswith(end)


def test_with_preprocessing_columns_are_chosen_by_name_and_not_by_a_filter() -> None:
    with pytest.raises(
        ValidationError, match=r"transform.input_filter: found with preprocess; .*features.columns"
    ):
        pipeline({"transform.input_filter": "$[1:]"})


@pytest.mark.parametrize(
    ("changes", "content", "packing"),
    [
        ({}, "text/csv", "None"),
        ({"input.compression": "gzip"}, "text/csv", "Gzip"),
        ({"input.format": "jsonlines"}, "application/jsonlines", "None"),
    ],
)
def test_the_model_is_given_the_lines_of_the_objects_that_a_manifest_names(
    changes: dict[str, Any], content: str, packing: str
) -> None:
    request = requests(pipeline_without_preprocess(changes))["transform"]
    assert request["TransformInput"] == {
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "ManifestFile",
                "S3Uri": f"{PREFIX}churn-preprocess-1/features/",
            }
        },
        "ContentType": content,
        "SplitType": "Line",
        "CompressionType": packing,
    }
    assert "DataProcessing" not in request
    assert lint_transform(request, LintContext(input_uri="s3://data/in/")) == ()


def test_a_filter_chooses_the_part_of_a_record_that_the_model_sees() -> None:
    changes = {"transform.input_filter": "$[1:]", "transform.accept": "text/csv"}
    request = requests(pipeline_without_preprocess(changes))["transform"]
    assert request["DataProcessing"] == {"InputFilter": "$[1:]"}


def test_the_example_of_the_guide_is_a_pipeline() -> None:
    text = (REPO / "docs" / "guides" / "without-preprocessing.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    made = Pipeline.model_validate(yaml.safe_load(example))
    assert (made.preprocess, made.transform.input_filter) == (None, "$[1:]")


def test_the_form_has_no_field_for_a_job_that_there_is_not() -> None:
    names = set(build_param_specs(pipeline())) - set(build_param_specs(pipeline_without_preprocess()))
    assert names == {"preprocess_instance_type", "preprocess_instance_count"}
