"""DeleteModelPackage: removes the entry only; models created from it stay."""

from __future__ import annotations

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call
from include.local_aws.api.registry import get_package


def delete_model_package(call: Call) -> None:
    """Its version number is not used again."""
    package = get_package(call, call.request["ModelPackageName"])
    if not call.services.store.registry.delete(package.region, package.name_key):
        raise catalogue.missing_package(package.arn)
