"""The requests to SageMaker, as plain dicts.

Every value is a text or a number given by the caller, so that a DAG can pass template expressions and a
check can pass the numbers of a plan. Texts may hold the token `{job_name}`, which becomes the job's final
name when it is submitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.scoring.config import Pipeline
from include.scoring.errors import ManifestError
from include.scoring.naming import RunPaths
from include.scoring.output_columns import kept_columns
from include.scoring.plan import Plan
from include.scoring.s3uri import split
from include.scoring.sections import Container

JOB_NAME = "{job_name}"

PROCESSING_ROOT = "/opt/ml/processing"
CODE_PATH = f"{PROCESSING_ROOT}/input/code"
CONFIG_PATH = f"{PROCESSING_ROOT}/input/config"
DATA_PATH = f"{PROCESSING_ROOT}/input/data"
OUTPUT_PATH = f"{PROCESSING_ROOT}/output"
WHEELS_PATH = f"{PROCESSING_ROOT}/input/wheels"
ENTRYPOINT = ("python3", "-m", "include.jobs.preprocess")
JOIN_ENTRYPOINT = ("python3", "-m", "include.jobs.join_job")
RECORDS_MANIFEST, PREDICTIONS_MANIFEST = "records.manifest", "predictions.manifest"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunValues:
    """What both jobs need. `run_prefix` ends in `/`; `tags` are added to the pipeline's own."""

    job_name: str
    run_prefix: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> RunPaths:
        """Where the run works."""
        return RunPaths(self.run_prefix)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingValues(RunValues):
    """What a processing job of a run needs; numbers may be templates."""

    instance_type: str
    instance_count: int | str
    volume_size_gb: int | str
    max_runtime_seconds: int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformValues(RunValues):
    """What the transform job of a run needs; numbers may be templates.

    `features_uri` is the prefix that the preprocessing job wrote or, without one, a ManifestFile of input objects;
    `model_name` is used for a model made for this run, of the package `model_package` (an ARN) where the pipeline names
    one or its group.
    """

    model_name: str
    features_uri: str
    instance_type: str
    instance_count: int | str
    max_concurrent_transforms: int | str
    max_payload_mb: int | str
    batch_strategy: str
    model_package: str = ""


def processing_request(pipeline: Pipeline, values: ProcessingValues) -> dict[str, Any]:
    """CreateProcessingJob of the `preprocess` step."""
    paths = values.paths
    return _processing_request(
        pipeline,
        values,
        "preprocess",
        ENTRYPOINT,
        [
            _processing_input("config", paths.config, CONFIG_PATH, "FullyReplicated"),
            # A manifest, not the prefix: what arrives after the plan was made belongs to the next run.
            _processing_input("data", paths.input_manifest, DATA_PATH, pipeline.distribution, "ManifestFile"),
        ],
    )


def join_request(pipeline: Pipeline, values: ProcessingValues, inputs: str) -> dict[str, Any]:
    """CreateProcessingJob of the `join` step; below `inputs` lie its configuration and the manifests of its data.

    Each instance gets a share of the records and all predictions: how SageMaker shares out is not documented, and a
    record must meet its prediction on whatever instance it comes to.
    """
    return _processing_request(
        pipeline,
        values,
        "join",
        JOIN_ENTRYPOINT,
        [
            _processing_input("config", f"{inputs}config/", CONFIG_PATH, "FullyReplicated"),
            _processing_input(
                "records", f"{inputs}{RECORDS_MANIFEST}", f"{PROCESSING_ROOT}/input/records",
                "ShardedByS3Key", "ManifestFile",
            ),
            _processing_input(
                "predictions", f"{inputs}{PREDICTIONS_MANIFEST}", f"{PROCESSING_ROOT}/input/predictions",
                "FullyReplicated", "ManifestFile",
            ),
        ],
    )  # fmt: skip


