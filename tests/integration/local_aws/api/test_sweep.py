"""A random sweep over the request shapes: never 500, and never accepted what botocore's model forbids.

What the model forbids is said by JSON schemas made here from the same shapes, checked by `jsonschema`: a way of
its own, apart from the server's walker.
"""

from __future__ import annotations

import copy
import json
import string
import uuid
from typing import Any

import botocore.session
import jsonschema
import pytest
import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_aws.api.operations import OPERATIONS
from tests.integration.local_aws.api.requests import (
    IMAGE,
    ROLE,
    model_request,
    processing_request,
    transform_request,
    version_request,
)
from tests.integration.local_aws.api.test_wire import post
from tests.integration.local_aws.conftest import Aws

pytestmark = pytest.mark.local_only

SERVICE = botocore.session.get_session().get_service_model("sagemaker")


def _pattern(validator: Any, pattern: str, value: object, _schema: Any) -> Any:
    try:
        compiled = regex.compile(pattern)
    except regex.error:
        return
    if isinstance(value, str) and not compiled.fullmatch(value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern}")


# JSON schema's own `pattern` searches; AWS's patterns are Java's, for the whole value.
Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})


def schema(shape: Any) -> dict[str, Any]:
    """The shape as a JSON schema; null is allowed where a member may be left out."""
    definitions: dict[str, Any] = {}
    return {**_schema(shape, definitions), "$defs": definitions}


