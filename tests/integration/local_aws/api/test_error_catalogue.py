"""Every refusal of the catalogue, as code and message; most of them could be asked of a real account."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest

from local_aws.api import errors
from tests.integration.local_aws.api.requests import (
    IMAGE,
    expect_client_error,
    model_request,
    processing_request,
    transform_request,
)
from tests.integration.local_aws.conftest import Aws
from tests.integration.local_aws.servers import REGION


def _account(role_arn: str) -> str:
    return role_arn.split(":")[4]


def test_errors_of_the_service_models_have_their_message_where_the_model_has_it() -> None:
    """As `Message`, unlike the errors that no model knows."""
    session = botocore.session.get_session()
    shapes = {
        shape.error_code: set(shape.members)
        for service in ("sagemaker", "service-quotas", "pricing")
        for shape in session.get_service_model(service).error_shapes
        # Throttling is raised for SageMaker alone, whose model does not have it.
        if shape.error_code != "ThrottlingException"
    }
    bodies = [
        each("text").to_body()
        for each in vars(errors).values()
        if isinstance(each, type) and each is not errors.AwsError
    ]
    modelled = {body.pop("__type"): set(body) for body in bodies if body["__type"] in shapes}
    assert {"ResourceInUse", "ResourceLimitExceeded", "ConflictException"} < set(modelled)
    assert modelled == {code: shapes[code] for code in modelled}


@pytest.mark.local_only
def test_a_job_name_is_used_up_for_ever_whatever_its_case(sagemaker: Any, transform: dict[str, Any]) -> None:
    """ResourceInUse with the ARN of the job that has the name."""
    arn = sagemaker.create_transform_job(**transform)["TransformJobArn"]
    for name in (transform["TransformJobName"], transform["TransformJobName"].upper()):
        with expect_client_error("ResourceInUse") as message:
            sagemaker.create_transform_job(**{**transform, "TransformJobName": name})
        assert message[0] == (
            "Job name must be unique within an AWS account and region, and a job with this name already exists "
            f"({arn})"
        )


@pytest.mark.local_only
def test_a_processing_job_name_is_used_up_too_but_kinds_do_not_clash(
    sagemaker: Any, transform: dict[str, Any]
) -> None:
    """A transform job and a processing job may share a name."""
    name = transform["TransformJobName"]
    sagemaker.create_transform_job(**transform)
    arn = sagemaker.create_processing_job(**processing_request(name))["ProcessingJobArn"]
    with expect_client_error("ResourceInUse") as message:
        sagemaker.create_processing_job(**processing_request(name))
    assert message[0].endswith(f"already exists ({arn})")


@pytest.mark.parametrize(
    ("operation", "member", "text"),
    [
        ("describe_transform_job", "TransformJobName", "Could not find requested job with name: {name}"),
        ("describe_processing_job", "ProcessingJobName", "Could not find requested job with name: {name}"),
        ("stop_transform_job", "TransformJobName", "Could not find job to update with name: {name}"),
        ("stop_processing_job", "ProcessingJobName", "Could not find job to update with name: {name}"),
        (
            "describe_model",
            "ModelName",
            'Could not find model "arn:aws:sagemaker:{region}:{account}:model/{name}".',
        ),
        (
            "delete_model",
            "ModelName",
            'Could not find model "arn:aws:sagemaker:{region}:{account}:model/{name}".',
        ),
        *(
            (
                f"{verb}_model_package",
                "ModelPackageName",
                "ModelPackage arn:aws:sagemaker:{region}:{account}:model-package/{name} does not exist.",
            )
            for verb in ("describe", "delete")
        ),
        *(
            (
                operation,
                "ModelPackageGroupName",
                "ModelPackageGroup arn:aws:sagemaker:{region}:{account}:model-package-group/{name} does not exist.",
            )
            for operation in (
                "describe_model_package_group",
                "delete_model_package_group",
                "list_model_packages",
                "create_model_package",
            )
        ),
    ],
)
def test_what_is_not_there_is_a_validation_exception(
    sagemaker: Any, role_arn: str, name: str, operation: str, member: str, text: str
) -> None:
    """AWS answers ValidationException, never ResourceNotFound."""
    with expect_client_error("ValidationException") as message:
        getattr(sagemaker, operation)(**{member: name})
    assert message == [text.format(name=name, region=REGION, account=_account(role_arn))]


def test_a_transform_job_of_a_missing_model_is_refused(
    sagemaker: Any, role_arn: str, name: str, s3_prefix: str
) -> None:
    """At Create, naming the model's ARN."""
    with expect_client_error("ValidationException") as message:
        sagemaker.create_transform_job(**transform_request(name, f"{name}-m", s3_prefix))
    arn = f"arn:aws:sagemaker:{REGION}:{_account(role_arn)}:model/{name}-m"
    assert message == [f'Could not find model "{arn}".']


