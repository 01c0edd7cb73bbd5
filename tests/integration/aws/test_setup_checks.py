"""What Airflow's role may not look at is a sentence of the plan, and never ends a run."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from batch_inference.aws import setup_checks
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.planning.model_version import ModelPlan, plan_existing_model
from tests.unit.builders import pipeline

MODEL = ModelPlan(key="m", containers=1, model_data=("s3://models/a.tar.gz",))
WITH_WHEELS = pipeline({"preprocess.wheels": "s3://data/wheels/"})


def fail(error: Exception) -> Callable[..., Any]:
    """A call of AWS that fails."""

    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


def deny(status: int = 403, **headers: str) -> ClientError:
    """AWS's answer to who may not."""
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    error = {"Code": "AccessDenied", "Message": "no"}
    return ClientError({"Error": error, "ResponseMetadata": metadata}, "Look")  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [deny(), EndpointConnectionError(endpoint_url="https://iam")])
def test_what_may_not_be_looked_at_is_a_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the permission that is missing; IAM cannot be reached from a private network either."""
    monkeypatch.setattr(setup_checks, "get_client", lambda _: SimpleNamespace(get_role=fail(error)))
    storage: Any = SimpleNamespace(head=fail(deny()), list_uris=fail(deny()))
    found = setup_checks.check_resources(storage, WITH_WHEELS, MODEL)
    assert not any(each.is_problem for each in found)
    wanted = (
        "s3:GetObject on s3://models/a.tar.gz",
        "s3:ListBucket for s3://data/wheels/",
        "iam:GetRole on it",
    )
    for each, permission in zip(found, wanted, strict=True):
        assert f"allow {permission} to Airflow's role" in each.text


def test_a_bucket_that_may_not_be_listed_still_tells_its_region() -> None:
    """Policies that allow to list some prefixes refuse HeadBucket."""

    def look(region: str) -> list[str]:
        head = fail(deny(**{"x-amz-bucket-region": region}))
        storage: Any = SimpleNamespace(region="us-east-1", client=SimpleNamespace(head_bucket=head))
        return [each.text for each in setup_checks.check_buckets(storage, {"work": "s3://bucket/work"})]

    assert look("us-east-1") == []
    assert "found the bucket bucket in eu-west-1, and the jobs run in us-east-1" in look("eu-west-1")[0]


def test_an_archive_that_a_model_names_by_https_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_checks, "get_client", lambda _: SimpleNamespace(get_role=fail(deny())))
    model = MODEL.model_copy(update={"model_data": ("https://s3.amazonaws.com/m/a.tar.gz",)})
    storage: Any = SimpleNamespace(head=split_s3_uri)
    (said,) = setup_checks.check_resources(storage, pipeline(), model)
    assert "the role" in said.text


@pytest.mark.parametrize("action", ["STS:assumerole", "sts:Assume*", "*"])
@pytest.mark.parametrize("principal", ["*", {"Service": ["ec2.amazonaws.com", "sagemaker.amazonaws.com"]}])
def test_trust_is_read_as_iam_writes_it(principal: Any, action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One item without its list, with wildcards, and in any case of letters."""
    trust: dict[str, Any] = {"Statement": {"Effect": "Allow", "Principal": principal, "Action": action}}
    role = {"Arn": WITH_WHEELS.role, "AssumeRolePolicyDocument": trust}
    client = SimpleNamespace(get_role=lambda **_: {"Role": role})
    monkeypatch.setattr(setup_checks, "get_client", lambda _: client)
    storage: Any = SimpleNamespace(head=lambda _: {}, list_uris=lambda _: ["s3://data/wheels/a.whl"])
    assert setup_checks.check_resources(storage, WITH_WHEELS, MODEL) == []
    trust["Statement"]["Effect"] = "Deny"
    assert len(setup_checks.check_resources(storage, WITH_WHEELS, MODEL)) == 1


def test_of_an_existing_model_the_archives_are_known_and_a_prefix_of_many_models_is_none() -> None:
    containers = [
        {"ModelDataUrl": "s3://m/a.tar.gz"},
        {"Image": "i"},
        {"Mode": "MultiModel", "ModelDataUrl": "s3://m/"},
    ]
    assert plan_existing_model({"ModelName": "m", "Containers": containers}).model_data == (
        "s3://m/a.tar.gz",
    )


@pytest.mark.parametrize(
    ("uri", "near"),
    [
        ("s3://data/abalone/inputs/", "s3://data/abalone/input/"),
        ("s3://data/abalon/input/2026-01-05/", "s3://data/abalone/"),
        ("s3://data/abalone/input/2026-01-06/", "s3://data/abalone/input/2026-01-05/"),
        ("s3://data/abalone/input/", None),
        ("s3://data/abalone/zzz/", None),
        ("s3://data/", None),
        ("s3://denied/abalone/", None),
    ],
)
def test_a_misspelt_prefix_is_told_from_its_neighbours(uri: str, near: str | None) -> None:
    """At the deepest level where there are folders; a role that may not list them is told nothing."""
    folders = {
        "s3://data/": ["s3://data/abalone/", "s3://data/models/"],
        "s3://data/abalone/": ["s3://data/abalone/input/", "s3://data/abalone/output/"],
        "s3://data/abalone/input/": [
            "s3://data/abalone/input/2026-01-04/",
            "s3://data/abalone/input/2026-01-05/",
        ],
    }

    def list_folders(parent: str) -> list[str]:
        if parent.startswith("s3://denied/"):
            raise deny()
        return folders.get(parent, [])

    storage: Any = SimpleNamespace(list_folders=list_folders)
    assert setup_checks.find_near_folder(storage, uri) == near
