"""Validates requests of the model registry beyond their shapes, merges updates, and builds a package's containers."""

from __future__ import annotations

from typing import Any

from local_aws.api.errors import ValidationError
from local_aws.api.rules import aws_messages

# Limits of botocore's model, checked again after a merge: an update adds to the stored ones.
MAX_ADDITIONAL_SPECIFICATIONS = 15
MAX_METADATA_PROPERTIES = 50
# Members that a container definition takes from its package.
CONTAINER_MEMBERS = ("ContainerHostname", "Image", "ModelDataUrl", "ModelDataSource", "Environment")


def check_package_request(request: dict[str, Any]) -> None:
    """Raise ValidationError for an invalid CreateModelPackage request."""
    name, group = request.get("ModelPackageName"), request.get("ModelPackageGroupName")
    if name is not None and group is not None:
        raise aws_messages.package_name_and_group_given()
    if name is None and group is None:
        raise aws_messages.no_package_name_or_group_given()
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
    additional = [
        *request.get("AdditionalInferenceSpecifications", []),
        *request.get("AdditionalInferenceSpecificationsToAdd", []),
    ]
    _check_names([each["Name"] for each in additional])
    for specification in (request.get("InferenceSpecification"), *additional):
        for number, container in enumerate((specification or {}).get("Containers", []), start=1):
            if "Image" not in container:
                raise ValidationError(f"Image is missing in container {number} of a specification")
            if "ModelDataUrl" in container and "ModelDataSource" in container:
                raise ValidationError(
                    f"Both ModelDataUrl and ModelDataSource are given in container {number}; give one"
                )


def merge_update(stored: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """A package's request after UpdateModelPackage."""
    replaced_members = (
        "ApprovalDescription",
        "InferenceSpecification",
        "ModelLifeCycle",
        "ModelPackageRegistrationType",
        "SourceUri",
    )
    merged = {**stored, **{name: update[name] for name in replaced_members if name in update}}
    properties = {
        **stored.get("CustomerMetadataProperties", {}),
        **update.get("CustomerMetadataProperties", {}),
    }
    for key in update.get("CustomerMetadataPropertiesToRemove", []):
        properties.pop(key, None)
    if len(properties) > MAX_METADATA_PROPERTIES:
        raise ValidationError(
            f"CustomerMetadataProperties would be {len(properties)}, allowed are {MAX_METADATA_PROPERTIES}"
        )
    specifications = [
        *stored.get("AdditionalInferenceSpecifications", []),
        *update.get("AdditionalInferenceSpecificationsToAdd", []),
    ]
    _check_names([each["Name"] for each in specifications])
    if len(specifications) > MAX_ADDITIONAL_SPECIFICATIONS:
        raise ValidationError(
            f"AdditionalInferenceSpecifications would be {len(specifications)}, "
            f"allowed are {MAX_ADDITIONAL_SPECIFICATIONS}"
        )
    for name, value in (
        ("CustomerMetadataProperties", properties),
        ("AdditionalInferenceSpecifications", specifications),
    ):
        merged.pop(name, None)
        if value:
            merged[name] = value
    return merged


def build_containers(arn: str, request: dict[str, Any], reference: dict[str, Any]) -> list[dict[str, Any]]:
    """The container definitions of a package.

    `request` is the package's, `reference` the container definition that names it, whose Environment overrides the
    package's. Raises ValidationError when the package has no such specification.
    """
    specification = request.get("InferenceSpecification")
    specification_name = reference.get("InferenceSpecificationName")
    if specification_name is not None:
        additional = request.get("AdditionalInferenceSpecifications", [])
        specification = next((each for each in additional if each["Name"] == specification_name), None)
    if specification is None:
        which = (
            "InferenceSpecification"
            if specification_name is None
            else f"inference specification {specification_name!r}"
        )
        raise ValidationError(f"ModelPackage {arn} has no {which}, so no model can be created from it")
    environment = reference.get("Environment", {})
    return [
        {
            **{name: container[name] for name in CONTAINER_MEMBERS if name in container},
            **({"Environment": {**container.get("Environment", {}), **environment}} if environment else {}),
            "ModelPackageName": reference["ModelPackageName"],
        }
        for container in specification["Containers"]
    ]


def _check_names(names: list[str]) -> None:
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ValidationError(f"The inference specification name {duplicates[0]!r} is given twice")
