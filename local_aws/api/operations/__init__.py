"""Lists the operations that the server implements; each resource has its own file."""

from __future__ import annotations

from functools import partial

from local_aws.api.call import Handler
from local_aws.api.operations import (
    models,
    package_groups,
    packages,
    processing_jobs,
    search,
    tags,
    transform_jobs,
)
from local_aws.api.resources.job_kinds import PROCESSING, TRANSFORM
from local_aws.api.resources.jobs import list_jobs, stop_job

OPERATIONS: dict[str, Handler] = {
    "AddTags": tags.add_tags,
    "BatchDescribeModelPackage": packages.batch_describe_model_package,
    "CreateModel": models.create_model,
    "CreateModelPackage": packages.create_model_package,
    "CreateModelPackageGroup": package_groups.create_model_package_group,
    "CreateProcessingJob": processing_jobs.create_processing_job,
    "CreateTransformJob": transform_jobs.create_transform_job,
    "DeleteModel": models.delete_model,
    "DeleteModelPackage": packages.delete_model_package,
    "DeleteModelPackageGroup": package_groups.delete_model_package_group,
    "DeleteTags": tags.delete_tags,
    "DescribeModel": models.describe_model,
    "DescribeModelPackage": packages.describe_model_package,
    "DescribeModelPackageGroup": package_groups.describe_model_package_group,
    "DescribeProcessingJob": processing_jobs.describe_processing_job,
    "DescribeTransformJob": transform_jobs.describe_transform_job,
    "ListModelPackageGroups": package_groups.list_model_package_groups,
    "ListModelPackages": packages.list_model_packages,
    "ListModels": models.list_models,
    "ListProcessingJobs": partial(list_jobs, kind=PROCESSING),
    "ListTags": tags.list_tags,
    "ListTransformJobs": partial(list_jobs, kind=TRANSFORM),
    "Search": search.search,
    "StopProcessingJob": partial(stop_job, kind=PROCESSING),
    "StopTransformJob": partial(stop_job, kind=TRANSFORM),
    "UpdateModelPackage": packages.update_model_package,
}
