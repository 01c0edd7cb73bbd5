"""Defines the sections of a pipeline file: input, features, model, stages, goals, predictions, join, output."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Self, TypeAlias, get_args

from pydantic import AfterValidator, Field, StrictFloat, StrictInt, field_validator, model_validator

from batch_inference.common import s3_uri
from batch_inference.common.errors import PlaceholderError
from batch_inference.config.images import ImageName
from batch_inference.config.placeholders import check_placeholders
from batch_inference.config.schedule import check_deadline
from batch_inference.config.sections.feature_preparation import FunctionSection
from batch_inference.config.sections.filters import find_filter_problems
from batch_inference.config.sections.gates import SelectedSection
from batch_inference.config.sections.record_rules import (
    ColumnType,
    FrozenModel,
    InputColumnType,
    check_input_column,
)
from batch_inference.config.validation_errors import FieldError, check_name
from batch_inference.jobs.common.cell_types import is_typed

#: The stages that have jobs; `STAGES` in the order in which they run.
Stage = Literal["preprocess", "transform", "join"]
STAGES: tuple[Stage, ...] = get_args(Stage)

BatchStrategy = Literal["MultiRecord", "SingleRecord"]

INSTANCE_TYPE_PATTERN = r"^ml\.[a-z0-9-]+\.((\d*x)?large|medium|metal)$"
ROLE_PATTERN = r"^arn:aws[a-z-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+$"

# Between the containers of a serial pipeline a request is limited to 5 MB (inference pipeline
# troubleshooting guide; batch jobs were seen to fail with "Request Entity Too Large"). Payload times
# concurrency may not exceed 100 (API).
INFERENCE_PIPELINE_MAX_PAYLOAD_MB = 5
DEFAULT_MAX_PAYLOAD_MB = 6
MAX_PAYLOAD_MB_IN_FLIGHT = 100
# ModelClientConfig, as SageMaker fills it in.
DEFAULT_TIMEOUT_SECONDS = 600
DEFAULT_RETRIES = 3
#: Variables that SageMaker sets in the containers of a transform.
SERVICE_VARIABLES = frozenset({
    "SAGEMAKER_BATCH", "SAGEMAKER_BATCH_STRATEGY", "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", "SAGEMAKER_MAX_PAYLOAD_IN_MB",
})  # fmt: skip
MAX_INSTANCES = 100


def get_default_max_payload_mb(*, is_inference_pipeline: bool) -> int:
    """The default of MaxPayloadInMB; an inference pipeline is a model of several containers."""
    return INFERENCE_PIPELINE_MAX_PAYLOAD_MB if is_inference_pipeline else DEFAULT_MAX_PAYLOAD_MB


def _s3_uri(value: str) -> str:
    if not s3_uri.is_s3_uri(value):
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
FixedS3Uri: TypeAlias = Annotated[str, AfterValidator(_fixed_s3_uri)]
TemplatedS3Uri: TypeAlias = Annotated[str, AfterValidator(_templated_s3_uri)]
Encoding: TypeAlias = Literal[
    "utf-8", "utf-16", "utf-32", "latin-1", "iso-8859-15", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254",
    "big5", "euc_jp", "euc_kr", "gb18030", "shift_jis",
]  # fmt: skip
InstanceType: TypeAlias = Annotated[str, Field(pattern=INSTANCE_TYPE_PATTERN, examples=["ml.m5.xlarge"])]

#: As CreateModel takes them.
EnvironmentKey: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=1024)]
EnvironmentValue: TypeAlias = Annotated[str, Field(max_length=1024)]
#: As CreateTransformJob takes it.
JobEnvironmentValue: TypeAlias = Annotated[str, Field(max_length=10240)]


class Column(FrozenModel):
    """One column of the input."""

    name: str = Field(
        min_length=1, max_length=120, description="Name of the column in rules, rejects and output."
    )
    type: InputColumnType = Field(
        default="string",
        description="Type of the cells: string, float, integer, decimal(p,s) such as decimal(18,4), boolean, date, "
        "timestamp (without a zone) or timestamptz (with one). An empty cell is a missing value, not a type error.",
    )
    optional: bool = Field(
        default=False,
        description="Whether an input object may lack it; only the last columns may be optional.",
    )


class InputSection(FrozenModel):
    """Location and format of the records."""

    uri: TemplatedS3Uri = Field(description="S3 prefix of the input. May hold {date}, {hour} and {run_id}.")
    format: Literal["csv", "jsonlines", "parquet"] = Field(
        default="csv", description="Format of the objects; columns are found by name in all but csv."
    )
    header: bool = Field(default=False, description="Whether each object begins with a line of column names.")
    delimiter: str = Field(
        default=",",
        pattern=r'^[^"\r\n\x00\x80-\U0010ffff]$',
        description="What separates the cells: one ASCII character.",
    )
    escape: str | None = Field(
        default=None,
        pattern=r'^[^"\r\n\x00\x80-\U0010ffff]$',
        description="csv: escape character of a quote within quotes, in addition to a doubled quote: one ASCII "
        "character, such as Spark's default '\\'. Outside of quotes it is a plain character. Records are published "
        "with doubled quotes.",
    )
    encoding: Encoding = Field(
        default="utf-8",
        description="Encoding of the text, with or without a byte order mark; the output is utf-8.",
    )
    compression: Literal["none", "gzip", "zstd", "auto"] = Field(
        default="none",
        description="Compression of the objects; auto reads the first bytes of each. zstd needs pyarrow in the "
        "image of preprocess.",
    )
    columns: tuple[Column, ...] = Field(min_length=1, description="The columns, in order.")

    @model_validator(mode="after")
    def _options_fit_the_format(self) -> Self:
        if self.header and self.format != "csv":
            raise ValueError(
                f"found header: true with format {self.format}; only csv has a line of column names"
            )
        if self.escape is not None and self.format != "csv":
            raise ValueError(f"found escape with format {self.format}; only csv has quotes to escape")
        if self.escape == self.delimiter:
            raise ValueError(
                f"found {self.escape!r} as escape and as delimiter; allowed are characters that differ"
            )
        if self.compression != "none" and self.format == "parquet":
            raise ValueError(
                f"found compression {self.compression} with format parquet, which compresses its own pages; write none"
            )
        return self

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: tuple[Column, ...]) -> tuple[Column, ...]:
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


class FeaturesSection(FrozenModel):
    """The input of the model."""

    columns: tuple[str, ...] = Field(
        min_length=1, description="Columns in the order in which the model expects them."
    )


class ContainerDefinition(FrozenModel):
    """One container of a model that is created for the run."""

    image: ImageName = Field(
        description="Image URI in ECR, or AWS's image by name and version, in the account of the jobs' region."
    )
    model_data: S3Uri | None = Field(
        default=None, description="S3 URI of the model.tar.gz that the container loads."
    )
    environment: dict[EnvironmentKey, EnvironmentValue] = Field(
        default_factory=dict,
        max_length=100,
        description="Environment variables of the container; their names are letters, digits and _.",
    )

    @field_validator("model_data")
    @classmethod
    def _is_an_archive(cls, value: str | None) -> str | None:
        if value is not None and not value.endswith(".tar.gz"):
            raise ValueError(
                f"found {value!r}; allowed is one .tar.gz object, which SageMaker unpacks for the container"
            )
        return value


class ModelSection(FrozenModel):
    """The model: an existing one by name, or a model package or containers from which the run creates one."""

    name: str | None = Field(
        default=None,
        pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$",
        description="ModelName of a model that exists in SageMaker.",
    )
    package: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:\d{12}:model-package/[a-zA-Z0-9-]{1,63}(/\d{1,9})?$",
        description="ARN of a model package, of a group or alone.",
    )
    group: str | None = Field(
        default=None,
        pattern=r"^(arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:\d{12}:model-package-group/)?[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$",
        description="Model package group, by name or ARN; each run takes its latest approved version.",
    )
    version: StrictInt | None = Field(
        default=None, ge=1, le=999_999_999, description="With group: this version; it must be approved."
    )
    alias: str | None = Field(
        default=None,
        pattern=r"^[^,\s]+$",
        max_length=128,
        description="With group: the latest approved version whose customer metadata property 'alias' names it.",
    )
    containers: tuple[ContainerDefinition, ...] = Field(
        default=(),
        max_length=15,
        description="Containers in the order in which a record passes through them.",
    )

    @model_validator(mode="after")
    def _names_one_model(self) -> Self:
        fields = ("name", "package", "group", "containers")
        found = [way for way in fields if getattr(self, way)]
        if len(found) != 1:
            raise ValueError(
                f"found {' and '.join(found) if found else 'none of them'}; allowed is one of {', '.join(fields)}"
            )
        version_fields = [name for name in ("version", "alias") if getattr(self, name) is not None]
        if version_fields and self.group is None:
            raise ValueError(f"found {version_fields[0]} with {found[0]}; it picks a version of a group")
        if len(version_fields) > 1:
            raise ValueError("found version and alias; allowed is one of them")
        return self

    @property
    def is_inference_pipeline(self) -> bool:
        """Whether a record passes through more than one container."""
        return len(self.containers) > 1


class StageLimits(FrozenModel):
    """Limits of the cluster of a stage. The plan of each run decides within them."""

    instance_type: InstanceType = Field(default="ml.m5.xlarge", description="Instance type of the stage.")
    instance_types: tuple[InstanceType, ...] = Field(
        default=(),
        max_length=5,
        description="Further acceptable types; the plan takes the one that fits the goals best, and the others replace "
        "it when AWS has no capacity.",
    )
    max_instances: StrictInt = Field(
        default=4,
        ge=1,
        le=MAX_INSTANCES,
        description="Maximum InstanceCount of this stage, also for the trigger form.",
    )
    max_runtime_minutes: StrictInt = Field(
        default=240,
        ge=1,
        le=7 * 24 * 60,
        description="Maximum run time; then the job is stopped and the run fails.",
    )


class PreprocessSection(StageLimits):
    """The processing job that validates the records and writes them as equal shards."""

    image: ImageName = Field(
        description="Image URI in ECR, or AWS's image by name and version; it needs Python and pandas."
    )
    volume_size_gb: StrictInt = Field(default=30, ge=1, le=16384, description="Disk of each instance, in GB.")
    wheels: FixedS3Uri | None = Field(
        default=None,
        description="S3 prefix of wheels to install in the image, such as pyarrow's; no package index is used.",
    )


class TransformSection(StageLimits):
    """The batch transform job that runs the model."""

    batch_strategy: BatchStrategy = Field(
        default="MultiRecord", description="MultiRecord sends as many records per request as fit the payload."
    )
    max_payload_mb: StrictInt | None = Field(
        default=None,
        ge=1,
        le=100,
        description="MaxPayloadInMB: maximum MB in one request. Default: 6, and 5 for several containers.",
    )
    max_concurrent_transforms: StrictInt | None = Field(
        default=None, ge=1, le=100, description="Requests in flight on each instance. Default: one per vCPU."
    )
    timeout_seconds: StrictInt | None = Field(
        default=None,
        ge=1,
        le=3600,
        description="InvocationsTimeoutInSeconds: how long SageMaker waits for the answer to a request. Default: "
        "SageMaker's 600.",
    )
    retries: StrictInt | None = Field(
        default=None,
        ge=0,
        le=3,
        description="InvocationsMaxRetries: how often a request is sent again that got no answer in time, or a server "
        "error. Default: SageMaker's 3.",
    )
    environment: dict[EnvironmentKey, JobEnvironmentValue] = Field(
        default_factory=dict,
        max_length=16,
        description="Environment variables of the job, in every container of the model and over the model's own. They "
        "are in DescribeTransformJob and in the run's files, so no secrets.",
    )
    accept: str = Field(
        default="application/jsonlines",
        max_length=256,
        pattern="^[ -~]*$",  # it is sent as a header of HTTP
        description="Accept: MIME type of the predictions.",
    )
    assemble_with: Literal["Line", "None"] = Field(
        default="Line",
        description="Line puts a line break between the predictions of a shard, None concatenates them.",
    )
    on_bad_records: Literal["reject", "fail"] = Field(
        default="reject",
        description="When the model refuses records. reject: find them with at most three further, smaller jobs, "
        "reject them and score the rest, within max_rejected and goals.budget. fail: fail the run.",
    )
    input_filter: str | None = Field(
        default=None,
        description="InputFilter, only without preprocess: the part of a record that is sent to the model, such as "
        "$[1:] for all columns but the first.",
    )
    max_jobs: StrictInt = Field(
        default=20,
        ge=1,
        le=MAX_INSTANCES,
        description="Only without preprocess: maximum number of single-instance jobs, each with its own list of "
        "objects, in place of one job; 1 leaves the assignment of objects to SageMaker.",
    )

    @property
    def request_seconds(self) -> int:
        """The longest time that one request can take, all tries together; the rest is SageMaker's default."""
        retries = DEFAULT_RETRIES if self.retries is None else self.retries
        return (self.timeout_seconds or DEFAULT_TIMEOUT_SECONDS) * (1 + retries)

    @field_validator("environment")
    @classmethod
    def _leaves_variables_to_sagemaker(cls, value: dict[str, str]) -> dict[str, str]:
        for name in sorted(SERVICE_VARIABLES & value.keys()):
            raise ValueError(
                f"found {name!r}, which SageMaker sets itself; write batch_strategy, max_payload_mb and "
                "max_concurrent_transforms instead"
            )
        return value

    @field_validator("input_filter")
    @classmethod
    def _is_a_filter(cls, value: str | None) -> str | None:
        problem = next(find_filter_problems(value), None) if value is not None else None
        if problem is not None:
            raise ValueError(problem)
        return value


