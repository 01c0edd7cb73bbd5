"""The two quotas of every job: of its instance type, and across all jobs of its kind."""

from __future__ import annotations

from collections.abc import Callable

from include.local_aws.api import catalogue
from include.local_aws.api.kinds import JobKind
from include.local_aws.settings import Settings
from include.local_aws.state.jobs import Job


def check_quotas(settings: Settings, kind: JobKind, job: Job) -> Callable[[dict[str, int]], None]:
    """A check for the store's transaction: raises ResourceLimitExceeded, naming the quota exceeded."""

    def check(in_use: dict[str, int]) -> None:
        of_type = f"{job.instance_type} for {kind.words} usage"
        limits = (
            (
                of_type,
                settings.instance_quotas.get(of_type, settings.default_instance_quota),
                in_use.get(job.instance_type, 0),
            ),
            (
                kind.across,
                settings.instance_quotas.get(kind.across, across_limit(settings, kind)),
                sum(in_use.values()),
            ),
        )
        for name, limit, used in limits:
            if used + job.instance_count > limit:
                raise catalogue.quota(name, limit, used, job.instance_count)

    return check


def across_limit(settings: Settings, kind: JobKind) -> int:
    """The quota over all instance types of a kind of job."""
    if kind.kind == "transform":
        return settings.transform_instances_quota
    return settings.processing_instances_quota
