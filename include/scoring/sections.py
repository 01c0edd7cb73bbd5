"""The sections of a pipeline file, as nouns that cannot be wrong."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, field_validator, model_validator

from include.scoring import s3uri
from include.scoring.deadline import check_deadline
from include.scoring.errors import PlaceholderError
from include.scoring.filters import filter_problems
from include.scoring.gates import SelectedSection
from include.scoring.placeholders import check_placeholders
from include.scoring.preparation import FunctionSection
from include.scoring.rules import Noun

INSTANCE_TYPE_PATTERN = r"^ml\.[a-z0-9-]+\.((\d*x)?large|medium|metal)$"
ROLE_PATTERN = r"^arn:aws[a-z-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+$"

# Between the containers of a serial pipeline a request is limited to 5 MB (inference pipeline
# troubleshooting guide; batch jobs were seen to fail with "Request Entity Too Large"). Payload times
# concurrency may not exceed 100 (API).
PIPELINE_MAX_PAYLOAD_MB = 5
DEFAULT_MAX_PAYLOAD_MB = 6
MAX_PAYLOAD_TIMES_CONCURRENCY = 100
MAX_INSTANCES = 100


def default_payload_mb(*, serial: bool) -> int:
    """MaxPayloadInMB where nobody states it; `serial` says that the model has several containers."""
    return PIPELINE_MAX_PAYLOAD_MB if serial else DEFAULT_MAX_PAYLOAD_MB


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


#: What a column that is not the input's may hold; json keeps a nested value as text.
ColumnType: TypeAlias = Literal["string", "float", "integer", "json"]
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
        description="csv: what makes a quote within quotes a plain character, besides another quote: one ASCII "
        "character, such as '\\' in what Spark writes by default. Outside of quotes it is a plain character. Records "
        "are published with doubled quotes.",
    )
    encoding: Encoding = Field(
        default="utf-8",
        description="Encoding of the text, with or without a byte order mark; what is published is utf-8.",
    )
    compression: Literal["none", "gzip", "zstd", "auto"] = Field(
        default="none",
        description="How the objects are compressed; auto looks at the first bytes of each. zstd needs pyarrow in the "
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


class ModelSection(Noun):
    """The model: an existing one by name, or what one is made from for the run: a package, or containers."""

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
    version: int | None = Field(
        default=None, ge=1, le=999_999_999, description="With group: this version; it must be approved."
    )
    alias: str | None = Field(
        default=None,
        pattern=r"^[^,\s]+$",
        max_length=128,
        description="With group: the latest approved version whose customer metadata property 'alias' names it.",
    )
    containers: tuple[Container, ...] = Field(
        default=(),
        max_length=15,
        description="Containers in the order in which a record passes through them.",
    )

    @model_validator(mode="after")
    def _names_one_model(self) -> Self:
        ways = ("name", "package", "group", "containers")
        found = [way for way in ways if getattr(self, way)]
        if len(found) != 1:
            raise ValueError(
                f"found {' and '.join(found) if found else 'none of them'}; allowed is one of {', '.join(ways)}"
            )
        picks = [name for name in ("version", "alias") if getattr(self, name) is not None]
        if picks and self.group is None:
            raise ValueError(f"found {picks[0]} with {found[0]}; it picks a version of a group")
        if len(picks) > 1:
            raise ValueError("found version and alias; allowed is one of them")
        return self

    @property
    def is_serial_pipeline(self) -> bool:
        """Whether a record passes through more than one container."""
        return len(self.containers) > 1


class StageLimits(Noun):
    """How large the cluster of a stage may get. What is left out is decided by the plan of each run."""

    instance_type: InstanceType = Field(default="ml.m5.xlarge", description="Instance type of the stage.")
    instance_types: tuple[InstanceType, ...] = Field(
        default=(),
        max_length=5,
        description="Other acceptable types; the plan takes what suits the goals best, and the rest stand in for it "
        "when AWS has none of it.",
    )
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
    wheels: FixedS3Uri | None = Field(
        default=None,
        description="S3 prefix of wheels, such as pyarrow's, that the image lacks; installed without an index.",
    )


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
        default="application/jsonlines",
        max_length=256,
        pattern="^[ -~]*$",  # it is sent as a header of HTTP
        description="What the model shall answer.",
    )
    assemble_with: Literal["Line", "None"] = Field(
        default="Line", description="Line puts a line break between the answers of a shard, None glues them."
    )
    on_poison: Literal["reject", "fail"] = Field(
        default="reject",
        description="When the model refuses records: find them by at most three further, smaller jobs, reject them "
        "and score the rest, within max_rejected and goals.budget; or fail.",
    )
    input_filter: str | None = Field(
        default=None,
        description="SageMaker's InputFilter, only without preprocess: the part of a record that the model sees, such "
        "as $[1:] for all columns but the first.",
    )
    max_jobs: int = Field(
        default=20,
        ge=1,
        le=MAX_INSTANCES,
        description="Only without preprocess: most jobs of one instance, each with a list of objects of its own, that "
        "may take the place of one job; 1 leaves the assignment to SageMaker.",
    )

    @field_validator("input_filter")
    @classmethod
    def _is_a_filter(cls, value: str | None) -> str | None:
        problem = next(filter_problems(value), None) if value is not None else None
        if problem is not None:
            raise ValueError(problem)
        return value


class GoalsSection(Noun):
    """What a run asks of its clusters. The smallest that meet all of it are taken."""

    deadline: int | str | None = Field(
        default=None,
        description="When the run shall be done: minutes from its start, or a time of day in UTC, such as '06:00'.",
    )
    budget: float | None = Field(
        default=None,
        gt=0,
        description="Most dollars that the jobs of one run may cost by the plan's estimate.",
    )
    on_over_budget: Literal["fail", "approve"] = Field(
        default="fail",
        description="When the estimate is above the budget: fail, or wait for a person's approval.",
    )
    approve_within_minutes: int = Field(
        default=12 * 60,
        ge=1,
        le=7 * 24 * 60,
        description="How long an approval is waited for; never so long that the deadline could not be kept.",
    )
    wait_for_room_minutes: int = Field(
        default=60,
        ge=0,
        le=7 * 24 * 60,
        description="How long a job is tried again while AWS has no instances free, or a quota is in use; without a "
        "worker slot, with growing pauses.",
    )
    calibrate: Literal["defaults", "canary"] = Field(
        default="defaults",
        description="Before any run of the model was measured: size from stated defaults, or from one shard that is "
        "transformed first, alone.",
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


class PoolSection(Noun):
    """A pool of Airflow's that limits how many jobs run at once, over all pipelines that name it."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_.-]{1,250}$", description="Name of the pool; it must count deferred tasks."
    )
    conn_id: str | None = Field(
        default="airflow_api",
        min_length=1,
        description="Airflow connection of type http to this Airflow itself, by which plan looks at the pool; null: "
        "nobody looks.",
    )