class GoalsSection(FrozenModel):
    """Goals of a run: deadline, budget, preference. The plan takes the smallest clusters that meet them."""

    deadline: int | str | None = Field(
        default=None,
        description="When the run must be done: minutes from its start, or a time of day in UTC, such as '06:00'.",
    )
    confidence: StrictFloat = Field(
        default=0.95,
        ge=0.5,
        le=0.999,
        description="The share of nights in which the run must be done by the deadline, as far as the spread of "
        "measured runs says: 0.95 is 95 of 100 nights.",
    )
    budget: StrictFloat | None = Field(
        default=None,
        gt=0,
        description="Maximum cost of the jobs of one run in dollars, by the plan's estimate.",
    )
    on_over_budget: Literal["fail", "approve"] = Field(
        default="fail",
        description="When the estimate is above the budget: fail, or wait for a person to approve.",
    )
    approve_within_minutes: StrictInt = Field(
        default=12 * 60,
        ge=1,
        le=7 * 24 * 60,
        description="Timeout of the approval; shortened where the deadline could not be met otherwise.",
    )
    capacity_wait_minutes: StrictInt = Field(
        default=60,
        ge=0,
        le=7 * 24 * 60,
        description="How long the creation of a job is retried while AWS has no capacity or a quota is exhausted; "
        "deferred, with growing pauses.",
    )
    calibrate: Literal["defaults", "canary", "explore"] = Field(
        default="defaults",
        description="How a model without measured runs is sized. defaults: from stated rates. canary: from one shard "
        "that is transformed first. explore: from stated rates; later runs also try other settings on some records, "
        "and use the cheapest ones measured.",
    )
    explore_share: StrictFloat = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="With calibrate: explore, what trials may cost: a share of what runs cost. What is not spent is "
        "left for later runs.",
    )
    prefer: Literal["cost", "speed"] = Field(
        default="cost",
        description="cost: the cheapest clusters that meet the deadline. speed: the fastest within the limits.",
    )

    @field_validator("deadline", mode="before")
    @classmethod
    def _is_a_deadline(cls, value: object) -> object:
        if value is not None:
            check_deadline(value)
        return value