def _processing_request(
    pipeline: Pipeline,
    values: ProcessingValues,
    step: str,
    entrypoint: Sequence[str],
    inputs: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """CreateProcessingJob of a module of `include.jobs`, in the image of `preprocess`."""
    paths, wheels = values.paths, pipeline.preprocessing.wheels
    shipped = [_processing_input("wheels", wheels, WHEELS_PATH, "FullyReplicated")] if wheels else []
    return {
        "ProcessingJobName": values.job_name,
        "RoleArn": pipeline.role,
        "AppSpecification": {
            "ImageUri": pipeline.preprocessing.image,
            "ContainerEntrypoint": list(entrypoint),
        },
        "Environment": {"PYTHONPATH": CODE_PATH, "PYTHONUNBUFFERED": "1"},
        "ProcessingInputs": [
            _processing_input("code", paths.code, CODE_PATH, "FullyReplicated"),
            *inputs,
            *shipped,
        ],
        "ProcessingOutputConfig": {
            **pipeline.security.output(),
            "Outputs": [
                {
                    "OutputName": "output",
                    "S3Output": {
                        "S3Uri": paths.job(JOB_NAME).root,
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
                **pipeline.security.volume(),
            }
        },
        **pipeline.security.processing(),
        "StoppingCondition": {"MaxRuntimeInSeconds": values.max_runtime_seconds},
        "Tags": _tags(pipeline, step, values.tags),
    }


def model_request(pipeline: Pipeline, values: TransformValues) -> dict[str, Any] | None:
    """CreateModel for this run, or None when the pipeline names a model that exists."""
    if pipeline.model.name is not None:
        return None
    packaged = pipeline.model.package or pipeline.model.group
    containers = (
        [{"ModelPackageName": values.model_package}]
        if packaged
        else [_container(container) for container in pipeline.model.containers]
    )
    return {
        "ModelName": values.model_name,
        "ExecutionRoleArn": pipeline.role,
        **({"Containers": containers} if len(containers) > 1 else {"PrimaryContainer": containers[0]}),
        **pipeline.security.model(),
        "Tags": _tags(pipeline, "model", values.tags),
    }


def transform_request(pipeline: Pipeline, values: TransformValues) -> dict[str, Any]:
    """CreateTransformJob of the `transform` step.

    Without `preprocess` the model is given the input's own lines, all or the part that `input_filter` chooses.
    """
    direct = pipeline.preprocess is None
    chosen = pipeline.transform.input_filter
    return {
        "TransformJobName": values.job_name,
        "ModelName": pipeline.model.name or values.model_name,
        "BatchStrategy": values.batch_strategy,
        "MaxConcurrentTransforms": values.max_concurrent_transforms,
        "MaxPayloadInMB": values.max_payload_mb,
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "ManifestFile" if direct else "S3Prefix",
                    "S3Uri": values.features_uri,
                }
            },
            "ContentType": pipeline.content_type,
            "SplitType": "Line",
            "CompressionType": "Gzip" if direct and pipeline.input.compression == "gzip" else "None",
        },
        "TransformOutput": {
            "S3OutputPath": values.paths.job(JOB_NAME).predictions,
            "Accept": pipeline.transform.accept,
            "AssembleWith": pipeline.transform.assemble_with,
            **pipeline.security.output(),
        },
        "TransformResources": {
            "InstanceType": values.instance_type,
            "InstanceCount": values.instance_count,
            **pipeline.security.volume(),
        },
        **({"DataProcessing": {"InputFilter": chosen}} if chosen is not None else {}),
        "Tags": _tags(pipeline, "transform", values.tags),
    }


def transform_config(pipeline: Pipeline, values: TransformValues) -> dict[str, Any]:
    """What the provider's transform operator takes: the job, and the model where one is made for the run."""
    model = model_request(pipeline, values)
    job = transform_request(pipeline, values)
    return {"Transform": job} if model is None else {"Model": model, "Transform": job}


def manifest_of(folder: str, uris: Iterable[str]) -> list[dict[str, str] | str]:
    """Objects below `folder`, which ends in `/`, as SageMaker's ManifestFile."""
    return [{"prefix": folder}, *(uri.removeprefix(folder) for uri in uris)]


def source_folder(input_uri: str) -> str:
    """`input_uri` through its last slash: what SageMaker strips from the names of objects."""
    bucket, key = split(input_uri)
    return f"s3://{bucket}/{key[: key.rfind('/') + 1]}"


