"""Defines the params of one run: the fields of Airflow's trigger form, which `plan` reads.

The plan decides what an empty param leaves open. Airflow validates values against the JSON schema of each param before
a run exists, but its form shows nobody what is wrong. So the schema has only what the form itself offers (types, and
lists to choose from); all else, and unknown keys in `conf`, is refused by `plan`, before anything is spent.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, ValidationError, field_validator

from batch_inference.common.errors import ParamsError
from batch_inference.common.formatting import join_quoted, join_words, suggest_name
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.placeholders import PLACEHOLDERS
from batch_inference.config.schedule import check_deadline
from batch_inference.config.sections.stages import (
    INFERENCE_PIPELINE_MAX_PAYLOAD_MB,
    INSTANCE_TYPE_PATTERN,
    MAX_INSTANCES,
    MAX_PAYLOAD_MB_IN_FLIGHT,
    Stage,
    TemplatedS3Uri,
)
from batch_inference.config.validation_errors import format_validation_error

_PLACEHOLDER_HELP = f"May hold {join_words([f'{{{name}}}' for name in PLACEHOLDERS])}."
#: In descriptions: the maximum that the pipeline sets.
_MAXIMUM = "<maximum>"
#: Keywords of JSON schema that Airflow's form does not check: a value that breaks one is a bare "Bad Request" there.
#: The schema of a param lacks them, and `plan` refuses the value, by `read_params`, with what is allowed.
_UNCHECKED_KEYWORDS = ("pattern", "minimum", "maximum", "exclusiveMinimum")


def _form_field(
    section: str,
    title: str,
    description: str,
    *,
    schema: dict[str, Any] | None = None,
    describes_empty: bool = True,
    **limits: Any,
) -> Any:
    """A field of the form; `schema` holds the keywords of its JSON schema that the model's lacks.

    `describes_empty`: whether the form says what an empty field means, which depends on the pipeline.
    """
    return Field(
        title=title,
        description=description,
        json_schema_extra={"section": section, "describes_empty": describes_empty, **(schema or {})},
        **{"default": None, **limits},
    )


def _instance_type_field(stage: str) -> Any:
    return _form_field(
        "Size and cost",
        f"{stage}: instance type",
        "A SageMaker instance type such as ml.m5.xlarge.",
        pattern=INSTANCE_TYPE_PATTERN,
        schema={"examples": ["ml.m5.large", "ml.m5.xlarge", "ml.m5.2xlarge"]},
    )


def _instance_count_field(stage: str) -> Any:
    return _form_field(
        "Size and cost", f"{stage}: instances", f"A whole number, 1 to {_MAXIMUM}.", ge=1, le=MAX_INSTANCES
    )


class RunParams(BaseModel):
    """The params of one run, in the order and the sections of the form. None: the plan decides.

    `RunParams.model_validate` raises pydantic's ValidationError; `read_params` raises ParamsError.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input_uri: TemplatedS3Uri | None = _form_field(
        "Input",
        "Input",
        f"S3 prefix of the objects to score. {_PLACEHOLDER_HELP}",
        schema={"examples": ["s3://bucket/prefix/date={date}/"]},
        describes_empty=False,
    )
    dry_run: bool = _form_field(
        "Size and cost",
        "Plan only",
        "Time, cost and the instance types to choose from; submits nothing to AWS.",
        default=False,
        describes_empty=False,
    )
    deadline: str | None = _form_field(
        "Size and cost",
        "Deadline",
        "Minutes from the start of the run, such as 90, or a time of day in UTC, such as 06:00.",
    )
    budget: StrictFloat | None = _form_field(
        "Size and cost",
        "Budget in dollars",
        "Maximum cost of the jobs by the plan's estimate, such as 2.50.",
        gt=0,
    )
    prefer: Literal["cost", "speed"] | None = _form_field(
        "Size and cost", "Prefer", "cost: the cheapest clusters that meet the deadline. speed: the fastest."
    )
    preprocess_instance_type: str | None = _instance_type_field("Preprocess")
    preprocess_instance_count: StrictInt | None = _instance_count_field("Preprocess")
    transform_instance_type: str | None = _instance_type_field("Transform")
    transform_instance_count: StrictInt | None = _instance_count_field("Transform")
    max_instances: StrictInt | None = _form_field(
        "Size and cost",
        "Maximum instances",
        f"For each stage, 1 to {_MAXIMUM}; it can only lower max_instances of the pipeline.",
        ge=1,
        le=MAX_INSTANCES,
        describes_empty=False,
    )
    transform_batch_strategy: Literal["MultiRecord", "SingleRecord"] | None = _form_field(
        "Model",
        "Records per request",
        "MultiRecord: as many records in a request as fit. SingleRecord: one.",
    )
    transform_max_payload_mb: StrictInt | None = _form_field(
        "Model", "Largest request in MB", f"MaxPayloadInMB, 1 to {_MAXIMUM}.", ge=1, le=100
    )
    transform_max_concurrent_transforms: StrictInt | None = _form_field(
        "Model",
        "Requests at a time",
        "MaxConcurrentTransforms, for each instance; times the largest request at most 100 MB.",
        ge=1,
        le=100,
    )
    output_uri: TemplatedS3Uri | None = _form_field(
        "Output",
        "Output",
        f"S3 prefix of the published rows. {_PLACEHOLDER_HELP}",
        schema={"examples": ["s3://bucket/trial/"]},
        describes_empty=False,
    )
    skip_unchanged: bool | None = _form_field(
        "Output",
        "Skip unchanged input",
        "End without a job when the output was published from the same input, model and pipeline.",
    )
    publish_run: str | None = _form_field(
        "Held runs",
        "Publish a held run",
        "Id of a run that its gates hold. It is checked and published; all other fields are ignored.",
        describes_empty=False,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _empty_means_none(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("dry_run", mode="before")
    @classmethod
    def _empty_means_no(cls, value: object) -> object:
        return False if value is None else value

    @field_validator("deadline", mode="before")
    @classmethod
    def _is_a_deadline(cls, value: object) -> object:
        text = "" if value is None else str(value).strip()
        if not text:
            return None
        check_deadline(text)
        return text

    def get_instance_count(self, stage: Stage) -> int | None:
        """The requested number of instances of a stage, None where the form has no such field or it is empty."""
        return getattr(self, f"{stage}_instance_count", None)

    def get_instance_type(self, stage: Stage) -> str | None:
        """The requested instance type of a stage; None as in `get_instance_count`."""
        return getattr(self, f"{stage}_instance_type", None)


def read_params(params: Mapping[str, Any]) -> RunParams:
    """Parse the params of a run. Raises ParamsError with field, value found and allowed values."""
    try:
        return RunParams.model_validate(dict(params))
    except ValidationError as error:
        raise ParamsError(format_validation_error(error, RunParams, params)) from None


def check_conf_keys(conf: Mapping[str, Any] | None, param_names: Iterable[str]) -> None:
    """Raise ParamsError for keys of a run's `conf` that are not params, with the nearest valid name."""
    names = list(param_names)
    problems = tuple(
        f"conf: found the unknown key {key!r}; allowed are {join_quoted(names, conjunction='and')}"
        f"{suggest_name(str(key), names)}"
        for key in (conf or {})
        if key not in names
    )
    if problems:
        raise ParamsError(problems)


def build_param_specs(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """The fields of the trigger form by param name, in the order of the form.

    Each has the keywords of Airflow's Param: `default` (the pipeline's own value), `title`, `description`, `section`,
    and those of its JSON schema that the form checks; all but booleans are nullable.
    """
    own_values, limits = _get_pipeline_values(pipeline), _list_limits(pipeline)
    specs: dict[str, dict[str, Any]] = {}
    for name, field in _get_field_schemas().items():
        if pipeline.preprocess is None and name.startswith("preprocess_"):
            continue
        own, (value_schema, *null) = own_values.get(name), field.get("anyOf", [{}])
        spec = specs[name] = {**value_schema, **field}
        if null:
            del spec["anyOf"]
            # Airflow's form needs one flat `type`. A fraction in a whole number's field is refused by `plan`.
            spec["type"] = ["null", "number" if spec["type"] == "integer" else spec["type"]]
            spec["default"] = own
        if "enum" in spec:
            spec["enum"] = [None, *spec["enum"]]
        if "examples" in spec:
            spec["examples"] = list(dict.fromkeys([own, *spec["examples"]]))
        maximum = limits[name][0] if name in limits else spec.get("maximum")
        spec["description"] = spec["description"].replace(_MAXIMUM, str(maximum))
        for keyword in _UNCHECKED_KEYWORDS:
            spec.pop(keyword, None)
        if spec.pop("describes_empty"):
            spec["description"] += f" {_describe_empty(name, own)}"
    if pipeline.schedule is not None:
        specs["dry_run"]["description"] += (
            " If the DAG is paused, unpausing it for this run may also start its last scheduled run, with jobs."
        )
    if pipeline.model.is_inference_pipeline:
        specs["transform_max_payload_mb"]["description"] += (
            " Requests between containers are limited to 5 MB."
        )
    return specs


@functools.cache
def _get_field_schemas() -> dict[str, dict[str, Any]]:
    """The JSON schema of each param, which all pipelines share."""
    schemas: dict[str, dict[str, Any]] = RunParams.model_json_schema()["properties"]
    return schemas


def keep_overrides(params: RunParams, pipeline: Pipeline) -> RunParams:
    """The params that differ from the defaults of the form; all others are None.

    The form shows the pipeline's values as defaults, and the plan records who made each choice.
    """
    form_defaults = read_params(_get_pipeline_values(pipeline))
    overrides = {name: value for name, value in params if value != getattr(form_defaults, name)}
    return RunParams.model_validate(overrides)


def check_param_limits(pipeline: Pipeline, params: RunParams) -> None:
    """Raise ParamsError when params exceed the pipeline's limits or SageMaker's."""
    problems = [
        f"{name}: found {value}; allowed is at most {maximum}, {reason}"
        for name, (maximum, reason) in _list_limits(pipeline).items()
        if (value := getattr(params, name)) is not None and value > maximum
    ]
    payload_mb = params.transform_max_payload_mb or pipeline.max_payload_mb
    concurrency = params.transform_max_concurrent_transforms
    if concurrency is not None and payload_mb * concurrency > MAX_PAYLOAD_MB_IN_FLIGHT:
        problems.append(
            f"transform_max_concurrent_transforms: found {concurrency} times {payload_mb} MB per request = "
            f"{payload_mb * concurrency} MB in flight; SageMaker allows at most {MAX_PAYLOAD_MB_IN_FLIGHT}; write "
            f"{MAX_PAYLOAD_MB_IN_FLIGHT // payload_mb} or less, or lower the MB per request"
        )
    if problems:
        raise ParamsError(tuple(problems))


def _get_pipeline_values(pipeline: Pipeline) -> dict[str, Any]:
    """The pipeline's own value of each param that a pipeline file can set."""
    deadline = pipeline.goals.deadline
    return {
        "skip_unchanged": pipeline.skip_unchanged,
        "input_uri": pipeline.input.uri,
        "deadline": None if deadline is None else str(deadline),
        "budget": pipeline.goals.budget,
        "prefer": pipeline.goals.prefer,
        "preprocess_instance_type": pipeline.preprocess and pipeline.preprocess.instance_type,
        "transform_instance_type": pipeline.transform.instance_type,
        "transform_batch_strategy": pipeline.transform.batch_strategy,
        "transform_max_payload_mb": pipeline.max_payload_mb,
        "output_uri": pipeline.output.uri,
        "transform_max_concurrent_transforms": pipeline.transform.max_concurrent_transforms,
    }


def _list_limits(pipeline: Pipeline) -> dict[str, tuple[int, str]]:
    """The largest value of each param that the pipeline limits, and the reason."""
    limits = {
        f"{stage}_instance_count": (
            section.max_instances,
            f"as {stage}.max_instances of the pipeline {pipeline.name}",
        )
        for stage, section in (("preprocess", pipeline.preprocess), ("transform", pipeline.transform))
        if section is not None
    }
    if pipeline.model.is_inference_pipeline:
        count = len(pipeline.model.containers)
        limits["transform_max_payload_mb"] = (
            INFERENCE_PIPELINE_MAX_PAYLOAD_MB,
            f"because the model has {count} containers and requests between them are limited to 5 MB",
        )
    return limits


def _describe_empty(name: str, own_value: object) -> str:
    """The help text for an empty field."""
    if own_value is None:
        return f"Empty: {'none' if name in ('deadline', 'budget') else 'the plan decides'}."
    shown = {True: "yes", False: "no"}.get(own_value) if isinstance(own_value, bool) else own_value
    return f"Empty: {shown}, as the pipeline says."