def test_a_model_name_in_use_is_refused(sagemaker: Any, role_arn: str, model: str) -> None:
    """Until it is deleted."""
    arn = sagemaker.describe_model(ModelName=model)["ModelArn"]
    with expect_client_error("ValidationException") as message:
        sagemaker.create_model(**model_request(model, ExecutionRoleArn=role_arn))
    assert message == [f'Cannot create already existing model "{arn}".']


@pytest.mark.parametrize("key", [None, "folder/"])
def test_an_empty_prefix_is_refused_at_create(
    aws: Aws, sagemaker: Any, role_arn: str, name: str, model: str, s3_prefix: str, key: str | None
) -> None:
    """A key that ends in "/" is a folder mark of consoles, not an input."""
    uri = f"{s3_prefix}nothing/"
    if key:
        aws.put(f"{uri}{key}", b"")
    bucket = uri.split("/")[2]
    with expect_client_error("ValidationException") as message:
        sagemaker.create_transform_job(**transform_request(name, model, uri))
    assert message[0] == (
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
        f"exists in the selected region ({REGION}), that objects exist under that S3 prefix, and that the role "
        f'"{role_arn}" has "s3:ListBucket" permissions on bucket "{bucket}".'
    )


def test_a_missing_bucket_adds_what_s3_said(sagemaker: Any, name: str, model: str) -> None:
    """The same text, with S3's own message at its end."""
    with expect_client_error("ValidationException") as message:
        sagemaker.create_transform_job(
            **transform_request(name, model, "s3://no-such-bucket-of-these-tests/in")
        )
    assert message[0].startswith(
        'No S3 objects found under S3 URL "s3://no-such-bucket-of-these-tests/in" given'
    )
    assert message[0].endswith("Error message from S3: The specified bucket does not exist")


def test_the_prefix_is_a_raw_string_prefix(
    aws: Aws, sagemaker: Any, name: str, model: str, s3_prefix: str
) -> None:
    """`in/da` finds `in/data.csv`; the refusal is for prefixes that nothing starts with."""
    aws.put(f"{s3_prefix}in/data.csv", b"1\n")
    sagemaker.create_transform_job(**transform_request(name, model, f"{s3_prefix}in/da"))
    sagemaker.stop_transform_job(TransformJobName=name)


def test_a_model_with_model_data_source_cannot_be_used_in_batch(
    aws: Aws, sagemaker: Any, role_arn: str, name: str, s3_prefix: str
) -> None:
    """CreateModel takes it, CreateTransformJob refuses it."""
    source = {"S3Uri": f"{s3_prefix}model/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    container = {"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}}
    sagemaker.create_model(**model_request(name, PrimaryContainer=container, ExecutionRoleArn=role_arn))
    aws.put(f"{s3_prefix}in", b"1\n")
    with expect_client_error("ValidationException") as message:
        sagemaker.create_transform_job(**transform_request(name, name, f"{s3_prefix}in"))
    sagemaker.delete_model(ModelName=name)
    assert message[0] == (
        "SageMaker Batch currently doesn't support Model entity with container definitions which use "
        "ModelDataSource attribute"
    )


