"""A pipeline file as nouns that cannot be wrong: `load_pipeline(path)` gives a frozen `Pipeline` or a
PipelineError.

Nothing downstream checks again what is checked here, and nothing here reads anything but the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from include.scoring import s3uri
from include.scoring.errors import PipelineError, PlaceholderError
from include.scoring.explain import explain
from include.scoring.placeholders import check_placeholders
from include.scoring.rules import DuplicatesRule, Noun, Rule, check_rules
from include.scoring.yaml_file import read_yaml

INSTANCE_TYPE_PATTERN = r"^ml\.[a-z0-9-]+\.((\d*x)?large|medium|metal)$"
ROLE_PATTERN = r"^arn:aws[a-z-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+$"

# Between the containers of a serial pipeline a request is limited to 5 MB (inference pipeline
# troubleshooting guide; batch jobs were seen to fail with "Request Entity Too Large"). Payload times
# concurrency may not exceed 100 (API).
PIPELINE_MAX_PAYLOAD_MB = 5
DEFAULT_MAX_PAYLOAD_MB = 6
MAX_PAYLOAD_TIMES_CONCURRENCY = 100
MAX_INSTANCES = 100


def _s3_uri(value: str) -> str:
    if not s3uri.is_uri(value):
        raise ValueError(f"found {value!r}; allowed is an S3 URI such as s3://bucket/prefix/")
    return value


def _fixed_s3_uri(value: str) -> str:
    brace = re.search(r"\{[^}]*\}?", value)
    if brace is not None:
        raise ValueError(
            f"found the placeholder {brace[0]} in {value!r}; allowed is a fixed prefix, because each run gets a "
            f"folder of its own below it"
        )
    return _s3_uri(value)


def _templated_s3_uri(value: str) -> str:
    try:
        check_placeholders(value)
    except PlaceholderError as error:
        raise ValueError(str(error)) from None
    return _s3_uri(value)


S3Uri: TypeAlias = Annotated[str, AfterValidator(_s3_uri)]
TemplatedS3Uri: TypeAlias = Annotated[str, AfterValidator(_templated_s3_uri)]
InstanceType: TypeAlias = Annotated[str, Field(pattern=INSTANCE_TYPE_PATTERN, examples=["ml.m5.xlarge"])]


class Column(Noun):
    """One column of the input."""

    name: str = Field(
        min_length=1, max_length=120, description="Name of the column in rules, rejects and output."
    )
    type: Literal["string", "float", "integer"] = Field(
        default="string",
        description="What a cell holds. An empty cell of a number is a missing value, no type error.",
    )
    optional: bool = Field(
        default=False,
        description="Whether an input object may lack it; only the last columns may be optional.",
    )


class InputSection(Noun):
    """Where the records come from and what they look like."""

    uri: TemplatedS3Uri = Field(description="S3 prefix of the input. May hold {date}, {hour} and {run_id}.")
    format: Literal["csv"] = Field(default="csv", description="Format of the objects.")
    header: bool = Field(default=False, description="Whether each object begins with a line of column names.")
    delimiter: str = Field(
        default=",",
        pattern=r'^[^"\r\n\x00\x80-\U0010ffff]$',
        description="What separates the cells: one ASCII character.",
    )
    encoding: Literal["utf-8", "latin-1"] = Field(default="utf-8", description="Encoding of the text.")
    compression: Literal["none", "gzip", "auto"] = Field(
        default="none", description="How the objects are compressed; auto looks at the first bytes of each."
    )
    columns: tuple[Column, ...] = Field(min_length=1, description="The columns, in order.")

    @field_validator("columns")
    @classmethod
    def _columns_are_sound(cls, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        names = [column.name for column in columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"found the column name {twice[0]!r} more than once; names must differ")
        optional = False
        for column in columns:
            if optional and not column.optional:
                raise ValueError(
                    f"found {column.name!r} after an optional column; only the last columns may be optional"
                )
            optional = column.optional
        if columns[0].optional:
            raise ValueError("found only optional columns; at least the first must always be there")
        return columns


class FeaturesSection(Noun):
    """What the model sees."""

    columns: tuple[str, ...] = Field(
        min_length=1, description="Columns in the order in which the model expects them."
    )


class Container(Noun):
    """One container of a model that is made for the run."""

    image: str = Field(min_length=1, max_length=255, pattern=r"^\S+$", description="Image URI in ECR.")
    model_data: S3Uri | None = Field(
        default=None, description="S3 URI of the model.tar.gz that the container loads."
    )
    environment: dict[str, str] = Field(
        default_factory=dict, max_length=100, description="Environment variables of the container."
    )

    @field_validator("model_data")
    @classmethod
    def _is_an_archive(cls, value: str | None) -> str | None:
        if value is not None and not value.endswith(".tar.gz"):
            raise ValueError(
                f"found {value!r}; allowed is one .tar.gz object, which SageMaker unpacks for the container"
            )
        return value


class ModelSection(Noun):
    """The model: an existing one by name, or containers from which one is made for the run."""

    name: str | None = Field(
        default=None,
        pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$",
        description="ModelName of a model that exists in SageMaker.",
    )
    containers: tuple[Container, ...] = Field(
        default=(),
        max_length=15,
        description="Containers in the order in which a record passes through them.",
    )

    @model_validator(mode="after")
    def _names_one_model(self) -> Self:
        if (self.name is None) == (not self.containers):
            found = "neither name nor containers" if self.name is None else "both name and containers"
            raise ValueError(f"found {found}; allowed is one of them")
        return self

    @property
    def is_serial_pipeline(self) -> bool:
        """Whether a record passes through more than one container."""
        return len(self.containers) > 1


class StageLimits(Noun):
    """How large the cluster of a stage may get. What is left out is decided by the plan of each run."""

    instance_type: InstanceType = Field(default="ml.m5.xlarge", description="Instance type of the stage.")
    max_instances: int = Field(
        default=4,
        ge=1,
        le=MAX_INSTANCES,
        description="Most instances this stage may ever use, typed ones included.",
    )
    max_runtime_minutes: int = Field(
        default=240, ge=1, le=7 * 24 * 60, description="After this time the job is stopped and the run fails."
    )


class PreprocessSection(StageLimits):
    """The processing job that checks the records and cuts them into equal shards."""

    image: str = Field(
        min_length=1, max_length=255, pattern=r"^\S+$", description="Image URI; it needs Python and pandas."
    )
    volume_size_gb: int = Field(default=30, ge=1, le=16384, description="Disk of each instance, in GB.")


class TransformSection(StageLimits):
    """The batch transform job that runs the model."""

    strategy: Literal["MultiRecord", "SingleRecord"] = Field(
        default="MultiRecord", description="MultiRecord sends as many records per request as fit the payload."
    )
    max_payload_mb: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Most MB in one request. Default: 6, and 5 for several containers.",
    )
    max_concurrent_transforms: int | None = Field(
        default=None, ge=1, le=100, description="Requests in flight per instance. Default: one per vCPU."
    )
    accept: str = Field(
        default="application/jsonlines", max_length=256, description="What the model shall answer."
    )
    assemble_with: Literal["Line", "None"] = Field(
        default="Line", description="Line puts a line break between the answers of a shard, None glues them."
    )


class PredictionsSection(Noun):
    """How to read the model's answers."""

    format: Literal["jsonlines", "csv"] = Field(default="jsonlines", description="Format of the answers.")
    fields: dict[str, str] = Field(
        min_length=1,
        description="Output column for each field of an answer; for csv the field is its position, from 0.",
    )

    @model_validator(mode="after")
    def _fields_fit_the_format(self) -> Self:
        if self.format == "csv":
            wrong = [name for name in self.fields if not name.isdigit()]
            if wrong:
                raise ValueError(
                    f"found the field {wrong[0]!r}; csv answers have no names, so a field is a position "
                    f"such as '0'"
                )
        targets = list(self.fields.values())
        if len(set(targets)) < len(targets):
            raise ValueError(f"found the same output column twice in fields: {targets}; names must differ")
        return self