class PoolSection(FrozenModel):
    """An Airflow pool that limits how many jobs run at once, over all pipelines that name it."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_.-]{1,250}$", description="Name of the pool; it must count deferred tasks."
    )
    conn_id: str | None = Field(
        default="airflow_api",
        min_length=1,
        description="Airflow connection of type http to this Airflow itself, with which plan reads the pool; null: the "
        "pool is not checked.",
    )


class PredictionsSection(FrozenModel):
    """How to read the predictions."""

    format: Literal["jsonlines", "csv", "json", "auto"] = Field(
        default="jsonlines",
        description="Format of the predictions; auto detects it on the first shard and logs it.",
    )
    fields: dict[str, str] = Field(
        min_length=1,
        description="Output column for each field of a prediction. A field is a member's name or path; for csv it is a "
        "position from 0, or from the end as -1.",
    )
    types: dict[str, ColumnType] = Field(
        default_factory=dict, description="Type of an output column, where it is not float."
    )

    nullable: tuple[str, ...] = Field(
        default=(),
        description="Output columns that may be missing, of any type but string and json: null or NaN is published "
        "as null, and counted. In other columns it fails the run.",
    )

    echo: dict[str, str] = Field(
        default_factory=dict,
        description="Fields of a prediction that repeat an input column, such as an id, and must equal it.",
    )

    selected: SelectedSection | None = Field(
        default=None, description="Which rows count as selected, in the figures by group of `sensitive`."
    )

    @model_validator(mode="after")
    def _fields_fit_the_format(self) -> Self:
        if self.format == "csv":
            invalid = [name for name in (*self.fields, *self.echo) if not re.fullmatch(r"-?\d+", name)]
            if invalid:
                raise ValueError(
                    f"found the field {invalid[0]!r}; csv predictions have no names, so a field is a position "
                    f"such as '0'"
                )
        targets = list(self.fields.values())
        if len(set(targets)) < len(targets):
            raise ValueError(f"found the same output column twice in fields: {targets}; names must differ")
        for name in self.types:
            check_name(name, targets, "types", "the output columns of fields")
        typed = [name for name, kind in self.column_types.items() if is_typed(kind)]
        for name in self.nullable:
            check_name(name, typed, "nullable", "the output columns of any type but string and json")
        return self

    @property
    def column_types(self) -> dict[str, str]:
        """The prediction columns and the type of each."""
        return {name: self.types.get(name, "float") for name in self.fields.values()}


class JoinFunctionSection(FunctionSection):
    """The user's own function over joined rows: a pandas DataFrame in, one with the same rows out, block by block."""

    adds: dict[str, ColumnType] = Field(
        default_factory=dict, description="Columns that the function adds, and the type of each."
    )