def test_one_broken_constraint_is_named_with_value_and_path(sagemaker: Any) -> None:
    """The path is in lower camel case; the pattern is the model's."""
    with expect_client_error("ValidationException") as message:
        sagemaker.describe_transform_job(TransformJobName="under_score")
    assert message[0] == (
        "1 validation error detected: Value 'under_score' at 'transformJobName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    )


def test_several_broken_constraints_come_in_one_message(sagemaker: Any, transform: dict[str, Any]) -> None:
    """Counted, separated by semicolons, with list and map members as AWS spells them."""
    changes = {
        "MaxConcurrentTransforms": -1,
        "Environment": {"1": "x"},
        "Tags": [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": "v" * 257}],
        "TransformResources": {"InstanceType": "ml.m5.tiny", "InstanceCount": 1},
    }
    del transform["ModelName"]
    unchecked = aws_client_without_validation(sagemaker)
    with expect_client_error("ValidationException") as message:
        unchecked.create_transform_job(**{**transform, **changes})
    head, _, tail = message[0].partition(" detected: ")
    assert head == "5 validation errors"
    assert (
        "Value '-1' at 'maxConcurrentTransforms' failed to satisfy constraint: Member must have value greater"
        in tail
    )
    assert "Value null at 'modelName' failed to satisfy constraint: Member must not be null" in tail
    assert (
        "Value '{1=x}' at 'environment' failed to satisfy constraint: Map keys must satisfy constraint: ["
        in tail
    )
    assert (
        f"Value '{'v' * 257}' at 'tags.2.member.value' failed to satisfy constraint: Member must have length"
        in tail
    )
    assert (
        "Value 'ml.m5.tiny' at 'transformResources.instanceType' failed to satisfy constraint: Member must"
        in tail
    )
    assert len(tail.split("; Value ")) == 5


def aws_client_without_validation(sagemaker: Any) -> Any:
    """The same client, without botocore's own look at the parameters."""
    import boto3
    from botocore.config import Config

    credentials = sagemaker._request_signer._credentials
    return boto3.client(
        "sagemaker",
        endpoint_url=sagemaker.meta.endpoint_url,
        region_name=sagemaker.meta.region_name,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.token,
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )


def _with(transform: dict[str, Any], content: str, processing: dict[str, str], **io: str) -> dict[str, Any]:
    split, assemble = io.get("split", "Line"), io.get("assemble", "Line")
    return {
        **transform,
        "TransformInput": {**transform["TransformInput"], "ContentType": content, "SplitType": split},
        "TransformOutput": {
            **transform["TransformOutput"],
            "Accept": io.get("accept", content),
            "AssembleWith": assemble,
        },
        "DataProcessing": processing,
    }


def test_an_underscore_in_a_filter_is_refused_at_create(sagemaker: Any, transform: dict[str, Any]) -> None:
    """AWS's words, its list of operators included."""
    path = "$['account_id','SageMakerOutput']"
    with expect_client_error("ValidationException") as message:
        sagemaker.create_transform_job(**_with(transform, "application/jsonlines", {"OutputFilter": path}))
    assert message[0] == (
        f'Invalid OutputFilter: "{path}". Unexpected "_" in JsonPath. Supported operators for '
        "\"application/jsonlines\" are ['$', '[', ']', '*', '.', ' ', ',', ':', '-', ''']"
    )


def test_a_filter_longer_than_63_characters_is_refused(sagemaker: Any, transform: dict[str, Any]) -> None:
    """By the model's constraint."""
    path = "$[0," + ",".join(["11"] * 20) + "]"
    with expect_client_error("ValidationException") as message:
        sagemaker.create_transform_job(**_with(transform, "text/csv", {"InputFilter": path}))
    assert message[0] == (
        f"1 validation error detected: Value '{path}' at 'dataProcessing.inputFilter' failed to satisfy "
        "constraint: Member must have length less than or equal to 63"
    )


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("x", '"x"'),
        ("$[", "end"),
        ("$[0", "end"),
        ("$['a]", '"]"'),
        ("$[1,'a']", '"\'"'),
        ("$..a", '"."'),
        ("$[1:2:3]", '":"'),
        ("$[a]", '"a"'),
        ("$.field1.['child1','child2.grandchild']", '"."'),
        ("$.a.", "end"),
        (" $", '" "'),
        ("", "end"),
    ],
)
def test_what_is_not_a_json_path_is_refused(
    sagemaker: Any, transform: dict[str, Any], path: str, found: str
) -> None:
    """Naming the filter, the text and, in AWS's words, what does not fit."""
    with expect_client_error("ValidationException") as message:
        sagemaker.create_transform_job(**_with(transform, "application/json", {"InputFilter": path}))
    assert message[0].startswith(f'Invalid InputFilter: "{path}". Unexpected {found} in JsonPath. Supported ')