def manifest_uris(manifest: Sequence[dict[str, str] | str]) -> list[str]:
    """The full URIs that a ManifestFile names."""
    prefix, *names = manifest
    if not isinstance(prefix, dict):
        raise ManifestError(f"found {prefix!r} first in a manifest of inputs; allowed is its prefix")
    return [f"{prefix['prefix']}{name}" for name in names]


def preprocess_config(pipeline: Pipeline, plan: Plan) -> dict[str, Any]:
    """preprocess.json, which the preprocessing job reads."""
    source, planned = pipeline.input, plan.preprocess
    if planned is None:
        raise LookupError(f"the plan of {plan.pipeline} has no preprocessing")
    return {
        "version": 1,
        "pipeline": pipeline.name,
        "input_uri": source_folder(plan.input.uri),
        "distribution": planned.distribution,
        "input": {
            "format": source.format,
            "header": source.header,
            "delimiter": source.delimiter,
            **({} if source.escape is None else {"escape": source.escape}),
            "encoding": source.encoding,
            "compression": source.compression,
            "columns": [
                {"name": column.name, "type": column.type, **({"optional": True} if column.optional else {})}
                for column in source.columns
            ],
        },
        "rules": [rule.as_job_config() for rule in pipeline.rules],
        **_preparation(pipeline),
        "features": {"columns": list(pipeline.feature_columns)},
        "shard_bytes": planned.shard_bytes,
    }


def _preparation(pipeline: Pipeline) -> dict[str, Any]:
    """The optional parts of preprocess.json; what a pipeline does not state is left out."""
    parts = {
        "baseline": {
            "columns": {name: each.model_dump(exclude_none=True) for name, each in pipeline.baseline.items()}
        },
        "impute": [step.model_dump(exclude_none=True, by_alias=True) for step in pipeline.impute],
        "function": None if pipeline.function is None else pipeline.function.model_dump(),
        "sensitive": _sensitive(pipeline),
    }
    stated = {"baseline": pipeline.baseline, "impute": pipeline.impute, "function": pipeline.function}
    return {name: part for name, part in parts.items() if stated.get(name, part)}


def _sensitive(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [
        {"column": group.column, **({"edges": list(group.edges)} if group.edges else {})}
        for group in pipeline.sensitive
    ]


def _processing_input(
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


def _container(container: Container) -> dict[str, Any]:
    request: dict[str, Any] = {"Image": container.image}
    if container.model_data is not None:
        request["ModelDataUrl"] = container.model_data
    if container.environment:
        request["Environment"] = dict(container.environment)
    return request


def _tags(pipeline: Pipeline, step: str, more: Mapping[str, str]) -> list[dict[str, str]]:
    tags = {"pipeline": pipeline.name, "step": step, **pipeline.tags, **more}
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def join_spec(pipeline: Pipeline) -> dict[str, Any]:
    """What the join needs to know of a pipeline, JSON-safe."""
    kept, function = kept_columns(pipeline.column_names, pipeline.join), pipeline.join.function
    selected = pipeline.predictions.selected
    return {
        "columns": [{"name": column.name, "type": column.type} for column in pipeline.input.columns],
        "keep": [{"column": source, "name": name} for source, name in kept.items()],
        "unnamed": pipeline.join.include_columns is None,
        "delimiter": pipeline.input.delimiter,
        "encoding": pipeline.input.encoding,
        "records": "jsonlines" if pipeline.input.format == "jsonlines" else "csv",
        "empty_texts": pipeline.input.format == "parquet",
        "checked": pipeline.preprocess is not None,
        "format": pipeline.join.format,
        "predictions": {
            "format": pipeline.predictions.format,
            "fields": dict(pipeline.predictions.fields),
            "types": dict(pipeline.predictions.types),
            "nullable": list(pipeline.predictions.nullable),
            "echo": dict(pipeline.predictions.echo),
        },
        "function": None
        if function is None
        else {
            "module": function.module,
            "name": function.name,
            "adds": [{"name": name, "type": kind} for name, kind in function.adds.items()],
        },
        "sensitive": _sensitive(pipeline),
        "selected": None
        if selected is None
        else selected.model_dump(mode="json", exclude_none=True, exclude_defaults=True),
    }
