"""Defines the params of one run: the fields of Airflow's trigger form, which `plan` reads.

The plan decides what an empty param leaves open. Airflow validates values against the JSON schema of each param
before a run exists, but accepts unknown keys in `conf`; `check_conf_keys` refuses those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from batch_inference.common import s3_uri
from batch_inference.common.errors import ParamsError, PlaceholderError
from batch_inference.common.formatting import join_quoted, suggest_name
from batch_inference.config.deadline import check_deadline
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.placeholders import PLACEHOLDERS, check_placeholders
from batch_inference.config.sections.record_rules import stringify_booleans
from batch_inference.config.sections.stages import (
    INFERENCE_PIPELINE_MAX_PAYLOAD_MB,
    INSTANCE_TYPE_PATTERN,
    MAX_INSTANCES,
)
from batch_inference.config.validation_errors import format_validation_error

#: Sections of the form, in order.
SECTION_RUN, SECTION_INPUT, SECTION_CLUSTER, SECTION_MODEL, SECTION_OUTPUT, SECTION_ADVANCED = (
    "Run",
    "Input",
    "Cluster",
    "Model",
    "Output",
    "Advanced",
)

INSTANCE_COUNT_FIELD = Field(default=None, ge=1, le=MAX_INSTANCES)
INSTANCE_TYPE_FIELD = Field(default=None, pattern=INSTANCE_TYPE_PATTERN)


class RunParams(BaseModel):
    """The params of one run. None: the plan decides.

    `RunParams.model_validate` raises pydantic's ValidationError; `read_params` raises ParamsError.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dry_run: bool = False
    publish_run: str | None = None
    skip_unchanged: bool | None = None
    input_uri: str | None = None
    output_uri: str | None = None
    preprocess_instance_type: str | None = INSTANCE_TYPE_FIELD
    preprocess_instance_count: int | None = INSTANCE_COUNT_FIELD
    transform_instance_type: str | None = INSTANCE_TYPE_FIELD
    transform_instance_count: int | None = INSTANCE_COUNT_FIELD
    transform_max_payload_mb: int | None = Field(default=None, ge=1, le=100)
    transform_max_concurrent_transforms: int | None = Field(default=None, ge=1, le=100)
    transform_batch_strategy: Literal["MultiRecord", "SingleRecord"] | None = None
    deadline: str | None = None
    budget: float | None = Field(default=None, gt=0)
    prefer: Literal["cost", "speed"] | None = None
    max_instances: int | None = INSTANCE_COUNT_FIELD

    @model_validator(mode="before")
    @classmethod
    def _stringify_booleans(cls, data: object) -> object:
        return stringify_booleans(cls, data)

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

    @field_validator("input_uri", "output_uri")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            check_placeholders(value)
        except PlaceholderError as error:
            raise ValueError(str(error)) from None
        if not s3_uri.is_s3_uri(value):
            raise ValueError(f"found {value!r}; allowed is an S3 URI such as s3://bucket/prefix/")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSpec:
    """One field of the trigger form; `schema` holds the remaining keywords of its JSON schema."""

    default: Any
    title: str
    description: str
    section: str
    schema: dict[str, Any] = field(default_factory=dict)


def read_params(params: Mapping[str, Any]) -> RunParams:
    """Parse the params of a run. Raises ParamsError with field, value found and allowed values."""
    try:
        return RunParams.model_validate(dict(params))
    except ValidationError as error:
        raise ParamsError(format_validation_error(error, RunParams)) from None


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


