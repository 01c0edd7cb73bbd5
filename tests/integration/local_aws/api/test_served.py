"""What is served and what is not: every service and operation is answered, or refused by name in its own protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import boto3
import botocore.parsers
import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.backends import list_of_moto_modules

from local_aws.api.services import SERVICES
from tests.integration.local_aws.api.raw import send, signed
from tests.integration.local_aws.api.requests import expect_client_error, model_request, processing_request
from tests.integration.local_aws.conftest import Aws
from tests.integration.local_aws.servers import REGION

pytestmark = pytest.mark.local_only

FORM = ("Content-Type", "application/x-www-form-urlencoded")
RULE = {"Name": "r", "EventPattern": '{"source": ["aws.sagemaker"]}'}
VALUE = {"MetricName": "m", "Timestamp": 1, "Value": 1.0}
LOGIN = {"ClientId": "abc", "AuthFlow": "USER_PASSWORD_AUTH"}


def _client(aws: Aws, service: str, **config: Any) -> Any:
    return boto3.client(
        service, endpoint_url=aws.endpoint_url, region_name=REGION, aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, inject_host_prefix=False, **config),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("service", "operation", "request_", "protocol", "named"),
    [
        ("events", "put_rule", RULE, "json", "AWSEvents.PutRule of events"),
        ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "e", "Body": b"1,2"}, "rest-json",
         "POST /endpoints/e/invocations of sagemaker"),
        ("sagemaker-metrics", "batch_put_metrics", {"TrialComponentName": "t", "MetricData": [VALUE]}, "rest-json",
         "PUT /BatchPutMetrics of sagemaker"),
        ("dynamodb", "list_tables", {}, "json", "DynamoDB_20120810.ListTables of dynamodb"),
        ("cognito-idp", "initiate_auth", LOGIN, "json", "AWSCognitoIdentityProviderService.InitiateAuth is not"),
        ("lambda", "list_functions", {}, "rest-json", "GET /2015-03-31/functions of lambda"),
        ("cloudformation", "list_stacks", {}, "query", "ListStacks of cloudformation"),
        ("ec2", "describe_instances", {}, "ec2", "DescribeInstances of ec2"),
        ("route53", "list_hosted_zones", {}, "rest-xml", "GET /2013-04-01/hostedzone of route53"),
    ],
)  # fmt: skip
def test_a_service_that_is_not_served_is_refused_in_its_protocol(
    aws: Aws, service: str, operation: str, request_: dict[str, Any], protocol: str, named: str
) -> None:
    """An unmodified client reads code, status and message: what was asked, who refuses, and what is served."""
    client = _client(aws, service, **({"signature_version": UNSIGNED} if service == "cognito-idp" else {}))
    assert client.meta.service_model.resolved_protocol == protocol
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**request_)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    error = caught.value.response["Error"]
    assert error["Code"] == "NotImplementedHere"
    assert error["Message"].startswith(named)
    assert (
        "not implemented by the embedded AWS; it serves SageMaker, S3, STS, IAM, CloudWatch Logs, "
        in error["Message"]
    )


def test_a_client_that_speaks_cbor_is_refused_in_cbor(aws: Aws) -> None:
    """As newer clients of CloudWatch do; read by botocore's own parser."""
    path = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
    headers = [("Smithy-Protocol", "rpc-v2-cbor"), ("Content-Type", "application/cbor"), signed("monitoring")]
    answer = send(str(aws.endpoint_url), "POST", path, headers, b"\xa0")
    shape = (
        botocore.session.get_session()
        .get_service_model("cloudwatch")
        .operation_model("ListMetrics")
        .output_shape
    )
    parser = botocore.parsers.create_parser("smithy-rpc-v2-cbor")
    parsed = parser.parse(
        {"status_code": answer.status, "headers": answer.headers, "body": answer.body}, shape
    )
    assert answer.status == 501
    assert parsed["Error"]["Code"] == "NotImplementedHere"
    assert parsed["Error"]["Message"].startswith(
        "PutMetricData of monitoring is not implemented by the embedded AWS"
    )