def _schema(shape: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Structures are defined by their names, since some hold themselves."""
    kind, limits = shape.type_name, shape.metadata
    if kind == "structure":
        if shape.name not in definitions:
            definitions[shape.name] = {}
            required = set(shape.required_members)
            of_members = {name: _schema(member, definitions) for name, member in shape.members.items()}
            definitions[shape.name] = {
                "type": "object",
                "properties": {
                    name: member if name in required else {"anyOf": [{"type": "null"}, member]}
                    for name, member in of_members.items()
                },
                "required": sorted(required),
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{shape.name}"}
    if kind == "list":
        result = {"type": "array", "items": _schema(shape.member, definitions)}
        return _limited(result, limits, "minItems", "maxItems")
    if kind == "map":
        result = {
            "type": "object",
            "propertyNames": _schema(shape.key, definitions),
            "additionalProperties": _schema(shape.value, definitions),
        }
        return _limited(result, limits, "minProperties", "maxProperties")
    if kind == "string":
        result = {"type": "string"} | {key: limits[key] for key in ("enum", "pattern") if key in limits}
        return _limited(result, limits, "minLength", "maxLength")
    if kind in ("integer", "long"):
        return _limited({"type": "integer"}, limits, "minimum", "maximum")
    return {"type": "boolean" if kind == "boolean" else "number"}


def _limited(result: dict[str, Any], limits: dict[str, Any], low: str, high: str) -> dict[str, Any]:
    if "min" in limits:
        result[low] = limits["min"]
    if "max" in limits:
        result[high] = limits["max"]
    return result


VALIDATORS = {name: Validator(schema(SERVICE.operation_model(name).input_shape)) for name in OPERATIONS}


# Drawn step by step, since strategies nested as deep as the shapes have descriptions of gigabytes.
@st.composite
def values(draw: st.DrawFn, shape: Any) -> Any:
    """A value that mostly fits the shape, and at times does not."""
    kind, limits = shape.type_name, shape.metadata
    if draw(st.integers(0, 19)) == 0:
        return draw(anything)
    if kind == "structure":
        required = set(shape.required_members)
        chosen = {name for name in shape.members if name in required or draw(st.integers(0, 2)) == 0}
        return {name: draw(values(shape.members[name])) for name in sorted(chosen)}
    if kind == "list":
        return [draw(values(shape.member)) for _ in range(draw(st.integers(0, 3)))]
    if kind == "map":
        keys = [draw(_strings(shape.key.metadata)) for _ in range(draw(st.integers(0, 3)))]
        return {key: draw(values(shape.value)) for key in keys}
    if kind == "string":
        return draw(_strings(limits))
    if kind in ("integer", "long"):
        return draw(st.integers(limits.get("min", 0) - 1, min(limits.get("max", 200), 200) + 1))
    if kind == "boolean":
        return draw(st.booleans())
    return draw(st.floats(0, 2e9, allow_nan=False) | st.just(1e300))


def _strings(limits: dict[str, Any]) -> st.SearchStrategy[str]:
    fitting = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=12)
    known = st.sampled_from(["s3://bucket/key", ROLE, IMAGE, "/opt/ml/processing/x", "a_b", "", "$[1:]"])
    choices = [st.sampled_from(limits["enum"])] * 3 if "enum" in limits else [fitting, known]
    if "max" in limits and limits["max"] < 300:
        choices.append(st.just("x" * (limits["max"] + 1)))
    return st.one_of(*choices, st.text(max_size=8))


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [path, *(below for key, item in value.items() for below in _paths(item, (*path, key)))]
    if isinstance(value, list):
        return [path, *(below for key, item in enumerate(value) for below in _paths(item, (*path, key)))]
    return [path]


@st.composite
def mutated(draw: st.DrawFn, request: dict[str, Any], shape: Any) -> dict[str, Any]:
    """A request that is accepted, with members taken away, replaced, or added."""
    request = copy.deepcopy(request)
    for _ in range(draw(st.integers(0, 2))):
        paths = [path for path in _paths(request) if path]
        if not paths:
            break
        *parents, last = draw(st.sampled_from(paths))
        owner: Any = request
        for key in parents:
            owner = owner[key]
        change = draw(st.sampled_from(["delete", "replace", "add"]))
        if change == "delete":
            del owner[last]
        elif change == "replace":
            owner[last] = draw(anything)
        elif isinstance(owner, dict):
            owner[draw(st.text(max_size=4))] = draw(anything)
    optional = [name for name in shape.members if name not in request]
    for name in draw(st.lists(st.sampled_from(optional), max_size=2, unique=True)) if optional else []:
        request[name] = draw(values(shape.members[name]))
    return request


def check(aws: Aws, operation: str, request: dict[str, Any]) -> int:
    """Send it; the two promises of this file."""
    status, answer = post(aws, operation, json.dumps(request).encode())
    assert status in (200, 400), (status, answer)
    if status == 200:
        problems = [error.message for error in VALIDATORS[operation].iter_errors(request)]
        assert problems == []
    else:
        assert answer["__type"]
        assert answer.get("message") or answer.get("Message")
    return status


@pytest.fixture(scope="module")
def accepted(aws: Aws, sagemaker: Any) -> dict[str, dict[str, Any]]:
    """For each operation a request that is accepted, or would be with another name."""
    prefix = aws.prefix()
    aws.put(f"{prefix}in", b"1\n")
    sagemaker.create_model(**model_request("sweep"))
    transform = transform_request("sweep", "sweep", f"{prefix}in")
    processing = processing_request("sweep")
    sagemaker.create_transform_job(**transform)
    sagemaker.create_processing_job(**processing)
    arn = sagemaker.describe_model(ModelName="sweep")["ModelArn"]
    sagemaker.create_model_package_group(ModelPackageGroupName="sweep")
    version = version_request("sweep", CustomerMetadataProperties={"a": "b"}, ModelApprovalStatus="Approved")
    package = sagemaker.create_model_package(**version)["ModelPackageArn"]
    page = {"MaxResults": 5, "SortBy": "Name", "SortOrder": "Ascending", "NameContains": "s"}
    return {
        "AddTags": {"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "b"}]},
        "BatchDescribeModelPackage": {"ModelPackageArnList": [package]},
        "CreateModel": model_request("sweep"),
        "CreateProcessingJob": processing,
        "CreateTransformJob": transform,
        "CreateModelPackage": version,
        "CreateModelPackageGroup": {"ModelPackageGroupName": "sweep", "ModelPackageGroupDescription": "d"},
        "DeleteModel": {"ModelName": "none"},
        "DeleteModelPackage": {"ModelPackageName": "none"},
        "DeleteModelPackageGroup": {"ModelPackageGroupName": "none"},
        "DeleteTags": {"ResourceArn": arn, "TagKeys": ["a"]},
        "DescribeModel": {"ModelName": "sweep"},
        "DescribeModelPackage": {"ModelPackageName": package},
        "DescribeModelPackageGroup": {"ModelPackageGroupName": "sweep"},
        "DescribeProcessingJob": {"ProcessingJobName": "sweep"},
        "DescribeTransformJob": {"TransformJobName": "sweep"},
        "ListModelPackageGroups": page,
        "ListModelPackages": {**page, "ModelPackageGroupName": "sweep", "ModelApprovalStatus": "Approved"},
        "ListModels": page,
        "ListProcessingJobs": {**page, "StatusEquals": "Completed", "CreationTimeAfter": 1.5},
        "ListTags": {"ResourceArn": arn},
        "ListTransformJobs": {**page, "LastModifiedTimeBefore": 2e9},
        "Search": {
            "Resource": "ModelPackage",
            "SearchExpression": {
                "Filters": [{"Name": "ModelApprovalStatus", "Operator": "Equals", "Value": "Approved"}],
                "SubExpressions": [
                    {"Filters": [{"Name": "ModelPackageVersion", "Value": "1"}], "Operator": "Or"}
                ],
            },
            "SortBy": "CreationTime",
            "MaxResults": 5,
        },
        "StopProcessingJob": {"ProcessingJobName": "none"},
        "StopTransformJob": {"TransformJobName": "none"},
        "UpdateModelPackage": {"ModelPackageArn": package, "CustomerMetadataProperties": {"c": "d"}},
    }


NEW_NAME = {
    "CreateModel": "ModelName",
    "CreateModelPackageGroup": "ModelPackageGroupName",
    "CreateProcessingJob": "ProcessingJobName",
    "CreateTransformJob": "TransformJobName",
}
SWEEP = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_an_accepted_request_is_accepted(
    aws: Aws, operation: str, accepted: dict[str, dict[str, Any]]
) -> None:
    """So that the sweep starts from requests which reach the end, not from ones refused for another reason."""
    request = dict(accepted[operation])
    if operation in NEW_NAME:
        request[NEW_NAME[operation]] = uuid.uuid4().hex
    refused_for_lack_of_it = operation.startswith(("Delete", "Stop")) and operation != "DeleteTags"
    assert check(aws, operation, request) == (400 if refused_for_lack_of_it else 200)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_requests_near_an_accepted_one_never_fail_the_server(
    aws: Aws, operation: str, accepted: dict[str, dict[str, Any]]
) -> None:
    """One or two changes to a good request."""
    shape = SERVICE.operation_model(operation).input_shape

    @SWEEP
    @given(mutated(accepted[operation], shape))
    def sweep(request: dict[str, Any]) -> None:
        if operation in NEW_NAME and request.get(NEW_NAME[operation]) == "sweep":
            request[NEW_NAME[operation]] = uuid.uuid4().hex
        check(aws, operation, request)

    sweep()


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_requests_of_the_shape_never_fail_the_server(aws: Aws, operation: str) -> None:
    """Every member of the shape, filled at random."""

    @SWEEP
    @given(values(SERVICE.operation_model(operation).input_shape))
    def sweep(request: Any) -> None:
        check(aws, operation, request)

    sweep()
