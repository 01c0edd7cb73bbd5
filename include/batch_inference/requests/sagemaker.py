"""Builds SageMaker's requests, as dicts: once for a plan, and with templates or IAM patterns in place of its values.

A request has a token for each value that is known only when a task submits the job, such as `{task.base_name}`;
`build_config` replaces them. `{job_name}` is the job's final name, which is filled in on submission.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from batch_inference.common.errors import ManifestError, PlanError
from batch_inference.common.names import RunPaths
from batch_inference.common.s3_uri import get_folder_uri
from batch_inference.config.images import build_image_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.feature_preparation import build_job_imputations, build_job_rules
from batch_inference.config.sections.stages import ContainerDefinition, select_output_columns
from batch_inference.config.user_functions import build_module_name

if TYPE_CHECKING:
    from batch_inference.planning.plan import Plan

JOB_NAME_TOKEN = "{job_name}"  # noqa: S105 - a placeholder in requests, not a secret
#: What a task that submits a job fills in: the job's name without the attempt, the name of the run's model, the
#: transform's input (the prefix that preprocess wrote, or a ManifestFile of objects), the prefix of the join's inputs.
BASE_NAME, MODEL_NAME, SOURCE_URI, JOIN_INPUTS = (
    f"{{task.{name}}}" for name in ("base_name", "model_name", "source_uri", "join_inputs")
)
#: Values of a task that replace those of the plan: fields of the cluster by their names.
CLUSTER_FIELDS = {"instance_type": "InstanceType", "instance_count": "InstanceCount"}

PROCESSING_ROOT = "/opt/ml/processing"
CODE_PATH = f"{PROCESSING_ROOT}/input/code"
RECORDS_MANIFEST, PREDICTIONS_MANIFEST = "records.manifest", "predictions.manifest"

Request = dict[str, Any]


def build_requests(
    pipeline: Pipeline,
    plan_value: Callable[[str], Any],
    *,
    region: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> dict[str, Request]:
    """The Create requests of a run by what they create: `preprocess`, `transform`, `model`, `join`, where it has them.

    Images that the pipeline names are those of `region`; without one they stay names.

    `plan_value` gives the value of the plan at a dotted path such as `transform.instance_count`, or what stands in its
    place; `tags` are added to the pipeline's.
    """
    build = _RequestBuilder(pipeline, plan_value, region, tags or {})
    has_preprocess = pipeline.preprocess is not None
    has_join = pipeline.join.processing_above is not None and plan_value("join.job") is not None
    return {
        **({"preprocess": build.build_preprocess_request()} if has_preprocess else {}),
        "transform": build.build_transform_request(),
        **({"model": build.build_model_request()} if pipeline.model.name is None else {}),
        **({"join": build.build_join_request()} if has_join else {}),
    }


def build_planned_requests(
    pipeline: Pipeline, plan: Plan, *, tags: Mapping[str, str] | None = None
) -> dict[str, Request]:
    """The requests of a plan, as `build_requests`; none for an empty plan.

    Raises PlanError for an image that AWS does not offer in the region of the jobs.
    """
    if plan.empty:
        return {}
    return build_requests(pipeline, lambda path: attrgetter(path)(plan), region=plan.region, tags=tags)


def build_config(requests: Mapping[str, Request], stage: str, values: Mapping[str, Any]) -> Request:
    """The `config` of the provider's operator for the job of a stage, with the values of the task that submits it.

    `values` are those of the tokens by name, and those of `CLUSTER_FIELDS`. The config of a transform also holds the
    model, where one is created for the run.
    """
    tokens = {f"{{task.{name}}}": value for name, value in values.items()}
    request: Request = replace_tokens(requests[stage], tokens)
    get_cluster_config(request).update(
        {field: values[name] for name, field in CLUSTER_FIELDS.items() if name in values}
    )
    if stage != "transform":
        return request
    model = {"Model": replace_tokens(requests["model"], tokens)} if "model" in requests else {}
    return {**model, "Transform": request}


def get_cluster_config(request: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a job's request with its instances."""
    cluster: dict[str, Any] = (
        request.get("TransformResources") or request["ProcessingResources"]["ClusterConfig"]
    )
    return cluster


def replace_tokens(value: Any, tokens: Mapping[str, Any]) -> Any:
    """A copy of a request with the values of `tokens` in their place, at any depth."""
    if isinstance(value, dict):
        return {key: replace_tokens(each, tokens) for key, each in value.items()}
    if isinstance(value, list):
        return [replace_tokens(each, tokens) for each in value]
    if isinstance(value, str):
        for token, text in tokens.items():
            value = value.replace(token, str(text))
    return value