class JoinSection(StageLimits):
    """How records and predictions are joined and published.

    The limits are those of the processing job that joins large runs.
    """

    processing_above: StrictInt | None = Field(
        default=None,
        ge=0,
        description="Bytes of records above which the join runs as a processing job, in the image of preprocess. "
        "Default: Airflow's workers always join.",
    )
    format: Literal["parquet", "csv", "jsonlines"] = Field(
        default="parquet", description="Format of the published files."
    )
    group_mb: StrictInt = Field(
        default=256,
        ge=1,
        le=10_000,
        description="Approximate MB of records that one task joins into one file.",
    )
    include_columns: tuple[str, ...] | None = Field(
        default=None, description="The input's columns to publish, in this order. Default: all, in theirs."
    )
    exclude_columns: tuple[str, ...] = Field(default=(), description="Columns of the input not to publish.")
    rename: dict[str, str] = Field(default_factory=dict, description="Output name of a column of the input.")
    function: JoinFunctionSection | None = Field(
        default=None, description="Your own pandas function over the joined rows, before they are written."
    )

    @model_validator(mode="after")
    def _columns_differ(self) -> Self:
        names = self.include_columns or ()
        if self.include_columns == () or len(set(names)) < len(names):
            raise ValueError(
                f"found include_columns [{', '.join(names)}]; allowed are one or more, each once"
            )
        both = sorted(set(names) & set(self.exclude_columns))
        if both:
            raise ValueError(f"found {both[0]!r} in include_columns and in exclude_columns")
        return self