def build_param_specs(pipeline: Pipeline) -> dict[str, ParamSpec]:
    """The fields of the trigger form by param name, in the order of the form."""
    is_serial = pipeline.model.is_inference_pipeline
    payload_limit = INFERENCE_PIPELINE_MAX_PAYLOAD_MB if is_serial else 100
    placeholder_help = (
        "May hold " + ", ".join(f"{{{name}}} ({meaning})" for name, meaning in PLACEHOLDERS.items()) + "."
    )
    return {
        "dry_run": ParamSpec(
            default=False,
            title="Plan only",
            description="Size the run and estimate its cost; submit nothing to AWS.",
            section=SECTION_RUN,
            schema={"type": "boolean"},
        ),
        "publish_run": ParamSpec(
            default=None,
            title="Publish a held run",
            description="Id of a run that its gates hold. It is checked, published and reported; all other fields are "
            "ignored.",
            section=SECTION_RUN,
            schema={"type": ["null", "string"]},
        ),
        "skip_unchanged": ParamSpec(
            default=pipeline.skip_unchanged,
            title="Skip unchanged input",
            description="End without a job when the output was published from the same input, model and pipeline. "
            f"Empty: {'yes' if pipeline.skip_unchanged else 'no'}, as the pipeline says.",
            section=SECTION_RUN,
            schema={"type": ["null", "boolean"]},
        ),
        "input_uri": ParamSpec(
            default=pipeline.input.uri,
            title="Input",
            description=f"S3 prefix of the objects to score. {placeholder_help}",
            section=SECTION_INPUT,
            schema={
                "type": ["null", "string"],
                "pattern": "^(s3://.+)?$",
                "examples": list(dict.fromkeys([pipeline.input.uri, "s3://bucket/prefix/date={date}/"])),
            },
        ),
        "deadline": ParamSpec(
            default=pipeline.goals.deadline,
            title="Deadline",
            description="Minutes from the start of the run, such as 90, or a time of day in UTC, such as 06:00. "
            f"{_describe_empty(pipeline.goals.deadline)} A run that cannot meet it fails before it costs anything.",
            section=SECTION_CLUSTER,
            schema={"type": ["null", "string"], "pattern": r"^$|^[1-9]\d{0,4}$|^([01]?\d|2[0-3]):[0-5]\d$"},
        ),
        "budget": ParamSpec(
            default=pipeline.goals.budget,
            title="Budget in dollars",
            description="Maximum cost of the jobs by the plan's estimate, such as 2.50. "
            f"{_describe_empty(pipeline.goals.budget)}",
            section=SECTION_CLUSTER,
            schema={"type": ["null", "number"], "exclusiveMinimum": 0},
        ),
        "prefer": ParamSpec(
            default=pipeline.goals.prefer,
            title="Prefer",
            description="cost takes the cheapest clusters that meet the deadline, speed the fastest within the limits. "
            f"{_describe_empty(pipeline.goals.prefer)}",
            section=SECTION_CLUSTER,
            schema={"type": ["null", "string"], "enum": [None, "cost", "speed"]},
        ),
        **_preprocess_specs(pipeline),
        "transform_instance_type": _instance_type_spec("Transform", pipeline.transform.instance_type),
        "transform_instance_count": _instance_count_spec(
            "Transform", pipeline.transform.max_instances, "at most one for each shard or object"
        ),
        "transform_batch_strategy": ParamSpec(
            default=pipeline.transform.batch_strategy,
            title="Records per request",
            description="BatchStrategy. MultiRecord: as many records in a request as fit. SingleRecord: one. "
            f"{_describe_empty(pipeline.transform.batch_strategy)}",
            section=SECTION_MODEL,
            schema={"type": ["null", "string"], "enum": [None, "MultiRecord", "SingleRecord"]},
        ),
        "transform_max_payload_mb": ParamSpec(
            default=pipeline.max_payload_mb,
            title="Largest request in MB",
            description=f"MaxPayloadInMB, 1 to {payload_limit}. {_describe_empty(pipeline.max_payload_mb)}"
            + (" Requests between containers are limited to 5 MB." if is_serial else ""),
            section=SECTION_MODEL,
            schema={"type": ["null", "integer"], "minimum": 1, "maximum": payload_limit},
        ),
        "output_uri": ParamSpec(
            default=pipeline.output.uri,
            title="Output",
            description=f"S3 prefix of the published rows. {placeholder_help}",
            section=SECTION_OUTPUT,
            schema={
                "type": ["null", "string"],
                "pattern": "^(s3://.+)?$",
                "examples": list(dict.fromkeys([pipeline.output.uri, "s3://bucket/trial/"])),
            },
        ),
        "transform_max_concurrent_transforms": ParamSpec(
            default=pipeline.transform.max_concurrent_transforms,
            title="Requests at a time",
            description="MaxConcurrentTransforms, for each instance. "
            f"{_describe_empty(pipeline.transform.max_concurrent_transforms, 'the plan decides')} "
            "At most 100 when multiplied by the largest request in MB.",
            section=SECTION_ADVANCED,
            schema={"type": ["null", "integer"], "minimum": 1, "maximum": 100},
        ),
        "max_instances": ParamSpec(
            default=None,
            title="Maximum instances",
            description=f"For each stage, 1 to {MAX_INSTANCES}; it can only lower max_instances of the pipeline. "
            "Empty: max_instances of the pipeline.",
            section=SECTION_ADVANCED,
            schema={"type": ["null", "integer"], "minimum": 1, "maximum": MAX_INSTANCES},
        ),
    }


def keep_overrides(params: RunParams, pipeline: Pipeline) -> RunParams:
    """The params that differ from the defaults of the form; all others are None.

    The form shows the pipeline's values as defaults, and the plan records who made each choice.
    """
    form_defaults = read_params({name: spec.default for name, spec in build_param_specs(pipeline).items()})
    overrides = {name: value for name, value in params if value != getattr(form_defaults, name)}
    return RunParams.model_validate(overrides)


def _describe_empty(pipeline_value: object, otherwise: str = "none") -> str:
    """The help text for an empty field."""
    return (
        f"Empty: {otherwise}."
        if pipeline_value is None
        else f"Empty: {pipeline_value}, as the pipeline says."
    )


def _preprocess_specs(pipeline: Pipeline) -> dict[str, ParamSpec]:
    if pipeline.preprocess is None:
        return {}
    return {
        "preprocess_instance_type": _instance_type_spec("Preprocess", pipeline.preprocess.instance_type),
        "preprocess_instance_count": _instance_count_spec(
            "Preprocess", pipeline.preprocess.max_instances, "at most one for each input object"
        ),
    }


def _instance_type_spec(stage: str, pipeline_value: str) -> ParamSpec:
    return ParamSpec(
        default=pipeline_value,
        title=f"{stage}: instance type",
        description=f"A SageMaker instance type such as ml.m5.xlarge. {_describe_empty(pipeline_value)}",
        section=SECTION_CLUSTER,
        schema={
            "type": ["null", "string"],
            "pattern": f"^$|{INSTANCE_TYPE_PATTERN}",
            "examples": sorted({pipeline_value, "ml.m5.large", "ml.m5.xlarge", "ml.m5.2xlarge"}),
        },
    )


def _instance_count_spec(stage: str, max_instances: int, upper_bound: str) -> ParamSpec:
    return ParamSpec(
        default=None,
        title=f"{stage}: instances",
        description=f"1 to {max_instances} (max_instances of the pipeline), {upper_bound}. Empty: the plan decides.",
        section=SECTION_CLUSTER,
        schema={"type": ["null", "integer"], "minimum": 1, "maximum": max_instances},
    )
