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
    "ModelPackageName": DONE,
    "InferenceSpecificationName": DONE,
    "MultiModelConfig": Support("refused", "batch jobs cannot use multi-model endpoints"),
    "ContainerMetricsConfig": Support("refused", "there are no endpoints and no container metrics here"),
}

RECORDED = Support("differs", "recorded and echoed; nothing here reads it")

PACKAGE_CONTAINER: dict[str, Support] = {
    **dict.fromkeys(("ContainerHostname", "Image", "ModelDataUrl", "Environment"), DONE),
    "ModelDataSource": CONTAINER["ModelDataSource"],
    **dict.fromkeys(
        (
            "ImageDigest", "ModelInput", "Framework", "FrameworkVersion", "NearestModelName", "ModelDataETag",
            "IsCheckpoint",
        ),
        RECORDED,
    ),
    "ProductId": Support("refused", "there is no marketplace here"),
    "AdditionalModelDataSources": CONTAINER["AdditionalModelDataSources"],
    "AdditionalS3DataSource": Support("refused", "not downloaded here; use ModelDataUrl"),
    "BaseModel": Support("refused", "there are no hubs here"),
}  # fmt: skip
SPECIFICATION: dict[str, Support] = {
    **{f"Containers.{name}": support for name, support in PACKAGE_CONTAINER.items()},
    **dict.fromkeys(
        (
            "SupportedTransformInstanceTypes", "SupportedRealtimeInferenceInstanceTypes", "SupportedContentTypes",
            "SupportedResponseMIMETypes",
        ),
        RECORDED,
    ),
}  # fmt: skip
NO_CARDS = Support("refused", "there are no model cards here")


def _below(member: str, table: dict[str, Support]) -> dict[str, Support]:
    return {f"{member}.{name}": support for name, support in table.items()}


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

LIST_BY_TIME: dict[str, Support] = {
    name: support
    for name, support in LIST_JOBS.items()
    if name not in ("LastModifiedTimeAfter", "LastModifiedTimeBefore", "StatusEquals")
}

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
    "ListModels": LIST_BY_TIME,
    "CreateModelPackageGroup": {
        "ModelPackageGroupName": DONE,
        "ModelPackageGroupDescription": DONE,
        "Tags": DONE,
        "ManagedConfiguration": Support("refused", "there is no managed storage here"),
    },
    "CreateModelPackage": {
        "ModelPackageName": DONE,
        "ModelPackageGroupName": DONE,
        "ModelPackageDescription": DONE,
        "ModelApprovalStatus": Support(
            "differs",
            "of versions; accepted for a package without a group, as on AWS, and without effect: whether AWS shows it "
            "there is not documented",
        ),
        "CustomerMetadataProperties": DONE,
        "ModelLifeCycle": DONE,
        "ClientToken": DONE,
        "Tags": DONE,
        **_below("InferenceSpecification", SPECIFICATION),
        **_below("AdditionalInferenceSpecifications", {"Name": DONE, "Description": DONE, **SPECIFICATION}),
        **dict.fromkeys(
            (
                "ModelPackageRegistrationType",
                "MetadataProperties",
                "ModelMetrics",
                "Domain",
                "Task",
                "SamplePayloadUrl",
                "DriftCheckBaselines",
                "SkipModelValidation",
                "SourceUri",
            ),
            RECORDED,
        ),
        "SecurityConfig": RECORDED_KMS,
        "CertifyForMarketplace": Support("differs", "false only; true is refused"),
        "ValidationSpecification": Support("refused", "packages are not validated here"),
        "SourceAlgorithmSpecification": Support("refused", "there are no algorithms here; name Image"),
        "ModelCard": NO_CARDS,
        "ManagedStorageType": Support("refused", "there is no managed storage here"),
    },
    "DescribeModelPackage": {
        "ModelPackageName": DONE,
        "IncludedData": Support("differs", "either; there are no model cards to leave out"),
    },
    "DescribeModelPackageGroup": {"ModelPackageGroupName": DONE},
    "DeleteModelPackage": {"ModelPackageName": DONE},
    "DeleteModelPackageGroup": {"ModelPackageGroupName": DONE},
    "ListModelPackages": {
        **LIST_BY_TIME,
        "ModelApprovalStatus": DONE,
        "ModelPackageGroupName": DONE,
        "ModelPackageType": DONE,
    },
    "ListModelPackageGroups": {
        **LIST_BY_TIME,
        "CrossAccountFilterOption": Support(
            "differs", "CrossAccount finds none; one account holds everything"
        ),
    },
    "BatchDescribeModelPackage": {"ModelPackageArnList": DONE},
    "Search": {
        "Resource": Support("differs", "ModelPackage and ModelPackageGroup; others are refused"),
        "SearchExpression": Support(
            "differs",
            "text is compared by case, NotEquals holds where the property is absent; neither is documented",
        ),
        **dict.fromkeys(("SortBy", "SortOrder", "NextToken", "MaxResults"), DONE),
        "CrossAccountFilterOption": Support(
            "differs", "CrossAccount finds none; one account holds everything"
        ),
        "VisibilityConditions": Support("refused", "everything is visible here"),
    },
    "UpdateModelPackage": {
        "ModelPackageArn": DONE,
        "ModelApprovalStatus": DONE,
        "ApprovalDescription": DONE,
        "CustomerMetadataProperties": DONE,
        "CustomerMetadataPropertiesToRemove": DONE,
        "ModelLifeCycle": DONE,
        "ClientToken": Support("differs", "accepted; the same update twice is the same package"),
        **_below("InferenceSpecification", SPECIFICATION),
        **_below(
            "AdditionalInferenceSpecificationsToAdd", {"Name": DONE, "Description": DONE, **SPECIFICATION}
        ),
        "ModelPackageRegistrationType": RECORDED,
        "SourceUri": RECORDED,
        "ModelCard": NO_CARDS,
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
