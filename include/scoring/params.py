"""The params of one run: what Airflow's trigger form shows, and what `plan` reads back.

A param left empty means that the plan decides. Airflow checks values against the JSON schema given here
before a run exists, but accepts unknown keys in `conf`, so `check_conf` refuses those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from include.scoring import s3uri
from include.scoring.config import Pipeline
from include.scoring.deadline import check_deadline
from include.scoring.errors import ParamsError, PlaceholderError
from include.scoring.explain import explain
from include.scoring.messages import did_you_mean, one_of
from include.scoring.placeholders import PLACEHOLDERS, check_placeholders
from include.scoring.rules import truth_as_text
from include.scoring.sections import INSTANCE_TYPE_PATTERN, MAX_INSTANCES, PIPELINE_MAX_PAYLOAD_MB

#: Sections of the form, in order.
FIRST, INPUT, CLUSTER, MODEL, OUTPUT, ADVANCED = "Run", "Input", "Cluster", "Model", "Output", "Advanced"

Instances = Field(default=None, ge=1, le=MAX_INSTANCES)
InstanceType = Field(default=None, pattern=INSTANCE_TYPE_PATTERN)


class RunParams(BaseModel):
    """What a person, or the API, asked of one run. None means: the plan decides.

    `RunParams.model_validate` raises pydantic's ValidationError; `read_params` raises ParamsError.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dry_run: bool = False
    publish_run: str | None = None
    skip_unchanged: bool | None = None
    input_uri: str | None = None
    output_uri: str | None = None
    preprocess_instance_type: str | None = InstanceType
    preprocess_instance_count: int | None = Instances
    transform_instance_type: str | None = InstanceType
    transform_instance_count: int | None = Instances
    transform_max_payload_mb: int | None = Field(default=None, ge=1, le=100)
    transform_max_concurrent: int | None = Field(default=None, ge=1, le=100)
    transform_batch_strategy: Literal["MultiRecord", "SingleRecord"] | None = None
    deadline: str | None = None
    budget: float | None = Field(default=None, gt=0)
    prefer: Literal["cost", "speed"] | None = None
    max_instances: int | None = Instances

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, data: object) -> object:
        return truth_as_text(cls, data)

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
        if not s3uri.is_uri(value):
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
    """The params of a run as an object. Raises ParamsError: each field, what was found, what is allowed."""
    try:
        return RunParams.model_validate(dict(params))
    except ValidationError as error:
        raise ParamsError(explain(error, RunParams)) from None


def check_conf(conf: Mapping[str, Any] | None, known: Iterable[str]) -> None:
    """Raise ParamsError for keys of a run's `conf` that are no params, naming the nearest valid one."""
    names = list(known)
    problems = tuple(
        f"conf: found the unknown key {key!r}; allowed are {one_of(names, last='and')}"
        f"{did_you_mean(str(key), names)}"
        for key in (conf or {})
        if key not in names
    )
    if problems:
        raise ParamsError(problems)