@dataclass(frozen=True, slots=True)
class _RequestBuilder:
    """Builds the requests of one run; see `build_requests`."""

    pipeline: Pipeline
    plan_value: Callable[[str], Any]
    region: str | None
    tags: Mapping[str, str]

    @property
    def paths(self) -> RunPaths:
        return RunPaths(self.plan_value("run_prefix"))

    def build_preprocess_request(self) -> Request:
        """CreateProcessingJob of the `preprocess` stage."""
        # A manifest, not the prefix: objects that arrive after planning belong to the next run.
        data = (self.paths.input_manifest, self.pipeline.s3_data_distribution_type)
        return self._build_processing_request("preprocess", self.paths.config, {"data": data})

    def build_join_request(self) -> Request:
        """CreateProcessingJob of the `join` stage.

        Each instance gets a share of the records and all predictions: how SageMaker assigns objects to instances is not
        documented, and a record and its prediction must be on the same instance.
        """
        manifests = {
            "records": (f"{JOIN_INPUTS}{RECORDS_MANIFEST}", "ShardedByS3Key"),
            "predictions": (f"{JOIN_INPUTS}{PREDICTIONS_MANIFEST}", "FullyReplicated"),
        }
        return self._build_processing_request("join", f"{JOIN_INPUTS}config/", manifests)

    def _build_processing_request(
        self, stage: str, config_uri: str, manifests: Mapping[str, tuple[str, str]]
    ) -> Request:
        """CreateProcessingJob of a module of `batch_inference.jobs`, in the image of `preprocess`.

        `manifests` are the ManifestFiles of the stage's data, and how it is distributed, by the input's name.
        """
        section, security = self.pipeline.preprocess_section, self.pipeline.security
        planned = "join.job" if stage == "join" else stage
        prefixes = {"code": self.paths.code, "config": config_uri, "wheels": section.wheels}
        return {
            "ProcessingJobName": BASE_NAME,
            "RoleArn": self.pipeline.role,
            "AppSpecification": {
                "ImageUri": self._find_image(section.image),
                "ContainerEntrypoint": ["python3", "-m", f"batch_inference.jobs.{stage}"],
            },
            "Environment": {"PYTHONPATH": CODE_PATH, "PYTHONUNBUFFERED": "1"},
            "ProcessingInputs": [
                *(_build_processing_input(name, uri) for name, uri in prefixes.items() if uri),
                *(
                    _build_processing_input(name, uri, "ManifestFile", distribution)
                    for name, (uri, distribution) in manifests.items()
                ),
            ],
            "ProcessingOutputConfig": {
                **security.build_output_fields(),
                "Outputs": [
                    {
                        "OutputName": "output",
                        "S3Output": {
                            "S3Uri": self.paths.build_job_paths(JOB_NAME_TOKEN).root,
                            "LocalPath": f"{PROCESSING_ROOT}/output",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ],
            },
            "ProcessingResources": {
                "ClusterConfig": {
                    **self._build_cluster_fields(planned),
                    "VolumeSizeInGB": self.plan_value(f"{planned}.volume_size_gb"),
                    **security.build_volume_fields(),
                }
            },
            **security.build_processing_fields(),
            "StoppingCondition": {"MaxRuntimeInSeconds": self.plan_value(f"{planned}.max_runtime_seconds")},
            "Tags": self._build_tags(stage),
        }

    def build_model_request(self) -> Request:
        """CreateModel of a model for this run, of the pipeline's containers or of the plan's model package."""
        model, security = self.pipeline.model, self.pipeline.security
        containers = (
            [{"ModelPackageName": self.plan_value("model.package")}]
            if model.package or model.group
            else [self._build_container(container) for container in model.containers]
        )
        return {
            "ModelName": MODEL_NAME,
            "ExecutionRoleArn": self.pipeline.role,
            **({"Containers": containers} if len(containers) > 1 else {"PrimaryContainer": containers[0]}),
            **security.build_model_fields(),
            "Tags": self._build_tags("model"),
        }

    def _build_container(self, container: ContainerDefinition) -> dict[str, Any]:
        fields = {
            "Image": self._find_image(container.image),
            "ModelDataUrl": container.model_data,
            "Environment": container.environment,
        }
        return {name: value for name, value in fields.items() if value}

    def _find_image(self, image: str) -> str:
        try:
            return image if self.region is None else build_image_uri(image, self.region)
        except ValueError as error:
            raise PlanError(f"the image of a job: {error}") from None

    def build_transform_request(self) -> Request:
        """CreateTransformJob of the `transform` stage.

        Without `preprocess` the model reads the input's own lines, in full or as selected by `input_filter`.
        """
        transform, security = self.pipeline.transform, self.pipeline.security
        has_no_preprocess = self.pipeline.preprocess is None
        is_gzip = has_no_preprocess and self.pipeline.input.compression == "gzip"
        source = {"S3DataType": "ManifestFile" if has_no_preprocess else "S3Prefix", "S3Uri": SOURCE_URI}
        return {
            "TransformJobName": BASE_NAME,
            "ModelName": self.pipeline.model.name or MODEL_NAME,
            "BatchStrategy": self.plan_value("transform.batch_strategy"),
            "MaxConcurrentTransforms": self.plan_value("transform.max_concurrent_transforms"),
            "MaxPayloadInMB": self.plan_value("transform.max_payload_mb"),
            "ModelClientConfig": {
                "InvocationsTimeoutInSeconds": self.plan_value("transform.timeout_seconds"),
                "InvocationsMaxRetries": self.plan_value("transform.retries"),
            },
            **({"Environment": dict(transform.environment)} if transform.environment else {}),
            "TransformInput": {
                "DataSource": {"S3DataSource": source},
                "ContentType": self.pipeline.content_type,
                "SplitType": "Line",
                "CompressionType": "Gzip" if is_gzip else "None",
            },
            "TransformOutput": {
                "S3OutputPath": self.paths.build_job_paths(JOB_NAME_TOKEN).predictions,
                "Accept": transform.accept,
                "AssembleWith": transform.assemble_with,
                **security.build_output_fields(),
            },
            "TransformResources": {
                **self._build_cluster_fields("transform"),
                **security.build_volume_fields(),
            },
            **(
                {"DataProcessing": {"InputFilter": transform.input_filter}}
                if transform.input_filter is not None
                else {}
            ),
            "Tags": self._build_tags("transform"),
        }

    def _build_cluster_fields(self, planned: str) -> Request:
        return {field: self.plan_value(f"{planned}.{name}") for name, field in CLUSTER_FIELDS.items()}

    def _build_tags(self, stage: str) -> list[dict[str, str]]:
        tags = {"pipeline": self.pipeline.name, "pipeline-stage": stage, **self.pipeline.tags, **self.tags}
        return [{"Key": key, "Value": value} for key, value in tags.items()]


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
    """preprocess.json, which the preprocessing job reads."""
    planned = plan.preprocess
    if planned is None:
        raise LookupError(f"the plan of {plan.pipeline} has no preprocessing")
    return {
        "version": 1,
        "pipeline": pipeline.name,
        "input_uri": get_folder_uri(plan.input.uri),
        "distribution": planned.distribution,
        **build_record_settings(pipeline),
        "shard_bytes": planned.shard_bytes,
        "nonce": plan.nonce,
    }


def build_record_settings(pipeline: Pipeline) -> dict[str, Any]:
    """The part of preprocess.json that no plan changes; optional sections that the pipeline lacks are omitted."""
    cleaning = {
        "imputations": build_job_imputations(pipeline.impute, pipeline.column_types, pipeline.baseline),
        "function": pipeline.function
        and {"module": build_module_name(pipeline.function.module), "name": pipeline.function.name},
        "sensitive_columns": _build_sensitive_columns(pipeline),
    }
    return {
        "input": pipeline.input.model_dump(
            mode="json",
            include={"format", "header", "delimiter", "escape", "encoding", "compression", "columns"},
        ),
        "rules": build_job_rules(pipeline.rules, pipeline.column_names, pipeline.baseline),
        **{name: section for name, section in cleaning.items() if section},
        "feature_columns": list(pipeline.feature_columns),
    }


def _build_sensitive_columns(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [group.model_dump(mode="json", include={"column", "edges"}) for group in pipeline.sensitive]


def _build_processing_input(
    name: str, uri: str, data_type: str = "S3Prefix", distribution: str = "FullyReplicated"
) -> Request:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": f"{PROCESSING_ROOT}/input/{name}",
            "S3DataType": data_type,
            "S3InputMode": "File",
            "S3DataDistributionType": distribution,
        },
    }


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
            "module": build_module_name(function.module),
            "name": function.name,
            "adds": [{"name": name, "type": kind} for name, kind in function.adds.items()],
        },
        "sensitive_columns": _build_sensitive_columns(pipeline),
        "selection": selected and selected.model_dump(mode="json", exclude_none=True),
    }
