"""Requests are what SageMaker's own service model accepts, and what the jobs expect."""

from __future__ import annotations

import io
import json
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.common.errors import ManifestError
from batch_inference.config.pipeline import Pipeline
from batch_inference.jobs.config.join_spec import JoinSpec
from batch_inference.jobs.config.preprocess_config import parse_config
from batch_inference.planning.inputs.input_listing import S3Object, tee_to_manifest
from batch_inference.requests.sagemaker import (
    build_config,
    build_join_spec,
    build_planned_requests,
    build_preprocess_config,
    build_requests,
    list_manifest_uris,
)
from tests.unit.builders import PLAN_VALUES, PREFIX, example, pipeline, plan, requests

PACKAGE = PLAN_VALUES["model.package"]


def complaints(operation: str, request: dict[str, Any]) -> str:
    """What botocore's parameter validation says of a request; empty when it is valid."""
    service = botocore.model.ServiceModel(
        botocore.loaders.Loader().load_service_model("sagemaker", "service-2")
    )
    shape = service.operation_model(operation).input_shape
    return botocore.validate.ParamValidator().validate(request, shape).generate_report()


@pytest.mark.parametrize("of", [example(), pipeline()], ids=["containers", "existing model"])
def test_requests_have_the_shape_of_sagemakers_service_model(of: Any) -> None:
    made = requests(of)
    assert complaints("CreateProcessingJob", made["preprocess"]) == ""
    assert complaints("CreateTransformJob", made["transform"]) == ""
    assert "model" not in made or complaints("CreateModel", made["model"]) == ""


@pytest.mark.parametrize("section", [{"group": "churn"}, {"package": PACKAGE}])
def test_a_model_of_a_package_names_it_and_nothing_of_its_own(section: dict[str, str]) -> None:
    made = requests(pipeline({"model": section}))
    request = made["model"]
    assert complaints("CreateModel", request) == ""
    assert request["PrimaryContainer"] == {"ModelPackageName": PACKAGE}
    assert made["transform"]["ModelName"] == request["ModelName"] == "churn-model-1"


def test_the_processing_job_is_laid_out_as_the_job_inside_expects() -> None:
    request = requests(example())["preprocess"]
    inputs = {
        each["InputName"]: (
            each["S3Input"]["S3Uri"], each["S3Input"]["LocalPath"], each["S3Input"]["S3DataDistributionType"],
        )
        for each in request["ProcessingInputs"]
    }  # fmt: skip
    assert inputs == {
        "code": (f"{PREFIX}code/", "/opt/ml/processing/input/code", "FullyReplicated"),
        "config": (f"{PREFIX}config/", "/opt/ml/processing/input/config", "FullyReplicated"),
        "data": (f"{PREFIX}input.manifest", "/opt/ml/processing/input/data", "ShardedByS3Key"),
    }
    assert request["AppSpecification"]["ContainerEntrypoint"] == [
        "python3",
        "-m",
        "batch_inference.jobs.preprocess",
    ]
    assert request["Environment"]["PYTHONPATH"] == "/opt/ml/processing/input/code"
    assert request["ProcessingOutputConfig"]["Outputs"] == [
        {
            "OutputName": "output",
            "S3Output": {
                "S3Uri": PREFIX + "{job_name}/", "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob",
            },
        }
    ]  # fmt: skip
    assert request["ProcessingResources"]["ClusterConfig"] == {
        "InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 30,
    }  # fmt: skip


def input_manifest(input_uri: str, listing: list[S3Object]) -> list[Any]:
    """The manifest that is written while these objects pass; they come out as they went in."""
    file = io.StringIO()
    assert list(tee_to_manifest(input_uri, iter(listing), file)) == listing
    made: list[Any] = json.loads(file.getvalue())
    return made


@settings(max_examples=30)
@given(st.integers(0, 3), st.lists(st.text(max_size=5), max_size=40))
def test_a_manifest_of_any_number_of_any_keys_is_json_and_whole(blocks: int, names: list[str]) -> None:
    """Written in blocks; quotes, line breaks and other alphabets are keys like others."""
    listing = [
        S3Object(f"in/{number}{name}", number % 7) for number, name in enumerate(names * (50 * blocks))
    ]
    assert input_manifest("s3://data/in/", listing)[1:] == [
        each.key.removeprefix("in/") for each in listing if each.size
    ]


def test_the_input_of_a_run_is_what_the_plan_saw_and_nothing_that_came_later() -> None:
    data = requests(example())["preprocess"]["ProcessingInputs"][2]["S3Input"]
    assert data["S3DataType"] == "ManifestFile"
    listing = [S3Object("raw/in/a.csv", 3), S3Object("raw/in/empty.csv", 0), S3Object("raw/in/b/c.csv", 4)]
    assert input_manifest("s3://data/raw/in/", listing) == [
        {"prefix": "s3://data/raw/in/"},
        "a.csv",
        "b/c.csv",
    ]