def select_output_columns(input_columns: Sequence[str], join: JoinSection) -> dict[str, str]:
    """Output name by input column, for the columns that are published, in the order of the output."""
    chosen = input_columns if join.include_columns is None else join.include_columns
    return {name: join.rename.get(name, name) for name in chosen if name not in join.exclude_columns}


def check_output_columns(
    input_columns: Sequence[str], prediction_columns: Iterable[str], join: JoinSection
) -> None:
    """Raise ValueError for columns that the input does not have, and for duplicate names in the output."""
    for key in ("include_columns", "exclude_columns", "rename"):
        for name in getattr(join, key) or ():
            check_input_column(input_columns, name, f"join.{key}")
    kept = select_output_columns(input_columns, join)
    for name in join.rename:
        if name not in kept:
            raise FieldError("join.rename", f"found the column {name!r}, which is not published")
    seen: set[str] = set()
    for name in [*kept.values(), *prediction_columns, *({} if join.function is None else join.function.adds)]:
        if name in seen:
            raise FieldError(
                "join",
                f"the output would have the column {name!r} twice; allowed are names that differ, "
                f"of input, predictions.fields, join.rename and join.function.adds together",
            )
        seen.add(name)

    if join.function is not None:
        for name in join.function.adds:
            if name in input_columns:
                raise FieldError(
                    "join.function.adds",
                    f"found {name!r}, a column of the input, which the function receives "
                    f"whether it is published or not; choose another name",
                )


class GlueTableSection(FrozenModel):
    """A table of the Glue Data Catalog in which each run is a partition."""

    database: str = Field(
        pattern=r"^[a-z0-9_]{1,255}$", description="Database of the catalog; it must exist."
    )
    table: str = Field(
        pattern=r"^[a-z0-9_]{1,255}$",
        description="Table in it; the first run creates it where it is missing.",
    )


class OutputSection(FrozenModel):
    """Where the joined rows are published."""

    uri: TemplatedS3Uri = Field(description="S3 prefix of the output. May hold {date}, {hour} and {run_id}.")
    grace_minutes: StrictInt = Field(
        default=15,
        ge=0,
        le=7 * 24 * 60,
        description="Grace period: how long replaced part files are kept for readers that use the previous manifest.",
    )
    glue_table: GlueTableSection | None = Field(
        default=None, description="Glue table in which each run is registered as a partition. Default: none."
    )