def test_nothing_else_of_moto_is_reached(aws: Aws) -> None:
    """Whichever of its services a request is signed for, by REST, by a form, by a target."""
    served = {service.signing_name for service in SERVICES}
    for name in sorted({module.replace("_", "-") for module in list_of_moto_modules()} - served):
        if not name.replace("-", "").isalnum():
            continue
        for headers, body in (([], b""), ([FORM], b"Action=List"), ([("X-Amz-Target", "X_1.List")], b"{}")):
            answer = send(str(aws.endpoint_url), "POST", "/", [*headers, signed(name)], body)
            assert answer.status == 501, (name, headers)
            assert b"NotImplementedHere" in answer.body
    control = send(str(aws.endpoint_url), "GET", "/v20180820/accesspoint", [signed("s3")])
    assert control.status == 501
    assert ElementTree.fromstring(control.body).findtext("Error/Code") == "NotImplementedHere"
    for path in ("/moto-api/data.json", "/latest/meta-data/", "/favicon.ico"):
        # Without a signature a path is a bucket's.
        assert send(str(aws.endpoint_url), "GET", path).status in (403, 404)


@pytest.mark.parametrize(
    "target",
    ["ListModels", "Foo.ListModels", "sagemaker.ListModels", "SageMaker", "SageMaker.", ".ListModels", "",
     "SageMaker.List.Models", "SageMaker.listModels", "XSageMaker.ListModels", "SageMaker.ListModels,SageMaker.A"],
)  # fmt: skip
def test_sagemaker_has_one_prefix_of_targets(aws: Aws, target: str) -> None:
    """Anything else names no operation, and in no case moto's SageMaker, which has no models."""
    answer = send(str(aws.endpoint_url), "POST", "/", [("X-Amz-Target", target), signed("sagemaker")], b"{}")
    assert answer.status == 400
    assert json.loads(answer.body)["__type"] == "UnknownOperationException"
    assert "SageMaker has no operation" in json.loads(answer.body)["message"]


@pytest.mark.parametrize(
    ("service", "prefix"),
    [
        ("logs", "Logs_20140328"),
        ("glue", "AWSGlue"),
        ("sqs", "AmazonSQS"),
        ("monitoring", "GraniteServiceVersion20100801"),
    ],
)
def test_an_operation_that_a_service_of_moto_has_not_is_unknown(aws: Aws, service: str, prefix: str) -> None:
    """In JSON, not a page of HTML."""
    target = ("X-Amz-Target", f"{prefix}.MakeCoffee")
    answer = send(str(aws.endpoint_url), "POST", "/", [target, signed(service)], b"{}")
    assert answer.status == 400
    assert json.loads(answer.body)["__type"] == "UnknownOperationException"


@pytest.mark.parametrize("service", ["iam", "sts", "sns"])
def test_an_action_that_a_service_has_not_is_invalid(aws: Aws, service: str) -> None:
    """As the query protocol says it."""
    for form in (b"Action=MakeCoffee&Version=1", b"", b"Action="):
        answer = send(str(aws.endpoint_url), "POST", "/", [FORM, signed(service)], form)
        assert answer.status == 400
        assert ElementTree.fromstring(answer.body).findtext("Error/Code") == "InvalidAction"


def test_an_operation_that_moto_lacks_is_refused_by_name(aws: Aws) -> None:
    """501, for all that AWS's service has it."""
    with expect_client_error("NotImplementedHere") as message:
        _client(aws, "glue").list_blueprints()
    assert message[0].startswith("ListBlueprints of Glue is not implemented by the embedded AWS")


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/"), ("DELETE", "/"), ("GET", "/"), ("PATCH", "/"), ("POST", "/x")],
)
def test_the_json_protocol_takes_post_to_the_root_alone(
    aws: Aws, sagemaker: Any, name: str, method: str, path: str
) -> None:
    """Whatever else is asked, nothing is done."""
    target = ("X-Amz-Target", "SageMaker.CreateModel")
    body = json.dumps(model_request(name)).encode()
    answer = send(str(aws.endpoint_url), method, path, [target, signed("sagemaker")], body)
    assert answer.status == 400
    assert f"SageMaker takes POST to /, found {method} to " in json.loads(answer.body)["message"]
    with expect_client_error("ValidationException"):
        sagemaker.describe_model(ModelName=name)


