"""Lists how each request member is supported; the operations page of the documentation is generated from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from local_aws.api.errors import ValidationError


@dataclass(frozen=True, slots=True)
class MemberSupport:
    """How a member is supported: as on AWS (done), with a difference, or refused; `note` says how or why."""

    level: Literal["done", "differs", "refused"]
    note: str = ""


def _prefix_members(member: str, table: dict[str, MemberSupport]) -> dict[str, MemberSupport]:
    return {f"{member}.{name}": support for name, support in table.items()}


DONE = MemberSupport("done")
differs = partial(MemberSupport, "differs")
refused = partial(MemberSupport, "refused")
RECORDED_KMS = differs("recorded and echoed; nothing is encrypted here")
RECORDED_VPC = differs("recorded and echoed; there is no VPC here")
NO_EXPERIMENTS = refused("there are no experiments here")
NO_DATASETS = refused("there is no Athena or Redshift here; use S3Input")
NO_FEATURE_STORE = refused("there is no Feature Store here; use S3Output")

CONTAINER_SUPPORT: dict[str, MemberSupport] = {
    "ContainerHostname": DONE,
    "Image": DONE,
    "ImageConfig": differs("recorded; images are commands of this machine, none is pulled"),
    "Mode": differs("SingleModel only; MultiModel is refused, batch jobs cannot use it"),
    "ModelDataUrl": DONE,
    "ModelDataSource": differs("recorded; CreateTransformJob refuses the model, as on AWS"),
    "Environment": DONE,
    "AdditionalModelDataSources": refused("not downloaded here; use ModelDataUrl"),
    "ModelPackageName": DONE,
    "InferenceSpecificationName": DONE,
    "MultiModelConfig": refused("batch jobs cannot use multi-model endpoints"),
    "ContainerMetricsConfig": refused("there are no endpoints and no container metrics here"),
}

RECORDED = differs("recorded and echoed; nothing here reads it")

PACKAGE_CONTAINER_SUPPORT: dict[str, MemberSupport] = {
    **dict.fromkeys(("ContainerHostname", "Image", "ModelDataUrl", "Environment"), DONE),
    "ModelDataSource": CONTAINER_SUPPORT["ModelDataSource"],
    **dict.fromkeys(
        (
            "ImageDigest", "ModelInput", "Framework", "FrameworkVersion", "NearestModelName", "ModelDataETag",
            "IsCheckpoint",
        ),
        RECORDED,
    ),
    "ProductId": refused("there is no marketplace here"),
    "AdditionalModelDataSources": CONTAINER_SUPPORT["AdditionalModelDataSources"],
    "AdditionalS3DataSource": refused("not downloaded here; use ModelDataUrl"),
    "BaseModel": refused("there are no hubs here"),
}  # fmt: skip
SPECIFICATION_SUPPORT: dict[str, MemberSupport] = {
    **_prefix_members("Containers", PACKAGE_CONTAINER_SUPPORT),
    **dict.fromkeys(
        (
            "SupportedTransformInstanceTypes", "SupportedRealtimeInferenceInstanceTypes", "SupportedContentTypes",
            "SupportedResponseMIMETypes",
        ),
        RECORDED,
    ),
}  # fmt: skip
ADDITIONAL_SPECIFICATION_SUPPORT = {"Name": DONE, "Description": DONE, **SPECIFICATION_SUPPORT}
NO_MODEL_CARDS = refused("there are no model cards here")

LIST_BY_TIME_SUPPORT: dict[str, MemberSupport] = dict.fromkeys(
    ("CreationTimeAfter", "CreationTimeBefore", "NameContains", "SortBy", "SortOrder", "NextToken", "MaxResults"),
    DONE,
)  # fmt: skip
LIST_JOBS_SUPPORT: dict[str, MemberSupport] = {
    **LIST_BY_TIME_SUPPORT,
    **dict.fromkeys(("LastModifiedTimeAfter", "LastModifiedTimeBefore", "StatusEquals"), DONE),
}

SUPPORT_BY_OPERATION: dict[str, dict[str, MemberSupport]] = {
    "CreateTransformJob": {
        "TransformJobName": DONE,
        "ModelName": DONE,
        "MaxConcurrentTransforms": DONE,
        "ModelClientConfig": DONE,
        "MaxPayloadInMB": DONE,
        "BatchStrategy": DONE,
        "Environment": DONE,
        "TransformInput": DONE,
        "TransformInput.DataSource.S3DataSource.S3DataType": differs(
            "S3Prefix and ManifestFile; AugmentedManifestFile and Converse are refused"
        ),
        "TransformOutput": DONE,
        "TransformOutput.KmsKeyId": RECORDED_KMS,
        "DataCaptureConfig": DONE,
        "DataCaptureConfig.KmsKeyId": RECORDED_KMS,
        "TransformResources": DONE,
        "TransformResources.VolumeKmsKeyId": RECORDED_KMS,
        "TransformResources.TransformAmiVersion": differs("recorded; instances have no AMI here"),
        "DataProcessing": DONE,
        "Tags": DONE,
        "ExperimentConfig": NO_EXPERIMENTS,
    },
    "CreateProcessingJob": {
        "ProcessingJobName": DONE,
        "ProcessingInputs.InputName": DONE,
        "ProcessingInputs.AppManaged": differs("false only; true is refused"),
        "ProcessingInputs.S3Input": DONE,
        "ProcessingInputs.DatasetDefinition": NO_DATASETS,
        "ProcessingOutputConfig.Outputs.OutputName": DONE,
        "ProcessingOutputConfig.Outputs.S3Output": DONE,
        "ProcessingOutputConfig.Outputs.FeatureStoreOutput": NO_FEATURE_STORE,
        "ProcessingOutputConfig.Outputs.AppManaged": differs("false only; true is refused"),
        "ProcessingOutputConfig.KmsKeyId": RECORDED_KMS,
        "ProcessingResources.ClusterConfig.InstanceCount": DONE,
        "ProcessingResources.ClusterConfig.InstanceType": DONE,
        "ProcessingResources.ClusterConfig.VolumeSizeInGB": differs("recorded; the disk is this machine's"),
        "ProcessingResources.ClusterConfig.VolumeKmsKeyId": RECORDED_KMS,
        "ProcessingResources.ClusterConfig.InstancePreferences": DONE,
        "ProcessingResources.ClusterConfig.SelectedInstanceType": refused(
            "it belongs to the answer of DescribeProcessingJob"
        ),
        "ProcessingResources.ClusterConfig.SelectedInstanceCount": refused(
            "it belongs to the answer of DescribeProcessingJob"
        ),
        "StoppingCondition": DONE,
        "AppSpecification": DONE,
        "Environment": DONE,
        "NetworkConfig.EnableInterContainerTrafficEncryption": differs(
            "recorded; traffic between hosts stays on this machine"
        ),
        "NetworkConfig.EnableNetworkIsolation": DONE,
        "NetworkConfig.VpcConfig": RECORDED_VPC,
        "RoleArn": differs("recorded; checked against IAM with the setting check_roles"),
        "Tags": DONE,
        "ExperimentConfig": NO_EXPERIMENTS,
    },
    "CreateModel": {
        "ModelName": DONE,
        **_prefix_members("PrimaryContainer", CONTAINER_SUPPORT),
        **_prefix_members("Containers", CONTAINER_SUPPORT),
        "InferenceExecutionConfig": differs("Serial only; Direct is refused"),
        "ExecutionRoleArn": differs("recorded; checked against IAM with the setting check_roles"),
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
    "ListTransformJobs": LIST_JOBS_SUPPORT,
    "ListProcessingJobs": LIST_JOBS_SUPPORT,
    "ListModels": LIST_BY_TIME_SUPPORT,
    "CreateModelPackageGroup": {
        "ModelPackageGroupName": DONE,
        "ModelPackageGroupDescription": DONE,
        "Tags": DONE,
        "ManagedConfiguration": refused("there is no managed storage here"),
    },
    "CreateModelPackage": {
        "ModelPackageName": DONE,
        "ModelPackageGroupName": DONE,
        "ModelPackageDescription": DONE,
        "ModelApprovalStatus": differs(
            "of versions; accepted for a package without a group, as on AWS, and without effect: whether AWS shows it "
            "there is not documented",
        ),
        "CustomerMetadataProperties": DONE,
        "ModelLifeCycle": DONE,
        "ClientToken": DONE,
        "Tags": DONE,
        **_prefix_members("InferenceSpecification", SPECIFICATION_SUPPORT),
        **_prefix_members("AdditionalInferenceSpecifications", ADDITIONAL_SPECIFICATION_SUPPORT),
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
        "CertifyForMarketplace": differs("false only; true is refused"),
        "ValidationSpecification": refused("packages are not validated here"),
        "SourceAlgorithmSpecification": refused("there are no algorithms here; name Image"),
        "ModelCard": NO_MODEL_CARDS,
        "ManagedStorageType": refused("there is no managed storage here"),
    },
    "DescribeModelPackage": {
        "ModelPackageName": DONE,
        "IncludedData": differs("either; there are no model cards to leave out"),
    },
    "DescribeModelPackageGroup": {"ModelPackageGroupName": DONE},
    "DeleteModelPackage": {"ModelPackageName": DONE},
    "DeleteModelPackageGroup": {"ModelPackageGroupName": DONE},
    "ListModelPackages": {
        **LIST_BY_TIME_SUPPORT,
        "ModelApprovalStatus": DONE,
        "ModelPackageGroupName": DONE,
        "ModelPackageType": DONE,
    },
    "ListModelPackageGroups": {
        **LIST_BY_TIME_SUPPORT,
        "CrossAccountFilterOption": differs("CrossAccount finds none; one account holds everything"),
    },
    "BatchDescribeModelPackage": {"ModelPackageArnList": DONE},
    "Search": {
        "Resource": differs("ModelPackage and ModelPackageGroup; others are refused"),
        "SearchExpression": differs(
            "text is compared by case, NotEquals holds where the property is absent; neither is documented",
        ),
        **dict.fromkeys(("SortBy", "SortOrder", "NextToken", "MaxResults"), DONE),
        "CrossAccountFilterOption": differs("CrossAccount finds none; one account holds everything"),
        "VisibilityConditions": refused("everything is visible here"),
    },
    "UpdateModelPackage": {
        "ModelPackageArn": DONE,
        "ModelApprovalStatus": DONE,
        "ApprovalDescription": DONE,
        "CustomerMetadataProperties": DONE,
        "CustomerMetadataPropertiesToRemove": DONE,
        "ModelLifeCycle": DONE,
        "ClientToken": differs("accepted; the same update twice is the same package"),
        **_prefix_members("InferenceSpecification", SPECIFICATION_SUPPORT),
        **_prefix_members("AdditionalInferenceSpecificationsToAdd", ADDITIONAL_SPECIFICATION_SUPPORT),
        "ModelPackageRegistrationType": RECORDED,
        "SourceUri": RECORDED,
        "ModelCard": NO_MODEL_CARDS,
    },
    "AddTags": {"ResourceArn": DONE, "Tags": DONE},
    "ListTags": {"ResourceArn": DONE, "NextToken": DONE, "MaxResults": DONE},
    "DeleteTags": {"ResourceArn": DONE, "TagKeys": DONE},
}


def refuse_unsupported(operation: str, request: dict[str, Any]) -> None:
    """Raise ValidationError naming the first member of `request` that is not supported."""
    table = SUPPORT_BY_OPERATION[operation]
    for path in _list_paths(request, ""):
        support = _find_support(table, path)
        if support.level == "refused":
            raise ValidationError(
                f"{operation}: '{path}' is not implemented by the embedded AWS: {support.note}. "
                "Leave it out to run here"
            )


def _find_support(table: dict[str, MemberSupport], path: str) -> MemberSupport:
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        found = table.get(".".join(parts[:length]))
        if found is not None:
            return found
    return refused("it is in botocore's model, but not in the table of supported members")


def _list_paths(value: Any, path: str) -> list[str]:
    """Dotted paths of every leaf, list positions left out; a map is a leaf of its own keys."""
    if isinstance(value, dict) and value and path.rsplit(".", 1)[-1] != "Environment":
        return [
            below
            for name, item in value.items()
            for below in _list_paths(item, f"{path}.{name}" if path else name)
        ]
    if isinstance(value, list) and value:
        return [below for item in value for below in _list_paths(item, path)]
    # An empty structure or list has no effect, so it is not refused.
    return [] if value in ({}, []) or not path else [path]
