"""AWS's refusals, word for word where sagemaker.md, section 1.1, quotes them."""

from __future__ import annotations

from include.local_aws.api.errors import (
    ConflictError,
    ResourceInUseError,
    ResourceLimitError,
    ThrottlingError,
    ValidationError,
)


def duplicate_job(arn: str) -> ResourceInUseError:
    """The name of the job was used before, by a job in whatever state."""
    return ResourceInUseError(
        "Job name must be unique within an AWS account and region, and a job with this name already exists "
        f"({arn})"
    )


def missing_transform_job(name: str) -> ValidationError:
    """DescribeTransformJob of a name that is not there."""
    return ValidationError(f"Could not find requested job with name: {name}")


def missing_processing_job(name: str) -> ValidationError:
    """DescribeProcessingJob of a name that is not there."""
    return ValidationError(f"Could not find requested job with name: {name}")


def nothing_to_stop(name: str) -> ValidationError:
    """StopTransformJob, StopProcessingJob of a name that is not there."""
    return ValidationError(f"Could not find job to update with name: {name}")


def not_stoppable(words: str, status: str) -> ValidationError:
    """Stop of a job that has ended; `words` is "transform job" or "processing job"."""
    return ValidationError(f"The request was rejected because the {words} is in status {status}")


def missing_model(arn: str) -> ValidationError:
    """DescribeModel, DeleteModel and CreateTransformJob of a model that is not there."""
    return ValidationError(f'Could not find model "{arn}".')


def duplicate_model(arn: str) -> ValidationError:
    """CreateModel with a name in use."""
    return ValidationError(f'Cannot create already existing model "{arn}".')


def missing_package(arn: str) -> ValidationError:
    """DescribeModelPackage and others of a package that is not there."""
    return ValidationError(f"ModelPackage {arn} does not exist.")


def missing_package_group(arn: str) -> ValidationError:
    """DescribeModelPackageGroup and others of a group that is not there."""
    return ValidationError(f"ModelPackageGroup {arn} does not exist.")


def duplicate_package_group(arn: str) -> ValidationError:
    """CreateModelPackageGroup with a name in use."""
    return ValidationError(f"Model Package Group already exists: {arn}")


def duplicate_package(arn: str) -> ValidationError:
    """CreateModelPackage with the name of a package that stands alone."""
    return ValidationError(f"Model Package already exists: {arn}")


def package_group_in_use(arn: str, packages: int) -> ConflictError:
    """DeleteModelPackageGroup of a group that has versions."""
    return ConflictError(
        f"Model Package Group {arn} cannot be deleted because it has {packages} Model Packages. Delete them first"
    )


def token_used(arn: str) -> ConflictError:
    """CreateModelPackage with the ClientToken of another request."""
    return ConflictError(f"ClientToken was used before, to create {arn}")


def package_not_approved(arn: str, status: str) -> ValidationError:
    """CreateModel from a version that may not be deployed."""
    return ValidationError(
        f"ModelPackage {arn} is {status}; ModelApprovalStatus must be Approved to create a model from a version"
    )


def package_name_and_group() -> ValidationError:
    """CreateModelPackage with both."""
    return ValidationError(
        "Both ModelPackageName and ModelPackageGroupName are provided in the input. Cannot determine which one to use."
    )


def package_without_name() -> ValidationError:
    """CreateModelPackage with neither a name nor a group."""
    return ValidationError("Missing ARN.")


def no_objects(uri: str, bucket: str, region: str, role: str, s3_message: str | None) -> ValidationError:
    """CreateTransformJob whose input holds no object, or whose bucket cannot be listed."""
    detail = f" Error message from S3: {s3_message}" if s3_message else ""
    return ValidationError(
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
        f"exists in the selected region ({region}), that objects exist under that S3 prefix, and that the role "
        f'"{role}" has "s3:ListBucket" permissions on bucket "{bucket}".{detail}'
    )


def model_data_source() -> ValidationError:
    """CreateTransformJob with a model that names its artefacts by ModelDataSource."""
    return ValidationError(
        "SageMaker Batch currently doesn't support Model entity with container definitions which use "
        "ModelDataSource attribute"
    )


def quota(name: str, limit: int, in_use: int, asked: int) -> ResourceLimitError:
    """`name` is the quota's, e.g. "ml.m5.xlarge for transform job usage"."""
    return ResourceLimitError(
        f"The account-level service limit '{name}' is {limit} Instances, with current utilization of {in_use} "
        f"Instances and a request delta of {asked} Instances. Please use AWS Service Quotas to request an "
        "increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an "
        "increase for this quota."
    )


def throttled() -> ThrottlingError:
    """Too many calls."""
    return ThrottlingError("Rate exceeded")


def role_not_assumable(role: str) -> ValidationError:
    """The role is not there, or does not trust SageMaker."""
    return ValidationError(
        f"Could not assume role {role}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role."
    )
