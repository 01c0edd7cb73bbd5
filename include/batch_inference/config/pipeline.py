"""Loads a pipeline file: `load_pipeline(path)` returns a validated, frozen `Pipeline` or raises PipelineError.

All rules over the file are checked here and nowhere else; nothing is read but the file and the `_defaults.yaml` that it
inherits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictFloat, StrictInt, field_validator, model_validator

from batch_inference.common.errors import PipelineError
from batch_inference.common.names import build_runs_prefix
from batch_inference.common.s3_uri import find_overlap_problems
from batch_inference.config.images import build_image_uri
from batch_inference.config.inheritance import read_merged_document
from batch_inference.config.schedule import check_schedule
from batch_inference.config.sections.feature_preparation import (
    ColumnBaseline,
    FunctionSection,
    ImputeStep,
    SensitiveColumn,
    check_cleaning,
)
from batch_inference.config.sections.filters import find_data_processing_problem
from batch_inference.config.sections.gates import Gate, check_gates
from batch_inference.config.sections.glue_table import check_glue_table
from batch_inference.config.sections.notifications import NotifySection
from batch_inference.config.sections.record_rules import (
    DuplicatesRule,
    FrozenModel,
    Rule,
    check_input_column,
    check_rules,
)
from batch_inference.config.sections.security import SecuritySection, check_volume_key
from batch_inference.config.sections.stages import (
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_SECONDS,
    INFERENCE_PIPELINE_MAX_PAYLOAD_MB,
    MAX_PAYLOAD_MB_IN_FLIGHT,
    ROLE_PATTERN,
    STAGES,
    FeaturesSection,
    FixedS3Uri,
    GoalsSection,
    InputSection,
    JoinSection,
    ModelSection,
    OutputSection,
    PoolSection,
    PredictionsSection,
    PreprocessSection,
    S3Uri,
    Stage,
    StageLimits,
    TransformSection,
    check_output_columns,
    get_default_max_payload_mb,
    select_output_columns,
)
from batch_inference.config.sections.tags import TagKey, TagValue
from batch_inference.config.user_functions import resolve_function_modules
from batch_inference.config.validation_errors import FieldError, check_name, format_problem
from batch_inference.config.yaml_loader import validate_document

#: Airflow's actions on a DAG and its runs.
DagAction = Literal["can_read", "can_edit", "can_create", "can_delete", "menu_access"]
#: Airflow's limit of the id of a DAG.
MAX_ID_LENGTH = 250


class Pipeline(FrozenModel):
    """A pipeline: one model that scores data on a schedule."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}(\.[a-z0-9][a-z0-9_-]{0,62})*$",
        max_length=MAX_ID_LENGTH,
        description="Name of the pipeline, which is that of its file: a-z, 0-9, _ and -. The DAG's id begins with the "
        "folders, as in risk.churn.",
    )
    description: str = Field(default="", max_length=2000, description="One or two sentences for people.")
    schedule: str | None = Field(
        default=None, description="Cron expression in UTC, or a preset such as @daily."
    )
    schedule_on: tuple[S3Uri, ...] = Field(
        default=(),
        max_length=20,
        description="Assets, in place of a schedule: a run starts when all of them were updated. What another pipeline "
        "publishes is its output.uri up to the first placeholder, and {date} and {hour} are those of its run.",
    )
    aws_conn_id: str = Field(default="aws_default", min_length=1, description="Airflow connection to AWS.")
    region: str | None = Field(
        default=None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="AWS region. Default: the connection's."
    )
    role: str = Field(
        pattern=ROLE_PATTERN, max_length=2048, description="ARN of the role that SageMaker's jobs assume."
    )
    work: FixedS3Uri = Field(description="S3 prefix under which each run keeps its own files.")
    keep_runs_days: StrictInt | None = Field(
        default=30,
        ge=1,
        le=3650,
        description="Days after which the janitor deletes the files of a run below work; null keeps them. Published "
        "files and the last reported run are never deleted.",
    )
    input: InputSection
    output: OutputSection
    rules: tuple[Rule, ...] = Field(
        default=(), description="Rules that a record must pass, applied in this order."
    )
    max_rejected: StrictInt | StrictFloat | None = Field(
        default=None,
        ge=0,
        description="Maximum number of rejects: a count such as 100, or a share of the records such as 0.05.",
    )
    baseline: dict[str, ColumnBaseline] = Field(
        default_factory=dict, description="Stored statistics by column, for outlier rules and imputation."
    )
    impute: tuple[ImputeStep, ...] = Field(
        default=(), description="How empty cells are filled in the features, in this order."
    )
    function: FunctionSection | None = Field(
        default=None, description="Your own pandas function that builds features."
    )
    sensitive: tuple[SensitiveColumn, ...] = Field(
        default=(), description="Columns by whose values rejects and predictions are reported: groups."
    )
    features: FeaturesSection | None = Field(
        default=None, description="The features. Default: every column that is not optional."
    )
    model: ModelSection
    preprocess: PreprocessSection | None = Field(
        default=None,
        description="The job that validates the records and writes them as equal shards. Without it the model reads "
        "the input objects.",
    )
    transform: TransformSection = TransformSection()
    predictions: PredictionsSection
    join: JoinSection = JoinSection()
    goals: GoalsSection = GoalsSection()
    security: SecuritySection = SecuritySection()
    pool: PoolSection | None = Field(
        default=None,
        description="Airflow pool of the tasks that submit jobs and wait for them. Default: none.",
    )
    gates: tuple[Gate, ...] = Field(
        default=(), description="Checks of the predictions before they are published."
    )
    skip_unchanged: bool = Field(
        default=False,
        description="Whether a run ends without a job when its output is from the same input, model and pipeline.",
    )
    on_empty: Literal["skip", "fail"] = Field(
        default="skip", description="When the input is empty: skip the run, or fail it."
    )
    prices: dict[str, Annotated[StrictFloat, Field(ge=0)]] = Field(
        default_factory=dict,
        description="Your own prices in dollars per instance hour, by instance type. Default: AWS's price list of the "
        "region, where Airflow's role may read it, else a dated table of us-east-1's prices.",
    )
    notify: NotifySection = NotifySection()
    quotas: dict[str, Annotated[StrictInt, Field(ge=0)]] = Field(
        default_factory=dict,
        description="Quotas of the account by AWS's names, for runs that may not read Service Quotas.",
    )
    tags: dict[TagKey, TagValue] = Field(
        default_factory=dict, max_length=40, description="Tags of every job and model, for AWS's bill."
    )
    owner: str | None = Field(
        default=None, min_length=1, max_length=500, description="Owner of the DAG's tasks in Airflow's UI."
    )
    dag_tags: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        default=(),
        max_length=20,
        description="Tags of the DAG in Airflow's UI, besides that of all pipelines.",
    )
    access_control: dict[str, dict[Literal["DAGs", "DAG Runs"], tuple[DagAction, ...]]] = Field(
        default_factory=dict,
        description="Airflow's access_control, for its FAB auth manager: what each role may do with the DAG (DAGs) and "
        "with its runs (DAG Runs).",
    )

    @field_validator("schedule")
    @classmethod
    def _is_a_schedule(cls, value: str | None) -> str | None:
        if value is not None:
            check_schedule(value)
        return value

    @field_validator("max_rejected")
    @classmethod
    def _is_a_count_or_a_share(cls, value: float | None) -> float | None:
        if isinstance(value, float) and value > 1:
            raise ValueError(
                f"found {value}; allowed is a count, a whole number such as {value:.0f}, or a share of at most 1.0, "
                f"such as 0.05"
            )
        return value

    @model_validator(mode="after")
    def _check_sections_fit(self) -> Self:
        if self.schedule is not None and self.schedule_on:
            raise FieldError("schedule_on", "found together with schedule; write one of the two")
        check_rules(self.rules, self.column_types)
        check_cleaning(
            column_types=self.column_types,
            baseline=self.baseline,
            rules=self.rules,
            impute=self.impute,
            sensitive=self.sensitive,
        )
        if self.preprocess is None:
            for problem in _find_problems_without_preprocess(self):
                raise problem
        elif self.transform.input_filter is not None:
            raise FieldError(
                "transform.input_filter",
                "found with preprocess; it chooses the model's columns by name under "
                "features.columns, so write them there",
            )
        self._check_columns()
        self._check_canary()
        if self.predictions.selected is not None:
            self.predictions.selected.check_column(self.predictions.column_types)
        check_gates(
            self.gates,
            prediction_types=self.predictions.column_types,
            sensitive_columns=tuple(group.column for group in self.sensitive),
        )
        self._check_filter()
        self._check_payload()
        self._check_time_limit()
        self._check_addresses()
        if self.region is not None:
            for field, image in self.images.items():
                try:
                    build_image_uri(image, self.region)
                except ValueError as error:
                    raise FieldError(field, str(error)) from None
        check_volume_key(self.security, self._instance_types())
        return self

    def _check_columns(self) -> None:
        required_columns = [column.name for column in self.input.columns if not column.optional]
        for name in self.feature_columns:
            if name in self.columns_hidden_from_model:
                raise FieldError(
                    "features.columns",
                    f"found {name!r}, which sensitive keeps from the model (in_features: false)",
                )
            made_by_function = self.function is not None and name not in self.column_names
            if not made_by_function:
                check_name(name, required_columns, "features.columns", "the columns that are always there")
        for column in self.predictions.echo.values():
            check_input_column(self.column_names, column, "predictions.echo")
        for target in self.predictions.fields.values():
            if target in self.column_names:
                raise FieldError(
                    "predictions.fields", f"found the output column {target!r}, which the input already has"
                )
        check_output_columns(self.column_names, self.predictions.fields.values(), self.join)
        if self.output.glue_table is not None:
            check_glue_table(self.output.uri, self.join.format, self.output_columns)

    def _check_canary(self) -> None:
        if "explore_share" in self.goals.model_fields_set and self.goals.calibrate != "explore":
            raise FieldError(
                "goals.explore_share",
                f"found explore_share with calibrate: {self.goals.calibrate}, which tries nothing; write calibrate: "
                "explore, or drop it",
            )
        if self.goals.calibrate != "canary":
            return
        if self.preprocess is None:
            raise FieldError(
                "goals.calibrate",
                "found canary without preprocess; the canary is one of the shards that preprocess "
                "writes; write defaults",
            )
        if self.transform.on_bad_records == "reject":
            raise FieldError(
                "goals.calibrate",
                "found canary with transform.on_bad_records reject; the search for refused records "
                "cannot include the shard of the canary; write on_bad_records: fail, or calibrate: defaults",
            )

    def _check_filter(self) -> None:
        chosen = self.transform.input_filter
        if chosen is None or chosen == "$":
            return
        problem = find_data_processing_problem(
            f"found {chosen}",
            content_type=self.content_type,
            accept=self.transform.accept,
            split_type="Line",
            assemble_with=self.transform.assemble_with,
        )
        if problem is not None:
            raise FieldError(
                "transform.input_filter", f"{problem} (transform.accept, transform.assemble_with)"
            )

    def _check_payload(self) -> None:
        payload = self.max_payload_mb
        if self.model.is_inference_pipeline and payload > INFERENCE_PIPELINE_MAX_PAYLOAD_MB:
            raise FieldError(
                "transform.max_payload_mb",
                f"found {payload}; allowed is at most {INFERENCE_PIPELINE_MAX_PAYLOAD_MB} with "
                f"{len(self.model.containers)} containers, because requests between containers are limited to 5 MB",
            )
        concurrency = self.transform.max_concurrent_transforms or 1
        if payload * concurrency > MAX_PAYLOAD_MB_IN_FLIGHT:
            raise FieldError(
                "transform",
                f"found max_payload_mb {payload} times max_concurrent_transforms {concurrency} = "
                f"{payload * concurrency}; allowed is at most {MAX_PAYLOAD_MB_IN_FLIGHT}; "
                f"lower max_concurrent_transforms to {MAX_PAYLOAD_MB_IN_FLIGHT // payload}",
            )

    def _check_time_limit(self) -> None:
        """A job that stops before a request has had all of its tries fails for the wrong reason.

        Where only SageMaker's defaults do not fit, the plan raises the limit.
        """
        transform = self.transform
        if (transform.timeout_seconds, transform.retries) == (None, None):
            return
        if transform.max_runtime_minutes * 60 < transform.request_seconds:
            defaults = {"timeout_seconds": DEFAULT_TIMEOUT_SECONDS, "retries": DEFAULT_RETRIES}
            values = " and ".join(
                f"{name} {default} (SageMaker's default)" if value is None else f"{name} {value}"
                for name, default in defaults.items()
                for value in [getattr(transform, name)]
            )
            minutes = -(-transform.request_seconds // 60)
            raise FieldError(
                "transform.max_runtime_minutes",
                f"found {transform.max_runtime_minutes} with {values}; allowed is at least {minutes}, because one "
                f"request can take that long, all tries together; write max_runtime_minutes: {minutes}, or lower "
                "timeout_seconds or retries",
            )

    def _check_addresses(self) -> None:
        runs_prefix = build_runs_prefix(work=self.work, pipeline=self.name)
        for field, problem in find_overlap_problems(self.input.uri, self.output.uri, self.work, runs_prefix):
            raise FieldError("output.uri" if field == "output" else field, problem)

    def _instance_types(self) -> dict[str, str]:
        """Every instance type that a job may get, by the field that names it."""
        found: dict[str, str] = {}
        for stage in STAGES:
            if (limits := self.get_stage_limits(stage)) is not None:
                found[f"{stage}.instance_type"] = limits.instance_type
                for number, each in enumerate(limits.instance_types):
                    found[f"{stage}.instance_types[{number}]"] = each
        return found

    def get_stage_limits(self, stage: Stage) -> StageLimits | None:
        """The limits of a stage, or None where the pipeline has no job for it."""
        if stage == "preprocess":
            return self.preprocess
        if stage == "transform":
            return self.transform
        return None if self.join.processing_above is None else self.join

    def to_file_content(self) -> dict[str, Any]:
        """The keys that the file states, JSON-safe: the input of `model_validate` for this pipeline."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @property
    def dag_shape(self) -> str:
        """The settings that decide which tasks the DAG has; they are fixed when the DAG is parsed."""
        parts = {
            "approval": self.goals.on_over_budget == "approve",
            "preprocess": self.preprocess is not None,
            "canary": self.goals.calibrate == "canary",
            "trials": self.goals.calibrate == "explore",
            "on_bad_records: reject": self.preprocess is not None
            and self.transform.on_bad_records == "reject",
            "join.processing_above": self.join.processing_above is not None,
        }
        return ", ".join(f"{'with' if present else 'without'} {part}" for part, present in parts.items())

    @property
    def images(self) -> dict[str, str]:
        """Every image, as the file has it, by the field that names it."""
        preprocess = {} if self.preprocess is None else {"preprocess.image": self.preprocess.image}
        return preprocess | {
            f"model.containers[{number}].image": container.image
            for number, container in enumerate(self.model.containers)
        }

    @property
    def preprocess_section(self) -> PreprocessSection:
        """`preprocess`, for callers that require it. Raises LookupError where the pipeline has none."""
        if self.preprocess is None:
            raise LookupError(f"the pipeline {self.name} has no preprocess section")
        return self.preprocess

    @property
    def column_types(self) -> dict[str, str]:
        """The input columns in order, and the type of each."""
        return {column.name: column.type for column in self.input.columns}

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of all input columns, in order."""
        return tuple(self.column_types)

    @property
    def output_columns(self) -> dict[str, str]:
        """The columns of the published rows in their order, with types."""
        kept = select_output_columns(self.column_names, self.join)
        return {
            **{name: self.column_types[source] for source, name in kept.items()},
            **self.predictions.column_types,
            **({} if self.join.function is None else self.join.function.adds),
        }

    @property
    def leading_columns(self) -> tuple[str, ...]:
        """The published columns that tell a row: the key of the duplicates rule, and the predictions."""
        kept = select_output_columns(self.column_names, self.join)
        keys = (name for rule in self.rules if rule.rule == "duplicates" for name in rule.list_columns())
        return tuple(
            dict.fromkeys([*(kept[name] for name in keys if name in kept), *self.predictions.column_types])
        )

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """The columns of the features, in the model's order."""
        if self.features is not None:
            return self.features.columns
        always_there = (column.name for column in self.input.columns if not column.optional)
        return tuple(name for name in always_there if name not in self.columns_hidden_from_model)

    @property
    def columns_hidden_from_model(self) -> frozenset[str]:
        """Sensitive columns that are not features."""
        return frozenset(group.column for group in self.sensitive if not group.in_features)

    @property
    def content_type(self) -> Literal["application/jsonlines", "text/csv"]:
        """ContentType of the transform: CSV features or, without `preprocess`, the format of the input."""
        is_json = self.preprocess is None and self.input.format == "jsonlines"
        return "application/jsonlines" if is_json else "text/csv"

    @property
    def max_payload_mb(self) -> int:
        """MaxPayloadInMB of the file, or its default."""
        if self.transform.max_payload_mb is not None:
            return self.transform.max_payload_mb
        return get_default_max_payload_mb(is_inference_pipeline=self.model.is_inference_pipeline)

    @property
    def s3_data_distribution_type(self) -> Literal["FullyReplicated", "ShardedByS3Key"]:
        """S3DataDistributionType of the input of preprocess.

        A duplicates rule compares the records of all objects: instances without a network cannot exchange keys, so that
        each needs all objects.
        """
        finds_duplicates = any(isinstance(rule, DuplicatesRule) for rule in self.rules)
        return "FullyReplicated" if finds_duplicates and self.security.network_isolation else "ShardedByS3Key"


def load_pipeline(path: str | Path, *, folder: Path | None = None, matrix_key: str | None = None) -> Pipeline:
    """Read one pipeline file, with what it inherits from `folder` down, by default from its own folder.

    The pipeline's name is then its id: the folders below `folder`, the file's name, and the key of its matrix.

    Raises:
        PipelineError: file, line, field, value found and allowed values.
    """
    path = Path(path)
    root = path.parent if folder is None else folder
    document = read_merged_document(path, root, Pipeline, matrix_key)
    name = document.value.get("name")
    if name == path.stem:
        parts = [*path.relative_to(root).with_suffix("").parts, *([] if matrix_key is None else [matrix_key])]
        document.value["name"] = ".".join(parts)
    problems = dict(resolve_function_modules(document.value, path, root))
    pipeline = validate_document(path, document, Pipeline)
    if name != path.stem:
        problems[("name",)] = f"found {name!r}; allowed is {path.stem!r}, the name of the file: rename one"
    if problems:
        raise PipelineError(
            str(path), tuple(format_problem(at, text, document.find_place) for at, text in problems.items())
        )
    return pipeline


def _find_problems_without_preprocess(pipeline: Pipeline) -> Iterator[FieldError]:
    """Each problem: field, value found, reason, what to write."""
    sections = {
        "rules": (bool(pipeline.rules), "no record is checked before the model sees it"),
        "max_rejected": (pipeline.max_rejected is not None, "no record is checked, so none is rejected"),
        "baseline": (bool(pipeline.baseline), "no record is read before the model sees it"),
        "join.processing_above": (
            pipeline.join.processing_above is not None,
            "that job reads the shards of preprocess, and runs in its image",
        ),
        "impute": (bool(pipeline.impute), "empty cells are filled by preprocess"),
        "function": (pipeline.function is not None, "it runs in the preprocessing job"),
        "sensitive": (bool(pipeline.sensitive), "groups are counted by the preprocessing job"),
        "transform.on_bad_records": (
            "on_bad_records" in pipeline.transform.model_fields_set
            and pipeline.transform.on_bad_records == "reject",
            "refused records are found by splitting shards with known record counts, so such a run fails",
        ),
    }
    for name, (stated, why) in sections.items():
        if stated:
            yield FieldError(name, f"found without preprocess; {why}; add a preprocess section, or drop it")
    if pipeline.features is not None:
        yield FieldError(
            "features",
            "found without preprocess; the model reads whole records; choose columns with "
            "transform.input_filter, such as $[1:], or add a preprocess section",
        )
    source = pipeline.input
    if source.format == "parquet":
        yield FieldError(
            "input.format",
            "found parquet without preprocess; Batch Transform splits its input at line ends, and "
            "Parquet has none; add a preprocess section, which writes the records as lines",
        )
    if source.header:
        yield FieldError(
            "input.header",
            "found true without preprocess; SageMaker would send the line of column names to the model "
            "as a record; add a preprocess section, which removes it, or upload the objects without it",
        )
    if source.escape is not None:
        yield FieldError(
            "input.escape",
            f"found {source.escape!r} without preprocess; the model would read the escaped quotes, and "
            f"readers of the output expect doubled ones; add a preprocess section, which doubles them",
        )
    if source.encoding != "utf-8":
        yield FieldError(
            "input.encoding",
            f"found {source.encoding} without preprocess; the model would read these bytes; add a "
            f"preprocess section, which writes utf-8",
        )
    if source.compression not in ("none", "gzip"):
        yield FieldError(
            "input.compression",
            f"found {source.compression} without preprocess; SageMaker has one CompressionType, "
            f"None or Gzip, for all objects; write none or gzip, or add a preprocess section",
        )
    optional = [column.name for column in source.columns if column.optional]
    if optional:
        yield FieldError(
            "input.columns",
            f"found the optional column {optional[0]!r} without preprocess; the model would read "
            f"records with it and without it; drop optional, or add a preprocess section, which selects the columns",
        )
