"""The wire: what is no request at all, what SageMaker does not have, what is not implemented here."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pytest

from local_aws.api.operations import OPERATIONS
from tests.integration.local_aws.api.requests import expect_client_error
from tests.integration.local_aws.conftest import Aws

pytestmark = pytest.mark.local_only

SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sagemaker/aws4_request, SignedHeaders=host, Signature=0"


def post(
    aws: Aws, target: str, body: bytes, authorization: str | None = SIGNED
) -> tuple[int, dict[str, Any]]:
    """One raw request; status and JSON of the answer."""
    address = urlsplit(aws.endpoint_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    headers = {"X-Amz-Target": f"SageMaker.{target}", "Content-Type": "application/x-amz-json-1.1"}
    if authorization:
        headers["Authorization"] = authorization
    connection.request("POST", "/", body=body, headers=headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text else {}


def test_an_operation_that_is_not_implemented_is_refused_by_name(sagemaker: Any) -> None:
    """501, which no botocore client retries, and the list of what there is."""
    with expect_client_error("NotImplementedHere") as message:
        sagemaker.create_training_job(
            TrainingJobName="x",
            AlgorithmSpecification={"TrainingInputMode": "File"},
            RoleArn="arn:aws:iam::123456789012:role/r",
            OutputDataConfig={"S3OutputPath": "s3://b/o"},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
        )
    assert message[0].startswith("CreateTrainingJob is not implemented by the embedded AWS; it has AddTags, ")


def test_every_operation_of_the_model_is_answered_or_refused_by_name(aws: Aws) -> None:
    """Whatever SageMaker has: never 500, never silence."""
    names = botocore.session.get_session().get_service_model("sagemaker").operation_names
    for name in names:
        status, answer = post(aws, name, b"{}")
        assert status == (501 if name not in OPERATIONS else status)
        assert status in (200, 400, 501), (name, answer)


def test_an_operation_that_sagemaker_has_not_is_unknown(aws: Aws) -> None:
    """As AWS says it."""
    status, answer = post(aws, "MakeCoffee", b"{}")
    assert (status, answer["__type"]) == (400, "UnknownOperationException")


def test_an_unsigned_request_is_refused(aws: Aws) -> None:
    """403, as AWS does; so is one signed for another service."""
    expected = (
        403,
        {"__type": "MissingAuthenticationTokenException", "message": "Missing Authentication Token"},
    )
    assert post(aws, "ListModels", b"{}", None) == expected
    assert post(aws, "ListModels", b"{}", SIGNED.replace("/sagemaker/", "/s3/")) == expected


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "The body is not JSON"),
        (b"\xff", "The body is not JSON"),
        (b"[]", "Start of list can not be converted to a structure"),
        (b'{"MaxResults": "x"}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"MaxResults": true}', "TRUE_VALUE can not be converted to an Integer"),
        (b'{"MaxResults": 1.5}', "DECIMAL_VALUE can not be converted to an Integer"),
        (b'{"MaxResults": 1e400}', "is not JSON|can not be converted|not a finite"),
        (b'{"MaxResults": 99999999999}', "is out of the range of an Integer"),
        (b'{"NameContains": 1}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"NameContains": "\\ud800"}', "lone surrogate"),
        (b'{"CreationTimeAfter": "yesterday"}', "STRING_VALUE can not be converted to a number"),
        (b'{"CreationTimeAfter": 1e18}', "out of range"),
        (b'{"CreationTimeAfter": NaN}', "NaN is not JSON"),
        (b"[" * 100_000, "The body is not JSON"),
        (b'{"MaxResults": ' + b"9" * 5000 + b"}", "is not JSON|out of the range"),
    ],
)
def test_what_has_another_json_type_is_a_serialization_exception(aws: Aws, body: bytes, said: str) -> None:
    """400, naming what was found."""
    status, answer = post(aws, "ListModels", body)
    assert (status, answer["__type"]) == (400, "SerializationException")
    assert any(part in answer["message"] for part in said.split("|")), answer


def test_a_member_that_the_model_does_not_have_is_refused_by_name(aws: Aws) -> None:
    """AWS passes over unknown members; here a misspelt one is found."""
    status, answer = post(aws, "ListModels", b'{"NameContain": "x"}')
    assert (status, answer["__type"]) == (400, "ValidationException")
    assert answer["message"].startswith("ListModels has no member 'NameContain'; botocore ")


def test_null_is_the_same_as_leaving_a_member_out(aws: Aws) -> None:
    """As in every AWS JSON API."""
    assert post(aws, "ListModels", b'{"NameContains": null}')[0] == 200
    status, answer = post(aws, "DescribeModel", b'{"ModelName": null}')
    assert status == 400
    assert (
        "Value null at 'modelName' failed to satisfy constraint: Member must not be null" in answer["message"]
    )


def test_a_body_without_a_usable_length_is_refused(aws: Aws) -> None:
    """Nothing is read beyond what a request may be."""
    address = urlsplit(aws.endpoint_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    connection.putrequest("POST", "/")
    connection.putheader("X-Amz-Target", "SageMaker.ListModels")
    connection.putheader("Authorization", SIGNED)
    connection.putheader("Content-Length", "99999999999")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 400
    assert json.loads(answer.read())["__type"] == "SerializationException"
    connection.close()


def test_regions_are_apart(aws: Aws, sagemaker: Any, model: str) -> None:
    """The region is the one the request is signed for."""
    body = json.dumps({"ModelName": model}).encode()
    assert post(aws, "DescribeModel", body)[0] == 200
    status, answer = post(aws, "DescribeModel", body, SIGNED.replace("us-east-1", "eu-west-1"))
    assert status == 400
    assert ":eu-west-1:" in answer["message"]


def test_other_services_that_are_served_are_motos(aws: Aws) -> None:
    """S3, STS, IAM, CloudWatch and CloudWatch Logs behind the same port."""
    assert aws.server is not None
    assert aws.server.client("sts").get_caller_identity()["Account"] == "123456789012"
    assert aws.server.client("logs").describe_log_groups()["logGroups"] == []
    assert aws.server.client("iam").list_roles()["Roles"] == []
    assert (
        aws.server.client("cloudwatch").list_metrics(Namespace="/aws/sagemaker/TransformJobs")["Metrics"]
        == []
    )


def test_s3_metadata_with_underscores_survives(aws: Aws, s3: Any, s3_prefix: str) -> None:
    """The reason why moto's own request handler is kept."""
    bucket, _, key = s3_prefix.removeprefix("s3://").partition("/")
    s3.put_object(Bucket=bucket, Key=key + "x", Body=b"1", Metadata={"with_underscore": "yes"})
    assert s3.head_object(Bucket=bucket, Key=key + "x")["Metadata"] == {"with_underscore": "yes"}
