"""Which members of which request are done, differ, or are refused by name; README.md's table is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from include.local_aws.api.errors import ValidationError


@dataclass(frozen=True, slots=True)
class Support:
    """How a member is treated: done as on AWS, differing and how, or refused and why."""

    how: Literal["done", "differs", "refused"]
    note: str = ""


DONE = Support("done")
RECORDED_KMS = Support("differs", "recorded and echoed; nothing is encrypted here")
RECORDED_VPC = Support("differs", "recorded and echoed; there is no VPC here")
NO_EXPERIMENTS = Support("refused", "there are no experiments here")
NO_DATASETS = Support("refused", "there is no Athena or Redshift here; use S3Input")
NO_FEATURE_STORE = Support("refused", "there is no Feature Store here; use S3Output")

CONTAINER: dict[str, Support] = {
    "ContainerHostname": DONE,
    "Image": DONE,
    "ImageConfig": Support("differs", "recorded; images are commands of this machine, none is pulled"),
    "Mode": Support("differs", "SingleModel only; MultiModel is refused, batch jobs cannot use it"),
    "ModelDataUrl": DONE,
    "ModelDataSource": Support("differs", "recorded; CreateTransformJob refuses the model, as on AWS"),
    "Environment": DONE,
    "AdditionalModelDataSources": Support("refused", "not downloaded here; use ModelDataUrl"),
    "ModelPackageName": Support("refused", "there are no model packages here; name Image and ModelDataUrl"),
    "InferenceSpecificationName": Support("refused", "belongs to model packages, which are not here"),
    "MultiModelConfig": Support("refused", "batch jobs cannot use multi-model endpoints"),
    "ContainerMetricsConfig": Support("refused", "there are no endpoints and no container metrics here"),
}

LIST_JOBS: dict[str, Support] = dict.fromkeys(
    (
        "CreationTimeAfter",
        "CreationTimeBefore",
        "LastModifiedTimeAfter",
        "LastModifiedTimeBefore",
        "NameContains",
        "StatusEquals",
        "SortBy",
        "SortOrder",
        "NextToken",
        "MaxResults",
    ),
    DONE,
)

FIELDS: dict[str, dict[str, Support]] = {
    "CreateTransformJob": {
        "TransformJobName": DONE,
        "ModelName": DONE,
        "MaxConcurrentTransforms": DONE,
        "ModelClientConfig": DONE,
        "MaxPayloadInMB": DONE,
        "BatchStrategy": DONE,
        "Environment": DONE,
        "TransformInput": DONE,
        "TransformInput.DataSource.S3DataSource.S3DataType": Support(
            "differs", "S3Prefix and ManifestFile; AugmentedManifestFile and Converse are refused"
        ),
        "TransformOutput": DONE,
        "TransformOutput.KmsKeyId": RECORDED_KMS,
        "DataCaptureConfig": DONE,
        "DataCaptureConfig.KmsKeyId": RECORDED_KMS,
        "TransformResources": DONE,
        "TransformResources.VolumeKmsKeyId": RECORDED_KMS,
        "TransformResources.TransformAmiVersion": Support("differs", "recorded; instances have no AMI here"),
        "DataProcessing": DONE,
        "Tags": DONE,
        "ExperimentConfig": NO_EXPERIMENTS,
    },
    "CreateProcessingJob": {
        "ProcessingJobName": DONE,
        "ProcessingInputs.InputName": DONE,
        "ProcessingInputs.AppManaged": Support("differs", "false only; true is refused"),
        "ProcessingInputs.S3Input": DONE,
        "ProcessingInputs.DatasetDefinition": NO_DATASETS,
        "ProcessingOutputConfig.Outputs.OutputName": DONE,
        "ProcessingOutputConfig.Outputs.S3Output": DONE,
        "ProcessingOutputConfig.Outputs.FeatureStoreOutput": NO_FEATURE_STORE,
        "ProcessingOutputConfig.Outputs.AppManaged": Support("differs", "false only; true is refused"),
        "ProcessingOutputConfig.KmsKeyId": RECORDED_KMS,
        "ProcessingResources.ClusterConfig.InstanceCount": DONE,
        "ProcessingResources.ClusterConfig.InstanceType": DONE,
        "ProcessingResources.ClusterConfig.VolumeSizeInGB": Support(
            "differs", "recorded; the disk is this machine's"
        ),
        "ProcessingResources.ClusterConfig.VolumeKmsKeyId": RECORDED_KMS,
        "ProcessingResources.ClusterConfig.InstancePreferences": DONE,
        "ProcessingResources.ClusterConfig.SelectedInstanceType": Support(
            "refused", "it belongs to the answer of DescribeProcessingJob"
        ),
        "ProcessingResources.ClusterConfig.SelectedInstanceCount": Support(
            "refused", "it belongs to the answer of DescribeProcessingJob"
        ),
        "StoppingCondition": DONE,
        "AppSpecification": DONE,
        "Environment": DONE,
        "NetworkConfig.EnableInterContainerTrafficEncryption": Support(
            "differs", "recorded; traffic between hosts stays on this machine"
        ),
        "NetworkConfig.EnableNetworkIsolation": DONE,
        "NetworkConfig.VpcConfig": RECORDED_VPC,
        "RoleArn": Support("differs", "recorded; checked against IAM with the setting check_roles"),
        "Tags": DONE,
        "ExperimentConfig": NO_EXPERIMENTS,
    },
    "CreateModel": {
        "ModelName": DONE,
        **{f"PrimaryContainer.{name}": support for name, support in CONTAINER.items()},
        **{f"Containers.{name}": support for name, support in CONTAINER.items()},
        "InferenceExecutionConfig": Support("differs", "Serial only; Direct is refused"),
        "ExecutionRoleArn": Support("differs", "recorded; checked against IAM with the setting check_roles"),
        "Tags": DONE,
        "VpcConfig": RECORDED_VPC,
        "EnableNetworkIsolation": DONE,
    },
    "DescribeTransformJob": {"TransformJobName": DONE},
    "DescribeProcessingJob": {"ProcessingJobName": DONE},
    "DescribeModel": {"ModelName": DONE},
    "DeleteModel": {"ModelName": DONE},
    "StopTransformJob": {"TransformJobName": DONE},
    "StopProcessingJob": {"ProcessingJobName": DONE},
    "ListTransformJobs": LIST_JOBS,
    "ListProcessingJobs": LIST_JOBS,
    "ListModels": {
        name: support
        for name, support in LIST_JOBS.items()
        if name not in ("LastModifiedTimeAfter", "LastModifiedTimeBefore", "StatusEquals")
    },
    "AddTags": {"ResourceArn": DONE, "Tags": DONE},
    "ListTags": {"ResourceArn": DONE, "NextToken": DONE, "MaxResults": DONE},
    "DeleteTags": {"ResourceArn": DONE, "TagKeys": DONE},
}


def refuse_unsupported(operation: str, request: dict[str, Any]) -> None:
    """Raise ValidationError naming the first member of `request` that is not done here."""
    table = FIELDS[operation]
    for path in _paths(request, ""):
        support = _lookup(table, path)
        if support.how == "refused":
            raise ValidationError(
                f"{operation}: '{path}' is not implemented by the embedded AWS: {support.note}. "
                "Leave it out to run here"
            )


def _lookup(table: dict[str, Support], path: str) -> Support:
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        found = table.get(".".join(parts[:length]))
        if found is not None:
            return found
    return Support("refused", "it is in botocore's model, but not in the table of supported members")


def _paths(value: Any, path: str) -> list[str]:
    """Dotted paths of every leaf, list positions left out; a map is a leaf of its own keys."""
    if isinstance(value, dict) and value and path.rsplit(".", 1)[-1] != "Environment":
        return [
            below
            for name, item in value.items()
            for below in _paths(item, f"{path}.{name}" if path else name)
        ]
    if isinstance(value, list) and value:
        return [below for item in value for below in _paths(item, path)]
    # An empty structure or list says nothing, so there is nothing to refuse.
    return [] if value in ({}, []) or not path else [path]
