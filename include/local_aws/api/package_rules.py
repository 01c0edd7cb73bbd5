"""What the registry refuses beyond the shapes, how an update is merged, and which containers a package stands for."""

from __future__ import annotations

from typing import Any

from include.local_aws.api import catalogue
from include.local_aws.api.errors import ValidationError

# In botocore's model; an update adds to what is there.
MOST_ADDITIONAL = 15
MOST_PROPERTIES = 50
# What a container definition takes over from a package's.
TAKEN = ("ContainerHostname", "Image", "ModelDataUrl", "ModelDataSource", "Environment")


def check_package_request(request: dict[str, Any]) -> None:
    """Raise ValidationError for a CreateModelPackage request that no package can come of."""
    name, group = request.get("ModelPackageName"), request.get("ModelPackageGroupName")
    if name is not None and group is not None:
        raise catalogue.package_name_and_group()
    if name is None and group is None:
        raise catalogue.package_without_name()
    if group is not None and request.get("Tags"):
        raise ValidationError(
            "Tags cannot be given to a version of a model package group, which has its group's tags"
        )
    if request.get("CertifyForMarketplace"):
        raise ValidationError(
            "CertifyForMarketplace: there is no marketplace here; leave it out or write false"
        )
    check_specifications(request)


def check_specifications(request: dict[str, Any]) -> None:
    """Raise ValidationError for specifications of the same name, or containers without an image."""
    more = [
        *request.get("AdditionalInferenceSpecifications", []),
        *request.get("AdditionalInferenceSpecificationsToAdd", []),
    ]
    _check_names([each["Name"] for each in more])
    for specification in (request.get("InferenceSpecification"), *more):
        for number, container in enumerate((specification or {}).get("Containers", []), start=1):
            if "Image" not in container:
                raise ValidationError(f"Image is missing in container {number} of a specification")
            if "ModelDataUrl" in container and "ModelDataSource" in container:
                raise ValidationError(
                    f"Both ModelDataUrl and ModelDataSource are given in container {number}; give one"
                )


def merged_request(stored: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """A package's request after UpdateModelPackage."""
    plain = (
        "ApprovalDescription",
        "InferenceSpecification",
        "ModelLifeCycle",
        "ModelPackageRegistrationType",
        "SourceUri",
    )
    merged = {**stored, **{name: update[name] for name in plain if name in update}}
    properties = {
        **stored.get("CustomerMetadataProperties", {}),
        **update.get("CustomerMetadataProperties", {}),
    }
    for key in update.get("CustomerMetadataPropertiesToRemove", []):
        properties.pop(key, None)
    if len(properties) > MOST_PROPERTIES:
        raise ValidationError(
            f"CustomerMetadataProperties would be {len(properties)}, allowed are {MOST_PROPERTIES}"
        )
    more = [
        *stored.get("AdditionalInferenceSpecifications", []),
        *update.get("AdditionalInferenceSpecificationsToAdd", []),
    ]
    _check_names([each["Name"] for each in more])
    if len(more) > MOST_ADDITIONAL:
        raise ValidationError(
            f"AdditionalInferenceSpecifications would be {len(more)}, allowed are {MOST_ADDITIONAL}"
        )
    for name, value in (
        ("CustomerMetadataProperties", properties),
        ("AdditionalInferenceSpecifications", more),
    ):
        merged.pop(name, None)
        if value:
            merged[name] = value
    return merged


def containers_of(arn: str, request: dict[str, Any], reference: dict[str, Any]) -> list[dict[str, Any]]:
    """The container definitions that a package stands for.

    `request` is the package's, `reference` the container definition that names it; its Environment comes over the
    package's. Raises ValidationError when the package has no such specification.
    """
    specification = request.get("InferenceSpecification")
    asked = reference.get("InferenceSpecificationName")
    if asked is not None:
        more = request.get("AdditionalInferenceSpecifications", [])
        specification = next((each for each in more if each["Name"] == asked), None)
    if specification is None:
        which = "InferenceSpecification" if asked is None else f"inference specification {asked!r}"
        raise ValidationError(f"ModelPackage {arn} has no {which}, so no model can be made of it")
    environment = reference.get("Environment", {})
    return [
        {
            **{name: container[name] for name in TAKEN if name in container},
            **({"Environment": {**container.get("Environment", {}), **environment}} if environment else {}),
            "ModelPackageName": reference["ModelPackageName"],
        }
        for container in specification["Containers"]
    ]


def _check_names(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValidationError(f"The inference specification name {twice[0]!r} is given twice")