def test_the_manifest_of_a_prefix_that_ends_within_a_name_keeps_names_whole() -> None:
    listing = [S3Object("raw/in-1/a.csv", 3), S3Object("raw/in-2.csv", 4)]
    made = input_manifest("s3://data/raw/in", listing)
    assert made == [{"prefix": "s3://data/raw/"}, "in-1/a.csv", "in-2.csv"]
    assert list_manifest_uris(made) == [f"s3://data/{each.key}" for each in listing]
    assert input_manifest("s3://data", [S3Object("a.csv", 1)]) == [{"prefix": "s3://data/"}, "a.csv"]
    with pytest.raises(ManifestError, match="found 'a' first in a manifest of inputs"):
        list_manifest_uris(["a"])


def test_input_is_divided_among_hosts_where_no_rule_needs_all_of_it() -> None:
    data = requests(pipeline())["preprocess"]["ProcessingInputs"][2]["S3Input"]
    assert data["S3DataDistributionType"] == "ShardedByS3Key"


def test_the_transform_job_reads_features_line_by_line_and_writes_below_its_own_name() -> None:
    request = requests(example())["transform"]
    assert request["TransformInput"]["DataSource"]["S3DataSource"] == {
        "S3DataType": "S3Prefix", "S3Uri": f"{PREFIX}churn-preprocess-1/features/",
    }  # fmt: skip
    assert (request["TransformInput"]["ContentType"], request["TransformInput"]["SplitType"]) == (
        "text/csv",
        "Line",
    )
    assert request["TransformOutput"] == {
        "S3OutputPath": PREFIX + "{job_name}/predictions/", "Accept": "application/jsonlines", "AssembleWith": "Line",
    }  # fmt: skip
    assert (request["BatchStrategy"], request["MaxPayloadInMB"], request["MaxConcurrentTransforms"]) == (
        "MultiRecord",
        5,
        4,
    )
    assert request["ModelName"] == "churn-model-1"


def test_a_transform_says_how_long_a_request_may_take_and_what_the_containers_find() -> None:
    plain = requests(pipeline())["transform"]
    assert plain["ModelClientConfig"] == {"InvocationsTimeoutInSeconds": 600, "InvocationsMaxRetries": 3}
    assert "Environment" not in plain
    stated = requests(pipeline({"transform.environment": {"BEAMS": "4"}}), timeout_seconds=3600, retries=0)
    assert stated["transform"]["ModelClientConfig"] == {
        "InvocationsTimeoutInSeconds": 3600,
        "InvocationsMaxRetries": 0,
    }
    assert stated["transform"]["Environment"] == {"BEAMS": "4"}


def test_a_model_is_made_from_containers_in_their_order_and_an_existing_one_is_used_as_it_is() -> None:
    made = requests(example())
    assert [each["Image"].rsplit("/", 1)[1] for each in made["model"]["Containers"]] == [
        "sagemaker-scikit-learn:1.2-1-cpu-py3", "linear-learner:1",
    ]  # fmt: skip
    assert made["model"]["ModelName"] == made["transform"]["ModelName"] == "churn-model-1"
    existing = build_config(build_planned_requests(pipeline(), plan()), "transform", {"model_name": "other"})
    assert list(existing) == ["Transform"]
    assert existing["Transform"]["ModelName"] == "churn-model"


def test_one_container_is_a_primary_container() -> None:
    request = requests(pipeline({"model": {"containers": [{"image": "registry/one:1"}]}}))["model"]
    assert request["PrimaryContainer"] == {"Image": "registry/one:1"}
    assert "Containers" not in request


def test_jobs_and_models_carry_tags_by_which_a_bill_can_be_grouped() -> None:
    of = pipeline({"tags": {"cost-centre": "42"}})
    tags = {each["Key"]: each["Value"] for each in requests(of)["transform"]["Tags"]}
    assert tags == {"pipeline": "churn", "pipeline-stage": "transform", "cost-centre": "42", "run": "r1"}


def test_values_of_the_plan_may_be_templates_and_those_of_the_task_replace_them() -> None:
    made = build_requests(example(), "{{{{ {} }}}}".format)
    request = build_config(made, "transform", {"base_name": "{{ name }}", "instance_count": "{{ count }}"})
    assert request["Transform"]["TransformJobName"] == "{{ name }}"
    assert request["Transform"]["TransformResources"] == {
        "InstanceType": "{{ transform.instance_type }}", "InstanceCount": "{{ count }}",
    }  # fmt: skip
    assert (
        request["Transform"]["TransformOutput"]["S3OutputPath"] == "{{ run_prefix }}{job_name}/predictions/"
    )
    assert made["transform"]["TransformResources"]["InstanceCount"] == "{{ transform.instance_count }}"


