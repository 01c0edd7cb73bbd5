"""Builds the requests to SageMaker, as dicts.

The caller passes every value as text or number: a DAG passes template expressions, a check the numbers of a plan. Texts
may contain the token `{job_name}`, which is replaced by the job's final name when it is submitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch_inference.common.errors import ManifestError
from batch_inference.common.names import RunPaths
from batch_inference.common.s3_uri import get_parent_folder
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.feature_preparation import build_job_imputations, build_job_rules
from batch_inference.config.sections.output_columns import select_output_columns
from batch_inference.config.sections.stages import ContainerDefinition
from batch_inference.planning.plan import Plan

JOB_NAME_TOKEN = "{job_name}"  # noqa: S105 - a placeholder in requests, not a secret

PROCESSING_ROOT = "/opt/ml/processing"
CODE_PATH = f"{PROCESSING_ROOT}/input/code"
CONFIG_PATH = f"{PROCESSING_ROOT}/input/config"
DATA_PATH = f"{PROCESSING_ROOT}/input/data"
OUTPUT_PATH = f"{PROCESSING_ROOT}/output"
WHEELS_PATH = f"{PROCESSING_ROOT}/input/wheels"
PREPROCESS_ENTRYPOINT = ("python3", "-m", "batch_inference.jobs.preprocess")
JOIN_ENTRYPOINT = ("python3", "-m", "batch_inference.jobs.join")
RECORDS_MANIFEST, PREDICTIONS_MANIFEST = "records.manifest", "predictions.manifest"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobValues:
    """Values of the requests of all kinds of jobs. `run_prefix` ends in `/`; `tags` are added to the pipeline's."""

    job_name: str
    run_prefix: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> RunPaths:
        """S3 paths of the run."""
        return RunPaths(self.run_prefix)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingValues(JobValues):
    """Values of the request of a processing job; numbers may be templates."""

    instance_type: str
    instance_count: int | str
    volume_size_gb: int | str
    max_runtime_seconds: int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformValues(JobValues):
    """Values of the request of a transform job; numbers may be templates.

    `source_uri` is the prefix that the preprocessing job wrote or, without one, a ManifestFile of input objects.
    `model_name` names a model created for this run, from the package `model_package` (an ARN) where the pipeline names
    a package or its group.
    """

    model_name: str
    source_uri: str
    instance_type: str
    instance_count: int | str
    max_concurrent_transforms: int | str
    max_payload_mb: int | str
    batch_strategy: str
    model_package: str = ""


def build_preprocess_request(pipeline: Pipeline, values: ProcessingValues) -> dict[str, Any]:
    """CreateProcessingJob of the `preprocess` stage."""
    paths = values.paths
    return _build_processing_request(
        pipeline,
        values,
        "preprocess",
        PREPROCESS_ENTRYPOINT,
        [
            _build_processing_input("config", paths.config, CONFIG_PATH, "FullyReplicated"),
            # A manifest, not the prefix: objects that arrive after planning belong to the next run.
            _build_processing_input(
                "data", paths.input_manifest, DATA_PATH, pipeline.s3_data_distribution_type, "ManifestFile"
            ),
        ],
    )


def build_join_request(pipeline: Pipeline, values: ProcessingValues, inputs_prefix: str) -> dict[str, Any]:
    """CreateProcessingJob of the `join` stage; its configuration and manifests are below `inputs_prefix`.

    Each instance gets a share of the records and all predictions: how SageMaker assigns objects to instances is not
    documented, and a record and its prediction must be on the same instance.
    """
    return _build_processing_request(
        pipeline,
        values,
        "join",
        JOIN_ENTRYPOINT,
        [
            _build_processing_input("config", f"{inputs_prefix}config/", CONFIG_PATH, "FullyReplicated"),
            _build_processing_input(
                "records", f"{inputs_prefix}{RECORDS_MANIFEST}", f"{PROCESSING_ROOT}/input/records",
                "ShardedByS3Key", "ManifestFile",
            ),
            _build_processing_input(
                "predictions", f"{inputs_prefix}{PREDICTIONS_MANIFEST}", f"{PROCESSING_ROOT}/input/predictions",
                "FullyReplicated", "ManifestFile",
            ),
        ],
    )  # fmt: skip