@pytest.mark.local_only
@pytest.mark.parametrize(
    "path",
    [
        "$", "$.id", "$.id.*", "$['id','SageMakerOutput']", "$[1]", "$[1,3,5]", "$[2:5]", "$[:5]", "$[2:]",
        "$.field1.['child1','child2']",
        "$[0, -1]", "$[:-1]", "$[0:2,246:]", "$.features", "$['a','b c']", "$[*]", "$.a.b[0]",
    ],
)  # fmt: skip
def test_json_paths_of_the_documentation_are_accepted(
    sagemaker: Any, transform: dict[str, Any], path: str
) -> None:
    """A list of ranges, too: AWS fails it only when the job runs."""
    sagemaker.create_transform_job(**_with(transform, "application/json", {"OutputFilter": path}))


@pytest.mark.parametrize(
    ("content", "io", "said"),
    [
        ("text/csv", {"accept": "application/json"}, "needs the same ContentType and Accept"),
        (
            "text/plain",
            {},
            "one of text/csv, application/json, application/jsonlines; found ContentType text/plain",
        ),
        (
            "text/csv",
            {"split": "None"},
            "text/csv needs SplitType Line and AssembleWith Line; found SplitType None",
        ),
        ("text/csv", {"assemble": "None"}, "found SplitType Line and AssembleWith None"),
    ],
)
def test_data_processing_has_its_preconditions(
    sagemaker: Any, transform: dict[str, Any], content: str, io: dict[str, str], said: str
) -> None:
    """Same content type in and out, one of three; CSV line by line."""
    with expect_client_error("ValidationException") as message:
        sagemaker.create_transform_job(**_with(transform, content, {"JoinSource": "Input"}, **io))
    assert said in message[0]


def _plain(**changes: Any) -> dict[str, Any]:
    return changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            _plain(BatchStrategy="MultiRecord"),
            "BatchStrategy MultiRecord needs SplitType Line, RecordIO or TFRecord",
        ),
        (
            _plain(MaxConcurrentTransforms=11, MaxPayloadInMB=10),
            "MaxConcurrentTransforms * MaxPayloadInMB must not exceed 100 MB, found 11 * 10 = 110",
        ),
        (
            _plain(MaxPayloadInMB=101),
            "Value '101' at 'maxPayloadInMB' failed to satisfy constraint: Member must have",
        ),
        (
            _plain(TransformResources={"InstanceType": "ml.m5.xlarge", "InstanceCount": 101}),
            "Value '101' at 'transformResources.instanceCount' failed to satisfy constraint",
        ),
        (
            _plain(
                TransformResources={"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeKmsKeyId": "k"}
            ),
            "VolumeKmsKeyId cannot be given for ml.g5.xlarge",
        ),
    ],
)
def test_limits_that_only_prose_knows_are_refused(
    sagemaker: Any, transform: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    """They are not in botocore's model."""
    with expect_client_error("ValidationException") as message:
        sagemaker.create_transform_job(**{**transform, **changes})
    assert said in message[0]


@pytest.mark.parametrize("data_type", ["AugmentedManifestFile", "Converse"])
def test_data_types_that_batch_cannot_read_are_refused(
    sagemaker: Any, transform: dict[str, Any], data_type: str
) -> None:
    """They are in the enum for other APIs."""
    transform["TransformInput"]["DataSource"]["S3DataSource"]["S3DataType"] = data_type
    with expect_client_error("ValidationException") as message:
        sagemaker.create_transform_job(**transform)
    assert message[0].startswith(f"S3DataType {data_type} is not supported by batch transform")


@pytest.mark.parametrize("payload", [0, 50])
@pytest.mark.local_only
def test_a_concurrency_whose_product_with_the_payload_fits_is_accepted(
    sagemaker: Any, transform: dict[str, Any], payload: int
) -> None:
    """100 MB is allowed; payload 0 is unlimited and counts nothing."""
    sagemaker.create_transform_job(**transform, MaxConcurrentTransforms=2, MaxPayloadInMB=payload)
