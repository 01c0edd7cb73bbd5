"""CreateModelPackageGroup."""

from __future__ import annotations

from typing import Any

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call
from include.local_aws.api.registry import GROUP_RESOURCE
from include.local_aws.api.tagging import parse_tags
from include.local_aws.state.registry import DuplicatePackageError, PackageGroup


def create_model_package_group(call: Call) -> dict[str, Any]:
    """An empty group; the name must be free."""
    request = call.request
    name = request["ModelPackageGroupName"]
    group = PackageGroup(
        region=call.region,
        name=name,
        name_key=call.build_name_key(name),
        arn=call.build_arn(GROUP_RESOURCE, name),
        request=request,
        created_at=call.now,
    )
    try:
        call.services.store.registry.create_group(group, parse_tags(request))
    except DuplicatePackageError as error:
        raise catalogue.duplicate_package_group(error.arn) from error
    return {"ModelPackageGroupArn": group.arn}
