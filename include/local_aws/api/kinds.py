"""What Transform and Processing jobs differ in, as data."""

from __future__ import annotations

from dataclasses import dataclass

from include.local_aws.state.jobs import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """One kind of job.

    Attributes:
        prefix: of its member names, e.g. "Transform" in TransformJobName.
        resource: in its ARN.
        words: in AWS's sentences.
        across: the quota over all its instance types.
        across_code: that quota's code in Service Quotas.
        instance_types: the shape that lists them.
        default_order: of its List operation.
    """

    kind: Kind
    prefix: str
    resource: str
    words: str
    across: str
    across_code: str
    instance_types: str
    default_order: str

    @property
    def name_field(self) -> str:
        """The member that holds the job's name."""
        return f"{self.prefix}JobName"


TRANSFORM = JobKind(
    kind="transform",
    prefix="Transform",
    resource="transform-job",
    words="transform job",
    across="Number of instances across all transform jobs",
    across_code="L-60D2A6F0",
    instance_types="TransformInstanceType",
    default_order="Descending",
)
PROCESSING = JobKind(
    kind="processing",
    prefix="Processing",
    resource="processing-job",
    words="processing job",
    across="Number of instances across all processing jobs",
    across_code="L-F311B08F",
    instance_types="ProcessingInstanceType",
    default_order="Ascending",
)