def _build_processing_request(
    pipeline: Pipeline,
    values: ProcessingValues,
    stage: str,
    entrypoint: Sequence[str],
    inputs: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """CreateProcessingJob of a module of `batch_inference.jobs`, in the image of `preprocess`."""
    paths, wheels = values.paths, pipeline.preprocess_section.wheels
    wheel_inputs = (
        [_build_processing_input("wheels", wheels, WHEELS_PATH, "FullyReplicated")] if wheels else []
    )
    return {
        "ProcessingJobName": values.job_name,
        "RoleArn": pipeline.role,
        "AppSpecification": {
            "ImageUri": pipeline.preprocess_section.image,
            "ContainerEntrypoint": list(entrypoint),
        },
        "Environment": {"PYTHONPATH": CODE_PATH, "PYTHONUNBUFFERED": "1"},
        "ProcessingInputs": [
            _build_processing_input("code", paths.code, CODE_PATH, "FullyReplicated"),
            *inputs,
            *wheel_inputs,
        ],
        "ProcessingOutputConfig": {
            **pipeline.security.build_output_fields(),
            "Outputs": [
                {
                    "OutputName": "output",
                    "S3Output": {
                        "S3Uri": paths.build_job_paths(JOB_NAME_TOKEN).root,
                        "LocalPath": OUTPUT_PATH,
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ],
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceType": values.instance_type,
                "InstanceCount": values.instance_count,
                "VolumeSizeInGB": values.volume_size_gb,
                **pipeline.security.build_volume_fields(),
            }
        },
        **pipeline.security.build_processing_fields(),
        "StoppingCondition": {"MaxRuntimeInSeconds": values.max_runtime_seconds},
        "Tags": _build_tags(pipeline, stage, values.tags),
    }


def build_model_request(pipeline: Pipeline, values: TransformValues) -> dict[str, Any] | None:
    """CreateModel for this run, or None when the pipeline names an existing model."""
    if pipeline.model.name is not None:
        return None
    packaged = pipeline.model.package or pipeline.model.group
    containers = (
        [{"ModelPackageName": values.model_package}]
        if packaged
        else [_build_container(container) for container in pipeline.model.containers]
    )
    return {
        "ModelName": values.model_name,
        "ExecutionRoleArn": pipeline.role,
        **({"Containers": containers} if len(containers) > 1 else {"PrimaryContainer": containers[0]}),
        **pipeline.security.build_model_fields(),
        "Tags": _build_tags(pipeline, "model", values.tags),
    }


def build_transform_request(pipeline: Pipeline, values: TransformValues) -> dict[str, Any]:
    """CreateTransformJob of the `transform` stage.

    Without `preprocess` the model reads the input's own lines, in full or as selected by `input_filter`.
    """
    has_no_preprocess = pipeline.preprocess is None
    input_filter = pipeline.transform.input_filter
    return {
        "TransformJobName": values.job_name,
        "ModelName": pipeline.model.name or values.model_name,
        "BatchStrategy": values.batch_strategy,
        "MaxConcurrentTransforms": values.max_concurrent_transforms,
        "MaxPayloadInMB": values.max_payload_mb,
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "ManifestFile" if has_no_preprocess else "S3Prefix",
                    "S3Uri": values.source_uri,
                }
            },
            "ContentType": pipeline.content_type,
            "SplitType": "Line",
            "CompressionType": "Gzip"
            if has_no_preprocess and pipeline.input.compression == "gzip"
            else "None",
        },
        "TransformOutput": {
            "S3OutputPath": values.paths.build_job_paths(JOB_NAME_TOKEN).predictions,
            "Accept": pipeline.transform.accept,
            "AssembleWith": pipeline.transform.assemble_with,
            **pipeline.security.build_output_fields(),
        },
        "TransformResources": {
            "InstanceType": values.instance_type,
            "InstanceCount": values.instance_count,
            **pipeline.security.build_volume_fields(),
        },
        **({"DataProcessing": {"InputFilter": input_filter}} if input_filter is not None else {}),
        "Tags": _build_tags(pipeline, "transform", values.tags),
    }


