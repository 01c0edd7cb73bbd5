"""DeleteModelPackageGroup."""

from __future__ import annotations

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call
from include.local_aws.api.registry import get_group
from include.local_aws.state.registry import GroupInUseError


def delete_model_package_group(call: Call) -> None:
    """Refused while the group has versions."""
    group = get_group(call, call.request["ModelPackageGroupName"])
    try:
        deleted = call.services.store.registry.delete_group(group.region, group.name_key)
    except GroupInUseError as error:
        raise catalogue.package_group_in_use(group.arn, error.package_count) from error
    if not deleted:
        raise catalogue.missing_package_group(group.arn)
