"""The quotas of jobs: of each instance type, and across all jobs of a kind."""

from __future__ import annotations

from collections.abc import Callable

from include.local_aws.api import catalogue
from include.local_aws.api.kinds import JobKind
from include.local_aws.settings import Settings
from include.local_aws.state.jobs import Job


def check_quotas(settings: Settings, kind: JobKind, job: Job) -> Callable[[dict[str, int]], None]:
    """A check for the store's transaction: raises ResourceLimitExceeded, naming the quota exceeded."""

    def check(in_use: dict[str, int]) -> None:
        of_type = of_type_name(kind, job.instance_type)
        for name, used in ((of_type, in_use.get(job.instance_type, 0)), (kind.across, sum(in_use.values()))):
            limit = limit_of(settings, kind, name)
            if used + job.instance_count > limit:
                raise catalogue.quota(name, limit, used, job.instance_count)

    return check


def of_type_name(kind: JobKind, instance_type: str) -> str:
    """AWS's name of the quota of one instance type."""
    return f"{instance_type} for {kind.words} usage"


def limit_of(settings: Settings, kind: JobKind, name: str) -> int:
    """The quota of this name: of an instance type, or the one across all jobs of the kind."""
    default = settings.default_instance_quota
    if name == kind.across:
        transform = kind.kind == "transform"
        default = settings.transform_instances_quota if transform else settings.processing_instances_quota
    return settings.instance_quotas.get(name, default)