class PredictionsSection(Noun):
    """How to read the model's answers."""

    format: Literal["jsonlines", "csv", "json", "auto"] = Field(
        default="jsonlines",
        description="Format of the answers; auto finds it on the first shard and says so.",
    )
    fields: dict[str, str] = Field(
        min_length=1,
        description="Output column for each field of an answer. A field is a member's name or path; for csv it is a "
        "position from 0, or from the end as -1.",
    )
    types: dict[str, ColumnType] = Field(
        default_factory=dict, description="Type of an output column, where it is no float."
    )

    nullable: tuple[str, ...] = Field(
        default=(),
        description="Output columns of numbers that may be missing: null or NaN is published as null, and counted. By "
        "default it fails the run.",
    )

    echo: dict[str, str] = Field(
        default_factory=dict,
        description="Fields of an answer that repeat an input column, such as an id, and must equal it.",
    )

    selected: SelectedSection | None = Field(
        default=None, description="Which rows count as selected, in the figures by group of `sensitive`."
    )

    @model_validator(mode="after")
    def _fields_fit_the_format(self) -> Self:
        if self.format == "csv":
            wrong = [name for name in self.fields if not re.fullmatch(r"-?\d+", name)]
            if wrong:
                raise ValueError(
                    f"found the field {wrong[0]!r}; csv answers have no names, so a field is a position "
                    f"such as '0'"
                )
        targets = list(self.fields.values())
        if len(set(targets)) < len(targets):
            raise ValueError(f"found the same output column twice in fields: {targets}; names must differ")
        strange = [name for name in self.types if name not in targets]
        if strange:
            raise ValueError(
                f"found a type for {strange[0]!r}; allowed are the output columns of fields: {', '.join(targets)}"
            )
        numbers = [name for name, kind in self.column_types.items() if kind in ("float", "integer")]
        strange = [name for name in self.nullable if name not in numbers]
        if strange:
            raise ValueError(
                f"found {strange[0]!r} in nullable; allowed are the output columns of numbers: "
                f"{', '.join(numbers) or 'none'}"
            )
        return self

    @property
    def column_types(self) -> dict[str, str]:
        """The columns of the answers and the type of each."""
        return {name: self.types.get(name, "float") for name in self.fields.values()}


