"""Which model a run uses, from what SageMaker answers."""

from __future__ import annotations

from typing import Any

import pytest

from batch_inference.common.errors import ModelError
from batch_inference.config.run_params import RunParams
from batch_inference.planning.model_version import (
    ModelPlan,
    build_no_version_error,
    build_unknown_model_error,
    check_package_instance_types,
    has_alias,
    plan_existing_model,
    plan_model_without_lookup,
    plan_packaged_model,
)
from batch_inference.planning.planner import make_plan
from tests.unit.builders import TWO_CONTAINERS, context, objects, pipeline, run_info

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/churn/7"


def described(**changes: Any) -> dict[str, Any]:
    """DescribeModelPackage of an approved version."""
    return {
        "ModelPackageName": "churn",
        "ModelPackageGroupName": "Churn",
        "ModelPackageVersion": 7,
        "ModelPackageArn": ARN,
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": "Approved",
        "InferenceSpecification": {"Containers": [{"Image": "i:1"}, {"Image": "i:2"}]},
        **changes,
    }


def test_a_version_is_told_from_others_by_group_and_number() -> None:
    assert plan_packaged_model(described()) == ModelPlan(
        name=None, containers=2, key="churn/7", package=ARN, group="Churn", version=7
    )


def test_a_package_that_stands_alone_needs_no_approval() -> None:
    arn = ARN.removesuffix("/7")
    alone = described(ModelPackageArn=arn, ModelPackageVersion=None, ModelApprovalStatus=None)
    assert plan_packaged_model(alone) == ModelPlan(name=None, containers=2, key="churn", package=arn)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"ModelApprovalStatus": "Rejected"},
            f"{ARN} is Rejected; only an approved version may score. Approve it",
        ),
        (
            {"ModelApprovalStatus": "PendingManualApproval"},
            f"{ARN} is PendingManualApproval; only an approved",
        ),
        (
            {"ModelPackageStatus": "InProgress"},
            f"{ARN} is InProgress, so no model can be made of it; wait for it",
        ),
        ({"InferenceSpecification": {}}, f"{ARN} has no InferenceSpecification"),
        (
            {"InferenceSpecification": {"Containers": [{"Image": "i", "ModelDataSource": {}}]}},
            f"container 1 of {ARN} names its artefacts by ModelDataSource, which batch transform cannot use",
        ),
    ],
)
def test_what_may_not_score_is_refused_with_what_to_do(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=r"^model: ") as caught:
        plan_packaged_model(described(**changes))
    assert said in str(caught.value)


def test_a_package_is_held_to_the_instance_types_it_was_registered_for() -> None:
    specification = {"Containers": [{"Image": "i"}], "SupportedTransformInstanceTypes": ["ml.c5.xlarge"]}
    description = described(InferenceSpecification=specification)
    model = plan_packaged_model(description)
    check_package_instance_types(model, description, ["ml.c5.xlarge"])
    check_package_instance_types(model, described(), ["ml.m5.xlarge"])
    with pytest.raises(ModelError, match=r"found ml.m5.xlarge, and arn.* was registered for 'ml.c5.xlarge'"):
        check_package_instance_types(model, description, ["ml.c5.xlarge", "ml.m5.xlarge"])


def test_an_existing_model_tells_how_many_containers_it_has() -> None:
    one = {"ModelName": "m", "PrimaryContainer": {"Image": "i"}}
    assert plan_existing_model(one) == ModelPlan(name="m", containers=1, key="m")
    assert plan_existing_model({"ModelName": "m", "Containers": [{}, {}]}).containers == 2


def test_an_alias_is_one_of_those_in_the_customer_metadata() -> None:
    """Whole words only."""
    version = described(CustomerMetadataProperties={"alias": "champion, nightly"})
    assert has_alias(version, "nightly")
    assert not has_alias(version, "night")
    assert not has_alias(described(), "nightly")


VERSIONS = [
    {"ModelApprovalStatus": status}
    for status in ("PendingManualApproval", "Rejected", "PendingManualApproval")
]


@pytest.mark.parametrize(
    ("section", "versions", "said"),
    [
        (
            {"group": "g"},
            VERSIONS,
            "the group g has no approved version; it has 3 versions: 2 PendingManualApproval, 1 Rejected. Approve one",
        ),
        ({"group": "g"}, [], "it has no version at all"),
        ({"group": "g", "version": 9}, VERSIONS, "the group g has no version 9; it has 3 versions"),
        (
            {"group": "g", "alias": "champion"},
            [{"ModelApprovalStatus": "Approved"}],
            "has the alias 'champion'; it has 1 version: 1 Approved. Set the customer metadata property 'alias' of one",
        ),
    ],
)
def test_a_group_without_such_a_version_says_what_it_has(
    section: dict[str, Any], versions: list[dict[str, str]], said: str
) -> None:
    assert said in str(build_no_version_error(pipeline({"model": section}).model, versions))


@pytest.mark.parametrize("section", [{"name": "m"}, {"package": ARN}, {"group": "g"}])
def test_what_sagemaker_does_not_have_is_named_with_its_field(section: dict[str, str]) -> None:
    [(field, name)] = section.items()
    said = str(build_unknown_model_error(pipeline({"model": section}).model, "does not exist."))
    assert said.startswith(
        f"model.{field}: found {name!r}, which SageMaker does not have in this account and region"
    )


@pytest.mark.parametrize(
    ("section", "key", "containers"),
    [
        ({"name": "m"}, "m", 0),
        ({"package": ARN}, "churn/7", 0),
        ({"group": "arn:aws:sagemaker:eu-west-1:123456789012:model-package-group/churn"}, "churn", 0),
        (TWO_CONTAINERS, "containers-", 2),
    ],
)
def test_without_asking_anybody_a_model_has_a_key(section: dict[str, Any], key: str, containers: int) -> None:
    model = plan_model_without_lookup(pipeline({"model": section}))
    assert model.key.startswith(key)
    assert model.containers == containers


def test_the_plan_holds_the_version_says_it_and_heeds_its_containers() -> None:
    """Two containers can hand each other 5 MB; nobody could know that from the file."""
    config = pipeline({"model": {"group": "churn"}})
    model = plan_packaged_model(described())
    made = make_plan(config, RunParams(), objects([1_000_000]), run_info(), context(config, model=model))
    assert made.model == model
    assert made.transform.max_payload_mb == 5
    assert f"A model is made for the run from version 7 of Churn ({ARN})." in made.sentences
