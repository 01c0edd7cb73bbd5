"""Lists the operations that the server implements; each has its own file."""

from __future__ import annotations

from include.local_aws.api.call import Handler
from include.local_aws.api.operations.add_tags import add_tags
from include.local_aws.api.operations.batch_describe_model_package import batch_describe_model_package
from include.local_aws.api.operations.create_model import create_model
from include.local_aws.api.operations.create_model_package import create_model_package
from include.local_aws.api.operations.create_model_package_group import create_model_package_group
from include.local_aws.api.operations.create_processing_job import create_processing_job
from include.local_aws.api.operations.create_transform_job import create_transform_job
from include.local_aws.api.operations.delete_model import delete_model
from include.local_aws.api.operations.delete_model_package import delete_model_package
from include.local_aws.api.operations.delete_model_package_group import delete_model_package_group
from include.local_aws.api.operations.delete_tags import delete_tags
from include.local_aws.api.operations.describe_model import describe_model
from include.local_aws.api.operations.describe_model_package import describe_model_package
from include.local_aws.api.operations.describe_model_package_group import describe_model_package_group
from include.local_aws.api.operations.describe_processing_job import describe_processing_job
from include.local_aws.api.operations.describe_transform_job import describe_transform_job
from include.local_aws.api.operations.list_model_package_groups import list_model_package_groups
from include.local_aws.api.operations.list_model_packages import list_model_packages
from include.local_aws.api.operations.list_models import list_models
from include.local_aws.api.operations.list_processing_jobs import list_processing_jobs
from include.local_aws.api.operations.list_tags import list_tags
from include.local_aws.api.operations.list_transform_jobs import list_transform_jobs
from include.local_aws.api.operations.search import search
from include.local_aws.api.operations.stop_processing_job import stop_processing_job
from include.local_aws.api.operations.stop_transform_job import stop_transform_job
from include.local_aws.api.operations.update_model_package import update_model_package

OPERATIONS: dict[str, Handler] = {
    "AddTags": add_tags,
    "BatchDescribeModelPackage": batch_describe_model_package,
    "CreateModel": create_model,
    "CreateModelPackage": create_model_package,
    "CreateModelPackageGroup": create_model_package_group,
    "CreateProcessingJob": create_processing_job,
    "CreateTransformJob": create_transform_job,
    "DeleteModel": delete_model,
    "DeleteModelPackage": delete_model_package,
    "DeleteModelPackageGroup": delete_model_package_group,
    "DeleteTags": delete_tags,
    "DescribeModel": describe_model,
    "DescribeModelPackage": describe_model_package,
    "DescribeModelPackageGroup": describe_model_package_group,
    "DescribeProcessingJob": describe_processing_job,
    "DescribeTransformJob": describe_transform_job,
    "ListModelPackageGroups": list_model_package_groups,
    "ListModelPackages": list_model_packages,
    "ListModels": list_models,
    "ListProcessingJobs": list_processing_jobs,
    "ListTags": list_tags,
    "ListTransformJobs": list_transform_jobs,
    "Search": search,
    "StopProcessingJob": stop_processing_job,
    "StopTransformJob": stop_transform_job,
    "UpdateModelPackage": update_model_package,
}
