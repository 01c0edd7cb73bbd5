"""Describes the differences between transform and processing jobs as data."""

from __future__ import annotations

from dataclasses import dataclass

from local_aws.state.jobs import JobKindName


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """One kind of job.

    Attributes:
        total_quota_code: code in Service Quotas of the quota over all its instance types.
        default_sort_order: SortOrder of its List operation, if not given.
    """

    name: JobKindName
    total_quota_code: str
    default_sort_order: str

    @property
    def display_name(self) -> str:
        """Its name in AWS's messages."""
        return f"{self.name} job"

    @property
    def total_quota_name(self) -> str:
        """Name of the quota over all its instance types."""
        return f"Number of instances across all {self.name} jobs"

    @property
    def member_prefix(self) -> str:
        """Prefix of its members and shapes, e.g. "Transform" in TransformJobName."""
        return self.name.capitalize()

    @property
    def name_member(self) -> str:
        """The member that holds the job's name."""
        return f"{self.member_prefix}JobName"


TRANSFORM = JobKind(name="transform", total_quota_code="L-60D2A6F0", default_sort_order="Descending")
PROCESSING = JobKind(name="processing", total_quota_code="L-F311B08F", default_sort_order="Ascending")