def test_an_empty_plan_has_no_requests() -> None:
    of = pipeline({"on_empty": "skip"})
    assert build_planned_requests(of, plan([], of=of)) == {}


def test_the_preprocessing_job_reads_the_configuration_that_is_written_for_it() -> None:
    of = example()
    made = build_preprocess_config(of, plan([40_000_000], of=of))
    read = parse_config(json.loads(json.dumps(made)))
    assert read.input.column_names == of.column_names
    assert [column.name for column in read.input.columns if column.optional] == ["rings"]
    assert read.feature_columns == of.feature_columns
    assert [(rule.name, rule.kind, rule.columns) for rule in read.rules] == [
        ("sex known", "allowed", ("sex",)),
        ("whole weight present", "required", ("whole_weight",)),
        ("height possible", "range", ("height",)),
        ("no duplicates", "duplicates", of.column_names),
    ]
    height = read.rules[2]
    assert (height.min, height.max, height.exclusive_min, height.exclusive_max) == (0, 1, True, False)
    assert (read.shard_bytes, read.distribution) == (1_000_000, "ShardedByS3Key")


def test_every_kind_of_rule_is_understood_by_the_preprocessing_job() -> None:
    of = pipeline(
        {
            "rules": [
                {"rule": "allowed", "column": "age", "values": [1, 2]},
                {"rule": "range", "column": "age", "max": 3, "exclusive_max": True},
                {"rule": "required", "columns": ["id", "age"]},
                {"rule": "pattern", "column": "id", "pattern": "[a-z]+"},
                {"rule": "duplicates", "key": ["id"]},
            ]
        }
    )
    read = parse_config(build_preprocess_config(of, plan(of=of)))
    assert [(rule.name, rule.columns) for rule in read.rules] == [
        ("age known", ("age",)), ("age in range", ("age",)), ("id, age present", ("id", "age")),
        ("id well formed", ("id",)), ("no duplicates", ("id",)),
    ]  # fmt: skip


def test_the_join_is_told_types_and_the_fields_of_an_answer() -> None:
    spec = build_join_spec(example())
    assert spec["columns"][0] == {"name": "sex", "type": "string"}
    assert spec["columns"][-1] == {"name": "rings", "type": "integer"}
    assert (spec["output_format"], spec["predictions"]) == (
        "parquet",
        {"format": "jsonlines", "fields": {"score": "predicted_rings"}, "types": {}, "nullable": [], "echo": {}},
    )  # fmt: skip


@pytest.mark.parametrize("format_", ["csv", "jsonlines", "parquet"])
def test_the_join_reads_what_preprocessing_writes_of_each_input_format(format_: str) -> None:
    spec = JoinSpec.from_dict(build_join_spec(pipeline({"input.format": format_})))
    assert spec.records_format == ("jsonlines" if format_ == "jsonlines" else "csv")
    assert [column.name for column in spec.output_columns] == ["id", "age", "label", "churn"]
    assert (
        parse_config(build_preprocess_config(pipeline({"input.format": format_}), plan())).input.format
        == format_
    )


def test_answers_may_be_typed_and_echo_an_id() -> None:
    of = pipeline({"predictions": {"format": "json", "fields": {"score": "churn", "why": "reasons"},
                                   "types": {"reasons": "json"}, "echo": {"key": "id"}}})  # fmt: skip
    spec = JoinSpec.from_dict(build_join_spec(of))
    assert [(each.path, each.column.name, each.column.type, each.is_echo) for each in spec.prediction_fields] == [
        ("score", "churn", "float", False), ("why", "reasons", "json", False), ("key", "id", "string", True),
    ]  # fmt: skip


SCHEMAS = Pipeline.model_json_schema()["$defs"]


def allowed(section: str, field: str) -> list[str]:
    """The values that the pipeline file's schema allows for a field."""
    values: list[str] = SCHEMAS[section]["properties"][field]["enum"]
    return values


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (f"{path}.{field}", value)
        for path, section, field in [
            ("input", "InputSection", "format"), ("input", "InputSection", "encoding"),
            ("input", "InputSection", "compression"), ("predictions", "PredictionsSection", "format"),
            ("join", "JoinSection", "format"),
        ]
        for value in allowed(section, field)
    ],
)  # fmt: skip
def test_whatever_a_pipeline_may_state_the_jobs_understand(field: str, value: str) -> None:
    changes: dict[str, Any] = {field: value}
    if (field, value) == ("predictions.format", "csv"):
        changes["predictions.fields"] = {"-1": "churn"}
    of = pipeline(changes)
    parse_config(build_preprocess_config(of, plan(of=of)))
    JoinSpec.from_dict(build_join_spec(of))