class JoinSection(Noun):
    """How records and predictions are put side by side and published."""

    format: Literal["parquet", "csv", "jsonl"] = Field(
        default="parquet", description="Format of the published files."
    )
    group_mb: int = Field(
        default=256, ge=1, le=10_000, description="About how many MB of records one task joins into one file."
    )


class OutputSection(Noun):
    """Where the joined rows are published."""

    uri: TemplatedS3Uri = Field(description="S3 prefix of the output. May hold {date}, {hour} and {run_id}.")


class Pipeline(Noun):
    """One model that scores data on a schedule."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
        description="Name of the pipeline and of its DAG: a-z, 0-9, _ and -.",
    )
    description: str = Field(default="", max_length=2000, description="One or two sentences for people.")
    schedule: str | None = Field(
        default=None, description="Cron expression in UTC, or a preset such as @daily."
    )
    aws_conn_id: str = Field(default="aws_default", min_length=1, description="Airflow connection to AWS.")
    region: str | None = Field(
        default=None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="AWS region. Default: the connection's."
    )
    role: str = Field(
        pattern=ROLE_PATTERN, max_length=2048, description="ARN of the role that SageMaker's jobs assume."
    )
    work: Annotated[str, AfterValidator(_fixed_s3_uri)] = Field(
        description="S3 prefix under which each run keeps its own files."
    )
    input: InputSection
    output: OutputSection
    rules: tuple[Rule, ...] = Field(
        default=(), description="What a record must satisfy, tried in this order."
    )
    features: FeaturesSection | None = Field(
        default=None, description="What the model sees. Default: every column that is not optional."
    )
    model: ModelSection
    preprocess: PreprocessSection
    transform: TransformSection = TransformSection()
    predictions: PredictionsSection
    join: JoinSection = JoinSection()
    on_empty: Literal["skip", "fail"] = Field(
        default="skip", description="When there is nothing to score: end quietly without output, or fail."
    )
    tags: dict[str, str] = Field(
        default_factory=dict, max_length=40, description="Tags of every job and model, for AWS's bill."
    )

    @field_validator("schedule")
    @classmethod
    def _is_cron_like(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("@") and len(value.split()) != 5:
            raise ValueError(
                f"found {value!r}; allowed is a cron expression of five fields, or a preset such as '@daily'"
            )
        return value

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        check_rules(self.rules, {column.name: column.type for column in self.input.columns})
        self._check_columns()
        self._check_payload()
        self._check_addresses()
        return self

    def _check_columns(self) -> None:
        always = [column.name for column in self.input.columns if not column.optional]
        for name in self.feature_columns:
            if name not in always:
                raise ValueError(
                    f"features.columns: found {name!r}; allowed are the columns that are always there: "
                    f"{', '.join(always)}"
                )
        for target in self.predictions.fields.values():
            if target in self.column_names:
                raise ValueError(
                    f"predictions.fields: found the output column {target!r}, which the input already has"
                )

    def _check_payload(self) -> None:
        payload = self.max_payload_mb
        if self.model.is_serial_pipeline and payload > PIPELINE_MAX_PAYLOAD_MB:
            raise ValueError(
                f"transform.max_payload_mb: found {payload}; allowed is at most "
                f"{PIPELINE_MAX_PAYLOAD_MB} with {len(self.model.containers)} containers, because requests "
                f"between containers are limited to 5 MB"
            )
        concurrency = self.transform.max_concurrent_transforms or 1
        if payload * concurrency > MAX_PAYLOAD_TIMES_CONCURRENCY:
            raise ValueError(
                f"transform: found max_payload_mb {payload} times max_concurrent_transforms {concurrency} = "
                f"{payload * concurrency}; allowed is at most {MAX_PAYLOAD_TIMES_CONCURRENCY}; "
                f"lower max_concurrent_transforms to {MAX_PAYLOAD_TIMES_CONCURRENCY // payload}"
            )

    def _check_addresses(self) -> None:
        for name, uri in (("output.uri", self.output.uri), ("work", self.work)):
            if s3uri.covers(self.input.uri, uri):
                raise ValueError(
                    f"{name}: found {uri!r} below input.uri {self.input.uri!r}, so the next run would read "
                    f"what this one wrote; choose another prefix"
                )

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of all input columns, in order."""
        return tuple(column.name for column in self.input.columns)

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Columns that the model sees, in its order."""
        if self.features is not None:
            return self.features.columns
        return tuple(column.name for column in self.input.columns if not column.optional)

    @property
    def max_payload_mb(self) -> int:
        """MaxPayloadInMB, stated or default."""
        if self.transform.max_payload_mb is not None:
            return self.transform.max_payload_mb
        return PIPELINE_MAX_PAYLOAD_MB if self.model.is_serial_pipeline else DEFAULT_MAX_PAYLOAD_MB

    @property
    def distribution(self) -> Literal["FullyReplicated", "ShardedByS3Key"]:
        """How input reaches the instances: a duplicate may lie in any object, so that rule needs them all."""
        finds_duplicates = any(isinstance(rule, DuplicatesRule) for rule in self.rules)
        return "FullyReplicated" if finds_duplicates else "ShardedByS3Key"


def load_pipeline(path: str | Path) -> Pipeline:
    """Read one pipeline file. Raises PipelineError: file, line and field, what was found, what is allowed."""
    file = Path(path)
    document = read_yaml(file)
    if not isinstance(document.value, dict):
        found = "nothing" if document.value is None else f"a {type(document.value).__name__}"
        raise PipelineError(
            str(path), (f"found {found}; allowed is a mapping of keys such as name, input and model",)
        )
    try:
        return Pipeline.model_validate(document.value)
    except ValidationError as error:
        raise PipelineError(str(path), explain(error, Pipeline, document.line_of)) from None