class JoinFunctionSection(FunctionSection):
    """The user's own function over joined rows: a pandas DataFrame in, one with the same rows out, block by block."""

    adds: dict[str, ColumnType] = Field(
        default_factory=dict, description="Columns that the function makes, and the type of each."
    )


class JoinSection(StageLimits):
    """How records and predictions are put side by side and published.

    The limits are those of the processing job that joins large runs.
    """

    processing_above: int | None = Field(
        default=None,
        ge=0,
        description="Bytes of records above which the join runs as a processing job, in the image of preprocess. "
        "Default: Airflow's workers join, however many bytes there are.",
    )
    format: Literal["parquet", "csv", "jsonl"] = Field(
        default="parquet", description="Format of the published files."
    )
    group_mb: int = Field(
        default=256, ge=1, le=10_000, description="About how many MB of records one task joins into one file."
    )
    include_columns: tuple[str, ...] | None = Field(
        default=None, description="The input's columns to publish, in this order. Default: all, in theirs."
    )
    exclude_columns: tuple[str, ...] = Field(default=(), description="Columns of the input not to publish.")
    rename: dict[str, str] = Field(
        default_factory=dict, description="What the output calls a column of the input."
    )
    function: JoinFunctionSection | None = Field(
        default=None, description="A function of your own over the joined rows, before they are written."
    )

    @model_validator(mode="after")
    def _columns_differ(self) -> Self:
        names = self.include_columns or ()
        if self.include_columns == () or len(set(names)) < len(names):
            raise ValueError(f"found include_columns {list(names)}; allowed are one or more, each once")
        both = sorted(set(names) & set(self.exclude_columns))
        if both:
            raise ValueError(f"found {both[0]!r} in include_columns and in exclude_columns")
        return self


class CatalogSection(Noun):
    """A table of the Glue data catalog whose partitions the runs are."""

    database: str = Field(
        pattern=r"^[a-z0-9_]{1,255}$", description="Database of the catalog; it must exist."
    )
    table: str = Field(
        pattern=r"^[a-z0-9_]{1,255}$", description="Table in it; the first run makes it where it is missing."
    )


class OutputSection(Noun):
    """Where the joined rows are published."""

    uri: TemplatedS3Uri = Field(description="S3 prefix of the output. May hold {date}, {hour} and {run_id}.")
    grace_minutes: int = Field(
        default=15,
        ge=0,
        le=7 * 24 * 60,
        description="How long the part files of the run before stay after they were replaced, for readers that took "
        "their names from the manifest of before.",
    )
    catalog: CatalogSection | None = Field(
        default=None, description="Glue table in which each run is registered as a partition. Default: none."
    )