def _json(service: str, target: str, **request: Any) -> tuple[list[tuple[str, str]], bytes]:
    return [("X-Amz-Target", target), signed(service)], json.dumps(request).encode()


@pytest.mark.parametrize("longer", [1, 1000])
def test_a_body_that_breaks_off_runs_nothing(aws: Aws, sagemaker: Any, name: str, longer: int) -> None:
    """Even where what came is whole by itself; nor does one in chunks, whose end could be anywhere."""
    url = str(aws.endpoint_url)
    form = f"Action=CreateRole&Version=2010-05-08&RoleName={name}&AssumeRolePolicyDocument=%7B%7D".encode()
    topic = f"Action=CreateTopic&Version=2010-03-31&Name={name}".encode()
    cut: list[tuple[list[tuple[str, str]], bytes]] = [
        _json("sagemaker", "SageMaker.CreateProcessingJob", **processing_request(name)),
        _json("logs", "Logs_20140328.CreateLogGroup", logGroupName=name),
        _json("glue", "AWSGlue.CreateDatabase", DatabaseInput={"Name": name}),
        ([FORM, signed("iam")], form),
        ([FORM, signed("sns")], topic),
    ]
    for headers, body in cut:
        answer = send(url, "POST", "/", headers, body, length=len(body) + longer)
        assert answer.status == 400
        assert f"The body ends after {len(body)} of {len(body) + longer} bytes" in answer.body.decode()
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        assert send(url, "POST", "/", [*headers, ("Transfer-Encoding", "chunked")], chunks).status == 400
    assert send(url, "POST", "/_local/faults", [], b'{"kind": "throttle"}', length=99).status == 400
    assert aws.server is not None
    assert aws.server.local("GET", "faults") == {"faults": []}
    with expect_client_error("ValidationException"):
        sagemaker.describe_processing_job(ProcessingJobName=name)
    with expect_client_error("NoSuchEntity"):
        aws.client("iam").get_role(RoleName=name)
    with expect_client_error("EntityNotFoundException"):
        aws.client("glue").get_database(Name=name)
    assert aws.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"] == []
    assert name not in str(aws.client("sns").list_topics()["Topics"])


def test_an_object_that_breaks_off_is_not_stored(aws: Aws, s3: Any, s3_prefix: str) -> None:
    """Whole, as a part, in chunks, as a form; nor is what an order that breaks off says done."""
    url, old = str(aws.endpoint_url), aws.put(f"{s3_prefix}old", b"whole")
    bucket, _, key = old.removeprefix("s3://").partition("/")
    upload = s3.create_multipart_upload(Bucket=bucket, Key=f"{key}-parts")["UploadId"]
    part = {"Bucket": bucket, "Key": f"{key}-parts", "UploadId": upload}
    etag = s3.upload_part(**part, PartNumber=1, Body=b"x")["ETag"]
    listed = f"<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
    complete = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>"
    delete = f"<Delete><Object><Key>{key}</Key></Object></Delete>"
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    for method, path, body in (
        ("PUT", f"/{bucket}/{key}", "cut"),
        ("PUT", f"/{bucket}/{key}-new", ""),
        ("PUT", f"/{bucket}/{key}-parts?partNumber=2&uploadId={upload}", "cut"),
        ("POST", f"/{bucket}/{key}-parts?uploadId={upload}", complete),
        ("POST", f"/{bucket}?delete", delete),
        ("PUT", f"/{bucket}/{key}?tagging", tags),
        ("PUT", f"/{bucket}-new", ""),
    ):
        answer = send(url, method, path, [signed("s3")], body.encode(), length=len(body) + 5)
        assert answer.status == 400
        assert ElementTree.fromstring(answer.body).findtext("Code") == "IncompleteBody"
    chunked = [signed("s3"), ("Transfer-Encoding", "chunked")]
    for chunks in (b"3\r\ncut\r\n", b"5\r\ncut", b"ffffff\r\ncut", b"x\r\ncut\r\n0\r\n\r\n", b""):
        assert send(url, "PUT", f"/{bucket}/{key}", chunked, chunks).status >= 400
    assert aws.get(old) == b"whole"
    assert aws.keys(s3_prefix) == ["old"]
    assert [each["PartNumber"] for each in s3.list_parts(**part)["Parts"]] == [1]
    assert s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] == []
    assert f"{bucket}-new" not in [each["Name"] for each in s3.list_buckets()["Buckets"]]