def build_transform_config(pipeline: Pipeline, values: TransformValues) -> dict[str, Any]:
    """The config of the provider's transform operator: the job, and the model where one is created for the run."""
    model = build_model_request(pipeline, values)
    job = build_transform_request(pipeline, values)
    return {"Transform": job} if model is None else {"Model": model, "Transform": job}


def build_manifest_file(folder: str, uris: Iterable[str]) -> list[dict[str, str] | str]:
    """Objects below `folder`, which ends in `/`, as the content of a SageMaker ManifestFile."""
    return [{"prefix": folder}, *(uri.removeprefix(folder) for uri in uris)]


def list_manifest_uris(manifest: Sequence[dict[str, str] | str]) -> list[str]:
    """The full URIs that a ManifestFile names."""
    prefix, *names = manifest
    if not isinstance(prefix, dict):
        raise ManifestError(f"found {prefix!r} first in a manifest of inputs; allowed is its prefix")
    return [f"{prefix['prefix']}{name}" for name in names]


def build_preprocess_config(pipeline: Pipeline, plan: Plan) -> dict[str, Any]:
    """preprocess.json, which the preprocessing job reads; optional sections that the pipeline lacks are omitted."""
    planned, types = plan.preprocess, {column.name: column.type for column in pipeline.input.columns}
    if planned is None:
        raise LookupError(f"the plan of {plan.pipeline} has no preprocessing")
    cleaning = {
        "imputations": build_job_imputations(pipeline.impute, types, pipeline.baseline),
        "function": pipeline.function and pipeline.function.model_dump(),
        "sensitive_columns": _build_sensitive_columns(pipeline),
    }
    return {
        "version": 1,
        "pipeline": pipeline.name,
        "input_uri": get_parent_folder(plan.input.uri),
        "distribution": planned.distribution,
        "input": pipeline.input.model_dump(
            mode="json",
            include={"format", "header", "delimiter", "escape", "encoding", "compression", "columns"},
        ),
        "rules": build_job_rules(pipeline.rules, pipeline.column_names, pipeline.baseline),
        **{name: section for name, section in cleaning.items() if section},
        "feature_columns": list(pipeline.feature_columns),
        "shard_bytes": planned.shard_bytes,
    }


def _build_sensitive_columns(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [group.model_dump(mode="json", include={"column", "edges"}) for group in pipeline.sensitive]


def _build_processing_input(
    name: str, uri: str, path: str, distribution: str, data_type: str = "S3Prefix"
) -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": path,
            "S3DataType": data_type,
            "S3InputMode": "File",
            "S3DataDistributionType": distribution,
        },
    }


def _build_container(container: ContainerDefinition) -> dict[str, Any]:
    request: dict[str, Any] = {"Image": container.image}
    if container.model_data is not None:
        request["ModelDataUrl"] = container.model_data
    if container.environment:
        request["Environment"] = dict(container.environment)
    return request


def _build_tags(pipeline: Pipeline, stage: str, more: Mapping[str, str]) -> list[dict[str, str]]:
    tags = {"pipeline": pipeline.name, "stage": stage, **pipeline.tags, **more}
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def build_join_spec(pipeline: Pipeline) -> dict[str, Any]:
    """The join's configuration from a pipeline, JSON-safe."""
    kept, function = select_output_columns(pipeline.column_names, pipeline.join), pipeline.join.function
    selected = pipeline.predictions.selected
    return {
        "columns": [{"name": column.name, "type": column.type} for column in pipeline.input.columns],
        "keep": [{"column": source, "name": name} for source, name in kept.items()],
        "include_extra_members": pipeline.join.include_columns is None,
        "delimiter": pipeline.input.delimiter,
        "records_format": "jsonlines" if pipeline.input.format == "jsonlines" else "csv",
        "has_quoted_empty_strings": pipeline.input.format == "parquet",
        "is_preprocessed": pipeline.preprocess is not None,
        "output_format": pipeline.join.format,
        "predictions": pipeline.predictions.model_dump(mode="json", exclude={"selected"}),
        "function": function
        and {
            "module": function.module,
            "name": function.name,
            "adds": [{"name": name, "type": kind} for name, kind in function.adds.items()],
        },
        "sensitive_columns": _build_sensitive_columns(pipeline),
        "selection": selected and selected.model_dump(mode="json", exclude_none=True),
    }
