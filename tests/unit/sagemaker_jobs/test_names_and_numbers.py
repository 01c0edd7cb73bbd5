"""Names fit AWS's rules and stay different; text becomes numbers only where AWS has numbers."""

from __future__ import annotations

import re
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_jobs.errors import RequestError
from sagemaker_jobs.job.casting import cast_to_shape, parse_bool, parse_int, parse_optional_float
from sagemaker_jobs.job.spec import JobSpec, to_safe_name
from tests.integration.sagemaker_jobs.specs import processing_spec, transform_spec

AWS_RULE = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"


@given(st.text(max_size=120).filter(lambda text: re.search("[A-Za-z0-9]", text) is not None))
def test_any_text_with_a_letter_becomes_a_name(text: str):
    """With room for the attempt, by AWS's own pattern, and the same each time."""
    name = to_safe_name(text, "TransformJobName")
    assert re.fullmatch(AWS_RULE, f"{name}-99")
    assert len(f"{name}-99") <= 63
    assert to_safe_name(text, "TransformJobName") == name
    assert to_safe_name(name, "TransformJobName") == name


def test_a_good_name_stays_and_similar_ones_stay_apart():
    """Only what has to change does."""
    assert to_safe_name("abalone-transform-0123", "x") == "abalone-transform-0123"
    long = "a" * 70
    names = {to_safe_name(text, "x") for text in ("a_b", "a.b", "a:b", "a-b", long, f"{long}b", long[:60])}
    assert len(names) == 7


@pytest.mark.parametrize("name", ["", None, "---", 7])
def test_what_is_no_name_is_refused(name: Any):
    """The field is named."""
    with pytest.raises(RequestError, match="TransformJobName is"):
        to_safe_name(name, "TransformJobName")


@pytest.mark.parametrize(
    "spec", [processing_spec(), transform_spec(instance_types=("ml.m5.xlarge",), resume=True)]
)
def test_a_spec_survives_xcom(spec: JobSpec):
    """What the operator pushes is what the sensor reads."""
    assert JobSpec.from_dict(spec.to_dict()) == spec


def test_requests_of_attempts_share_nothing():
    """Changing one request changes neither the spec nor another attempt's."""
    spec = transform_spec()
    first = spec.build_request(1)
    first["TransformOutput"]["S3OutputPath"] = "changed"
    assert (
        spec.build_request(1)["TransformOutput"]["S3OutputPath"]
        == "s3://bucket/run/score-0123-1/predictions/"
    )
    assert (
        spec.build_request(2)["TransformOutput"]["S3OutputPath"]
        == "s3://bucket/run/score-0123-2/predictions/"
    )
    assert spec.build_request(2)["ModelName"] == "abalone-transform-0123456789"


@pytest.fixture(scope="module")
def shape() -> Any:
    """The request of CreateTransformJob in botocore's model."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    return model.operation_model("CreateTransformJob").input_shape


def test_only_numbers_of_the_model_are_cast(shape: Any):
    """Lists, nested structures and booleans too; text that looks like a number stays in text fields."""
    request = {
        "TransformJobName": "123",
        "MaxPayloadInMB": "6",
        "Environment": {"WORKERS": "8"},
        "TransformResources": {"InstanceCount": "2.0", "InstanceType": "ml.m5.large"},
        "DataCaptureConfig": {"DestinationS3Uri": "s3://b/c", "GenerateInferenceId": "True"},
        "Tags": [{"Key": "n", "Value": "1"}],
        "NotAField": "5",
    }
    assert cast_to_shape(request, shape) == {
        "TransformJobName": "123",
        "MaxPayloadInMB": 6,
        "Environment": {"WORKERS": "8"},
        "TransformResources": {"InstanceCount": 2, "InstanceType": "ml.m5.large"},
        "DataCaptureConfig": {"DestinationS3Uri": "s3://b/c", "GenerateInferenceId": True},
        "Tags": [{"Key": "n", "Value": "1"}],
        "NotAField": "5",
    }


@pytest.mark.parametrize(
    ("value", "cast"), [("4", 4), (" 4 ", 4), (4.0, 4), ("4.0", 4), (10**17 + 1, 10**17 + 1), ("-1", -1)]
)
def test_whole_numbers(value: Any, cast: int):
    """In the spellings that templates produce, exactly."""
    assert parse_int(value, "f") == cast
    assert type(parse_int(value, "f")) is int


@pytest.mark.parametrize("value", ["", "None", "4.5", "inf", "nan", "four", None, True, [4]])
def test_not_whole_numbers(value: Any):
    """Refused with field, value and what is allowed."""
    with pytest.raises(RequestError, match=r"f is .*; allowed is a whole number such as 4"):
        parse_int(value, "f")


def test_truth_and_absence():
    """A template renders booleans and None as text."""
    assert [parse_bool(value, "f") for value in (True, "true", "False")] == [True, True, False]
    assert [parse_optional_float(value, "f") for value in (None, "", "None", "3", 2.5)] == [
        None,
        None,
        None,
        3.0,
        2.5,
    ]
    with pytest.raises(RequestError, match="f is 'yes'; allowed is true or false"):
        parse_bool("yes", "f")