def param_specs(pipeline: Pipeline) -> dict[str, ParamSpec]:
    """The trigger form of a pipeline: param name to its field, in the order in which the form shows them."""
    serial = pipeline.model.is_serial_pipeline
    payload_limit = PIPELINE_MAX_PAYLOAD_MB if serial else 100
    filled = (
        "May hold " + ", ".join(f"{{{name}}} ({meaning})" for name, meaning in PLACEHOLDERS.items()) + "."
    )
    return {
        "dry_run": ParamSpec(
            default=False,
            title="Plan only",
            description="Size the run, estimate its cost and stop there; nothing is submitted to AWS.",
            section=FIRST,
            schema={"type": "boolean"},
        ),
        "publish_run": ParamSpec(
            default=None,
            title="Publish a held run",
            description="Id of a run that its gates hold. It is checked, published and reported as it is; nothing else "
            "of this form is looked at.",
            section=FIRST,
            schema={"type": ["null", "string"]},
        ),
        "skip_unchanged": ParamSpec(
            default=pipeline.skip_unchanged,
            title="Skip what is published already",
            description="End without a job when input, model and pipeline are those of what the output holds. "
            f"Empty: {'yes' if pipeline.skip_unchanged else 'no'}, as the pipeline says.",
            section=FIRST,
            schema={"type": ["null", "boolean"]},
        ),
        "input_uri": ParamSpec(
            default=pipeline.input.uri,
            title="Input",
            description=f"S3 prefix whose objects are scored. {filled}",
            section=INPUT,
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
            f"{_empty(pipeline.goals.deadline)} A run that cannot make it fails before it costs anything.",
            section=CLUSTER,
            schema={"type": ["null", "string"], "pattern": r"^$|^[1-9]\d{0,4}$|^([01]?\d|2[0-3]):[0-5]\d$"},
        ),
        "budget": ParamSpec(
            default=pipeline.goals.budget,
            title="Budget in dollars",
            description="Most that the jobs may cost by the plan's estimate, such as 2.50. "
            f"{_empty(pipeline.goals.budget)}",
            section=CLUSTER,
            schema={"type": ["null", "number"], "exclusiveMinimum": 0},
        ),
        "prefer": ParamSpec(
            default=pipeline.goals.prefer,
            title="Prefer",
            description="cost takes the cheapest clusters that meet the deadline, speed the fastest within the limits. "
            f"{_empty(pipeline.goals.prefer)}",
            section=CLUSTER,
            schema={"type": ["null", "string"], "enum": [None, "cost", "speed"]},
        ),
        **_preprocess(pipeline),
        "transform_instance_type": _instance_type("Transform", pipeline.transform.instance_type),
        "transform_instance_count": _instance_count(
            "Transform", pipeline.transform.max_instances, "never more than there are shards or objects"
        ),
        "transform_batch_strategy": ParamSpec(
            default=pipeline.transform.strategy,
            title="Records per request",
            description="MultiRecord puts as many records into a request as fit, SingleRecord one. "
            f"{_empty(pipeline.transform.strategy)}",
            section=MODEL,
            schema={"type": ["null", "string"], "enum": [None, "MultiRecord", "SingleRecord"]},
        ),
        "transform_max_payload_mb": ParamSpec(
            default=pipeline.max_payload_mb,
            title="Largest request in MB",
            description=f"MaxPayloadInMB, 1 to {payload_limit}. {_empty(pipeline.max_payload_mb)}"
            + (" Several containers can hand each other 5 MB at most." if serial else ""),
            section=MODEL,
            schema={"type": ["null", "integer"], "minimum": 1, "maximum": payload_limit},
        ),
        "output_uri": ParamSpec(
            default=pipeline.output.uri,
            title="Output",
            description=f"S3 prefix where the scored rows are published. {filled}",
            section=OUTPUT,
            schema={
                "type": ["null", "string"],
                "pattern": "^(s3://.+)?$",
                "examples": list(dict.fromkeys([pipeline.output.uri, "s3://bucket/trial/"])),
            },
        ),
        "transform_max_concurrent": ParamSpec(
            default=pipeline.transform.max_concurrent_transforms,
            title="Requests at a time",
            description="MaxConcurrentTransforms, for each instance. "
            f"{_empty(pipeline.transform.max_concurrent_transforms, 'the plan decides')} "
            "Times the largest request it may be 100 at most.",
            section=ADVANCED,
            schema={"type": ["null", "integer"], "minimum": 1, "maximum": 100},
        ),
        "max_instances": ParamSpec(
            default=None,
            title="Most instances",
            description=f"For each stage, 1 to {MAX_INSTANCES}. Empty: as many as the pipeline allows; "
            "this can only lower it.",
            section=ADVANCED,
            schema={"type": ["null", "integer"], "minimum": 1, "maximum": MAX_INSTANCES},
        ),
    }


def beyond_the_pipeline(asked: RunParams, pipeline: Pipeline) -> RunParams:
    """What was asked of a run beyond what its pipeline says: None where the form's own default was left as it was.

    The form shows the pipeline's values, and the plan says of each choice who made it.
    """
    own = read_params({name: spec.default for name, spec in param_specs(pipeline).items()})
    kept = {name: value for name, value in asked if value != getattr(own, name)}
    return RunParams.model_validate(kept)


def _empty(own: object, otherwise: str = "none") -> str:
    """What a field means that is left empty."""
    return f"Empty: {otherwise}." if own is None else f"Empty: {own}, as the pipeline says."


def _preprocess(pipeline: Pipeline) -> dict[str, ParamSpec]:
    if pipeline.preprocess is None:
        return {}
    return {
        "preprocess_instance_type": _instance_type("Preprocess", pipeline.preprocess.instance_type),
        "preprocess_instance_count": _instance_count(
            "Preprocess", pipeline.preprocess.max_instances, "never more than there are input objects"
        ),
    }


def _instance_type(stage: str, own: str) -> ParamSpec:
    return ParamSpec(
        default=own,
        title=f"{stage}: instance type",
        description=f"A SageMaker instance type such as ml.m5.xlarge. {_empty(own)}",
        section=CLUSTER,
        schema={
            "type": ["null", "string"],
            "pattern": f"^$|{INSTANCE_TYPE_PATTERN}",
            "examples": sorted({own, "ml.m5.large", "ml.m5.xlarge", "ml.m5.2xlarge"}),
        },
    )


def _instance_count(stage: str, most: int, bound: str) -> ParamSpec:
    return ParamSpec(
        default=None,
        title=f"{stage}: instances",
        description=f"1 to {most}, which is what the pipeline allows, and {bound}. Empty: the plan decides.",
        section=CLUSTER,
        schema={"type": ["null", "integer"], "minimum": 1, "maximum": most},
    )
