"""Builds AWS's errors, with AWS's wording where sagemaker.md, section 1.1, quotes it."""

from __future__ import annotations

from local_aws.api.errors import (
    ConflictError,
    ResourceInUseError,
    ResourceLimitError,
    ThrottlingError,
    ValidationError,
)


def duplicate_job(arn: str) -> ResourceInUseError:
    """CreateTransformJob, CreateProcessingJob: a job of this name exists, in any state."""
    return ResourceInUseError(
        "Job name must be unique within an AWS account and region, and a job with this name already exists "
        f"({arn})"
    )


def missing_job(name: str) -> ValidationError:
    """DescribeTransformJob, DescribeProcessingJob: no job of this name."""
    return ValidationError(f"Could not find requested job with name: {name}")


def missing_job_to_stop(name: str) -> ValidationError:
    """StopTransformJob, StopProcessingJob: no job of this name."""
    return ValidationError(f"Could not find job to update with name: {name}")


def job_not_stoppable(job_kind: str, status: str) -> ValidationError:
    """StopTransformJob, StopProcessingJob: the job has ended; `job_kind` is "transform job" or "processing job"."""
    return ValidationError(f"The request was rejected because the {job_kind} is in status {status}")


def missing_model(arn: str) -> ValidationError:
    """DescribeModel, DeleteModel, CreateTransformJob: no such model."""
    return ValidationError(f'Could not find model "{arn}".')


def duplicate_model(arn: str) -> ValidationError:
    """CreateModel: the name is in use."""
    return ValidationError(f'Cannot create already existing model "{arn}".')


def missing_package(arn: str) -> ValidationError:
    """DescribeModelPackage and others: no such package."""
    return ValidationError(f"ModelPackage {arn} does not exist.")


def missing_package_group(arn: str) -> ValidationError:
    """DescribeModelPackageGroup and others: no such group."""
    return ValidationError(f"ModelPackageGroup {arn} does not exist.")


def duplicate_package_group(arn: str) -> ValidationError:
    """CreateModelPackageGroup: the name is in use."""
    return ValidationError(f"Model Package Group already exists: {arn}")


def duplicate_package(arn: str) -> ValidationError:
    """CreateModelPackage: the name is in use by a package without a group."""
    return ValidationError(f"Model Package already exists: {arn}")


def package_group_in_use(arn: str, package_count: int) -> ConflictError:
    """DeleteModelPackageGroup: the group has versions."""
    return ConflictError(
        f"Model Package Group {arn} cannot be deleted because it has {package_count} Model Packages. Delete them first"
    )


def client_token_reused(arn: str) -> ConflictError:
    """CreateModelPackage: the ClientToken belongs to another request."""
    return ConflictError(f"ClientToken was used before, to create {arn}")


def package_not_approved(arn: str, status: str) -> ValidationError:
    """CreateModel: the version is not approved."""
    return ValidationError(
        f"ModelPackage {arn} is {status}; ModelApprovalStatus must be Approved to create a model from a version"
    )


def package_name_and_group_given() -> ValidationError:
    """CreateModelPackage: both a name and a group."""
    return ValidationError(
        "Both ModelPackageName and ModelPackageGroupName are provided in the input. Cannot determine which one to use."
    )


def no_package_name_or_group_given() -> ValidationError:
    """CreateModelPackage: neither a name nor a group."""
    return ValidationError("Missing ARN.")


def no_input_objects(
    uri: str, bucket: str, region: str, role: str, s3_message: str | None
) -> ValidationError:
    """CreateTransformJob: the input has no object, or its bucket cannot be listed."""
    detail = f" Error message from S3: {s3_message}" if s3_message else ""
    return ValidationError(
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
        f"exists in the selected region ({region}), that objects exist under that S3 prefix, and that the role "
        f'"{role}" has "s3:ListBucket" permissions on bucket "{bucket}".{detail}'
    )


def model_data_source_unsupported() -> ValidationError:
    """CreateTransformJob: the model gives its artefacts by ModelDataSource."""
    return ValidationError(
        "SageMaker Batch currently doesn't support Model entity with container definitions which use "
        "ModelDataSource attribute"
    )


def quota_exceeded(quota_name: str, limit: int, in_use: int, requested: int) -> ResourceLimitError:
    """CreateTransformJob, CreateProcessingJob: a quota, e.g. "ml.m5.xlarge for transform job usage", is exceeded."""
    return ResourceLimitError(
        f"The account-level service limit '{quota_name}' is {limit} Instances, with current utilization of {in_use} "
        f"Instances and a request delta of {requested} Instances. Please use AWS Service Quotas to request an "
        "increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an "
        "increase for this quota."
    )


def rate_exceeded() -> ThrottlingError:
    """Any operation: too many calls."""
    return ThrottlingError("Rate exceeded")


def role_not_assumable(role: str) -> ValidationError:
    """CreateModel, CreateProcessingJob: the role does not exist, or does not trust SageMaker."""
    return ValidationError(
        f"Could not assume role {role}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role."
    )
