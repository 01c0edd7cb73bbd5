"""Describes the differences between transform and processing jobs as data."""

from __future__ import annotations

from dataclasses import dataclass

from local_aws.state.jobs import JobKindName


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """One kind of job.

    Attributes:
        member_prefix: prefix of its member names, e.g. "Transform" in TransformJobName.
        arn_resource: the resource type in its ARN.
        display_name: its name in AWS's messages.
        total_quota_name: name of the quota over all its instance types.
        total_quota_code: that quota's code in Service Quotas.
        instance_type_shape: the shape of botocore's model that lists its instance types.
        default_sort_order: SortOrder of its List operation, if not given.
    """

    name: JobKindName
    member_prefix: str
    arn_resource: str
    display_name: str
    total_quota_name: str
    total_quota_code: str
    instance_type_shape: str
    default_sort_order: str

    @property
    def name_member(self) -> str:
        """The member that holds the job's name."""
        return f"{self.member_prefix}JobName"


TRANSFORM = JobKind(
    name="transform",
    member_prefix="Transform",
    arn_resource="transform-job",
    display_name="transform job",
    total_quota_name="Number of instances across all transform jobs",
    total_quota_code="L-60D2A6F0",
    instance_type_shape="TransformInstanceType",
    default_sort_order="Descending",
)
PROCESSING = JobKind(
    name="processing",
    member_prefix="Processing",
    arn_resource="processing-job",
    display_name="processing job",
    total_quota_name="Number of instances across all processing jobs",
    total_quota_code="L-F311B08F",
    instance_type_shape="ProcessingInstanceType",
    default_sort_order="Ascending",
)
