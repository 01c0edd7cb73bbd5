"""A pipeline file as nouns that cannot be wrong: `load_pipeline(path)` gives a frozen `Pipeline` or a
PipelineError.

Nothing downstream checks again what is checked here, and nothing here reads anything but the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from include.scoring.addresses import among_run_files, below_input
from include.scoring.catalog import check_catalog
from include.scoring.direct import refuse_what_needs_preprocess
from include.scoring.errors import PipelineError
from include.scoring.explain import explain
from include.scoring.filters import pairing_problem
from include.scoring.gates import Gate, check_gates
from include.scoring.history import STAGES, Stage
from include.scoring.notices import NotifySection
from include.scoring.output_columns import check_output_columns, kept_columns
from include.scoring.preparation import (
    ColumnBaseline,
    FunctionSection,
    ImputeStep,
    SensitiveColumn,
    check_preparation,
)
from include.scoring.rules import DuplicatesRule, Noun, Rule, check_rules
from include.scoring.schedule import check_schedule
from include.scoring.sections import (
    MAX_PAYLOAD_TIMES_CONCURRENCY,
    PIPELINE_MAX_PAYLOAD_MB,
    ROLE_PATTERN,
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
    StageLimits,
    TransformSection,
    default_payload_mb,
)
from include.scoring.security import SecuritySection, check_volume_key
from include.scoring.tags import TagKey, TagValue
from include.scoring.yaml_file import read_yaml


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
    schedule_on: tuple[S3Uri, ...] = Field(
        default=(),
        max_length=20,
        description="Assets, in place of a schedule: a run starts when all of them were updated. What another pipeline "
        "publishes is its output.uri up to the first placeholder.",
    )
    aws_conn_id: str = Field(default="aws_default", min_length=1, description="Airflow connection to AWS.")
    region: str | None = Field(
        default=None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="AWS region. Default: the connection's."
    )
    role: str = Field(
        pattern=ROLE_PATTERN, max_length=2048, description="ARN of the role that SageMaker's jobs assume."
    )
    work: FixedS3Uri = Field(description="S3 prefix under which each run keeps its own files.")
    keep_runs_days: int | None = Field(
        default=30,
        ge=1,
        le=3650,
        description="Days after which the janitor deletes the files that a run keeps below work; null keeps them for "
        "ever. What was published and the last reported run stay.",
    )
    input: InputSection
    output: OutputSection
    rules: tuple[Rule, ...] = Field(
        default=(), description="What a record must satisfy, tried in this order."
    )
    max_rejected: int | float | None = Field(
        default=None,
        ge=0,
        description="Most records that may be rejected: a count such as 100, or a share such as 0.05.",
    )
    baseline: dict[str, ColumnBaseline] = Field(
        default_factory=dict, description="Stored statistics by column, for outliers and for filling gaps."
    )
    impute: tuple[ImputeStep, ...] = Field(
        default=(), description="How gaps are filled for the model, in this order."
    )
    function: FunctionSection | None = Field(
        default=None, description="A function of your own that makes features."
    )
    sensitive: tuple[SensitiveColumn, ...] = Field(
        default=(), description="Columns by whose values rejects and predictions are reported."
    )
    features: FeaturesSection | None = Field(
        default=None, description="What the model sees. Default: every column that is not optional."
    )
    model: ModelSection
    preprocess: PreprocessSection | None = Field(
        default=None,
        description="The job that checks the records and cuts them into equal shards. Without it the model is given "
        "the input as it is.",
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
        default=(), description="What the predictions must be like before they are published."
    )
    skip_unchanged: bool = Field(
        default=False,
        description="Whether a run ends without a job when its output holds what this input, model and pipeline give.",
    )
    on_empty: Literal["skip", "fail"] = Field(
        default="skip", description="When there is nothing to score: end quietly without output, or fail."
    )
    prices: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="Dollars per hour that you pay for an instance type, in place of the table's, which are "
        "us-east-1's in whatever region the jobs run.",
    )
    notify: NotifySection = NotifySection()
    quotas: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict,
        description="Instances that the account may use, by AWS's names of its quotas, where the run may not ask AWS.",
    )
    tags: dict[TagKey, TagValue] = Field(
        default_factory=dict, max_length=40, description="Tags of every job and model, for AWS's bill."
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
    def _one_thing_starts_runs(self) -> Self:
        if self.schedule is not None and self.schedule_on:
            raise ValueError("schedule_on: found beside schedule; allowed is one of the two")
        return self

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        check_rules(self.rules, {column.name: column.type for column in self.input.columns})
        check_preparation(
            columns={column.name: column.type for column in self.input.columns},
            baseline=self.baseline,
            rules=self.rules,
            impute=self.impute,
            sensitive=self.sensitive,
        )
        if self.preprocess is None:
            refuse_what_needs_preprocess(self)
        elif self.transform.input_filter is not None:
            raise ValueError(
                "transform.input_filter: found with preprocess; it chooses the model's columns by name under "
                "features.columns, so write them there"
            )
        self._check_columns()
        self._check_canary()
        if self.predictions.selected is not None:
            self.predictions.selected.check(self.predictions.column_types)
        check_gates(
            self.gates,
            predictions=self.predictions.column_types,
            sensitive=tuple(group.column for group in self.sensitive),
        )
        self._check_filter()
        self._check_payload()
        self._check_addresses()
        check_volume_key(self.security, self._instance_types())
        return self

    def _check_columns(self) -> None:
        always = [column.name for column in self.input.columns if not column.optional]
        for name in self.feature_columns:
            if name in self.kept_from_model:
                raise ValueError(
                    f"features.columns: found {name!r}, which sensitive keeps from the model (in_features: false)"
                )
            made_by_function = self.function is not None and name not in self.column_names
            if name not in always and not made_by_function:
                raise ValueError(
                    f"features.columns: found {name!r}; allowed are the columns that are always there: "
                    f"{', '.join(always)}"
                )
        for column in self.predictions.echo.values():
            if column not in self.column_names:
                raise ValueError(
                    f"predictions.echo: found {column!r}; allowed are the input's columns: "
                    f"{', '.join(self.column_names)}"
                )
        for target in self.predictions.fields.values():
            if target in self.column_names:
                raise ValueError(
                    f"predictions.fields: found the output column {target!r}, which the input already has"
                )
        check_output_columns(self.column_names, self.predictions.fields.values(), self.join)
        if self.output.catalog is not None:
            check_catalog(self.output.uri, self.join.format, self.output_columns)

    def _check_canary(self) -> None:
        if self.goals.calibrate != "canary":
            return
        if self.preprocess is None:
            raise ValueError(
                "goals.calibrate: found canary without preprocess, which cuts the shards that one of would be taken; "
                "write defaults"
            )
        if self.transform.on_poison == "reject":
            raise ValueError(
                "goals.calibrate: found canary with transform.on_poison reject, whose search for refused records does "
                "not know of a shard that was set aside; write on_poison: fail, or calibrate: defaults"
            )

    def _check_filter(self) -> None:
        chosen = self.transform.input_filter
        if chosen is None or chosen == "$":
            return
        problem = pairing_problem(
            f"found {chosen}",
            content_type=self.content_type,
            accept=self.transform.accept,
            split_type="Line",
            assemble_with=self.transform.assemble_with,
        )
        if problem is not None:
            raise ValueError(f"transform.input_filter: {problem} (transform.accept, transform.assemble_with)")

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
            problem = below_input(self.input.uri, name, uri)
            if problem is not None:
                raise ValueError(problem)
        problem = among_run_files(self.work, self.name, "output.uri", self.output.uri)
        if problem is not None:
            raise ValueError(problem)

    def _instance_types(self) -> dict[str, str]:
        """Every instance type that a job may get, by the field that names it."""
        stages = {stage: limits for stage in STAGES if (limits := self.limits_of(stage)) is not None}
        return {
            **{f"{stage}.instance_type": limits.instance_type for stage, limits in stages.items()},
            **{
                f"{stage}.instance_types[{number}]": each
                for stage, limits in stages.items()
                for number, each in enumerate(limits.instance_types)
            },
        }

    def limits_of(self, stage: Stage) -> StageLimits | None:
        """The limits of a stage's job, or None where the pipeline has no such job."""
        if stage == "preprocess":
            return self.preprocess
        if stage == "transform":
            return self.transform
        return None if self.join.processing_above is None else self.join

    def stated(self) -> dict[str, Any]:
        """The content of the file, JSON-safe: what `model_validate` makes this pipeline of."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @property
    def shape(self) -> str:
        """What decides which tasks the DAG has, and what is fixed in them when it is parsed."""
        has = {
            "approval": self.goals.on_over_budget == "approve",
            "preprocess": self.preprocess is not None,
            "canary": self.goals.calibrate == "canary",
            "on_poison: reject": self.preprocess is not None and self.transform.on_poison == "reject",
            "join.processing_above": self.join.processing_above is not None,
        }
        return ", ".join(f"{'with' if there else 'without'} {part}" for part, there in has.items())

    @property
    def preprocessing(self) -> PreprocessSection:
        """`preprocess`, for callers that know that there is one. Raises LookupError."""
        if self.preprocess is None:
            raise LookupError(f"the pipeline {self.name} has no preprocess section")
        return self.preprocess

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of all input columns, in order."""
        return tuple(column.name for column in self.input.columns)

    @property
    def output_columns(self) -> dict[str, str]:
        """The columns of the published rows, in their order, and the type of each."""
        types = {column.name: column.type for column in self.input.columns}
        kept = kept_columns(self.column_names, self.join)
        return {
            **{name: types[source] for source, name in kept.items()},
            **self.predictions.column_types,
            **({} if self.join.function is None else self.join.function.adds),
        }

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Columns that the model sees, in its order."""
        if self.features is not None:
            return self.features.columns
        return tuple(
            column.name
            for column in self.input.columns
            if not column.optional and column.name not in self.kept_from_model
        )

    @property
    def kept_from_model(self) -> frozenset[str]:
        """Sensitive columns that the model may not see."""
        return frozenset(group.column for group in self.sensitive if not group.in_features)

    @property
    def content_type(self) -> Literal["application/jsonlines", "text/csv"]:
        """What the model is sent: features as CSV or, without `preprocess`, the input's own lines."""
        is_json = self.preprocess is None and self.input.format == "jsonlines"
        return "application/jsonlines" if is_json else "text/csv"

    @property
    def max_payload_mb(self) -> int:
        """MaxPayloadInMB, stated or default."""
        if self.transform.max_payload_mb is not None:
            return self.transform.max_payload_mb
        return default_payload_mb(serial=self.model.is_serial_pipeline)

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