def test_a_whole_object_in_chunks_is_stored(aws: Aws, s3_prefix: str) -> None:
    """As clients send what has no length yet."""
    path = f"/{s3_prefix.removeprefix('s3://')}key"
    headers = [signed("s3"), ("Transfer-Encoding", "chunked")]
    assert (
        send(str(aws.endpoint_url), "PUT", path, headers, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").status == 200
    )
    assert aws.get(f"{s3_prefix}key") == b"abcde"


def test_methods_that_s3_has_not_are_refused_in_its_form(aws: Aws) -> None:
    """Not by a page of HTML."""
    for method in ("PATCH", "PROPFIND", "TRACE", "CONNECT"):
        answer = send(str(aws.endpoint_url), method, "/bucket/key", [signed("s3")])
        assert answer.status == 405
        assert ElementTree.fromstring(answer.body).findtext("Code") == "MethodNotAllowed"


def test_a_form_without_a_signature_is_refused(aws: Aws) -> None:
    """Only STS takes one, from who has a token of somebody else's."""
    answer = send(
        str(aws.endpoint_url), "POST", "/", [FORM], b"Action=CreateUser&UserName=x&Version=2010-05-08"
    )
    assert answer.status == 403
    assert ElementTree.fromstring(answer.body).findtext("Error/Code") == "MissingAuthenticationTokenException"
    sts = _client(aws, "sts", signature_version=UNSIGNED)
    role = "arn:aws:iam::123456789012:role/anybody"
    given = sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="me", WebIdentityToken="token")
    assert given["AssumedRoleUser"]["Arn"].endswith("assumed-role/anybody/me")


def test_a_presigned_url_is_of_s3_alone(aws: Aws) -> None:
    """A link must not be able to do what a query protocol's form does."""
    query = (
        "Action=CreateUser&UserName=x&Version=2010-05-08&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0"
    )
    scope = "&X-Amz-Credential=test%2F20260101%2Fus-east-1%2Fiam%2Faws4_request"
    answer = send(str(aws.endpoint_url), "GET", f"/?{query}{scope}")
    assert answer.status == 400
    assert aws.client("iam").list_users()["Users"] == []


def test_what_pipelines_call_is_served(aws: Aws, name: str) -> None:
    """The catalog's Glue, and the notifiers' SNS with queues to look into."""
    glue = aws.client("glue")
    glue.create_database(DatabaseInput={"Name": name})
    assert glue.get_tables(DatabaseName=name)["TableList"] == []
    sns, sqs = aws.client("sns"), aws.client("sqs")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    sns.publish(TopicArn=topic, Message="the night failed")
    [message] = sqs.receive_message(QueueUrl=queue)["Messages"]
    assert message["Body"] == "the night failed"


def test_glue_and_sns_outlive_a_stop(start_server: Callable[..., Any], name: str) -> None:
    """As S3 does."""
    first = start_server({})
    first.client("glue").create_database(DatabaseInput={"Name": name})
    topic = first.client("sns").create_topic(Name=name)["TopicArn"]
    assert first.stop() == 0
    again = start_server({})
    assert again.client("glue").get_database(Name=name)["Database"]["Name"] == name
    assert [each["TopicArn"] for each in again.client("sns").list_topics()["Topics"]] == [topic]
