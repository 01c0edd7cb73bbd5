"""The plan of one run: the only source of the numbers of its later tasks, stored as plan.json."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from batch_inference.common.errors import HandoffError
from batch_inference.common.names import RunPaths
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.config.sections.stages import BatchStrategy
from batch_inference.planning.clusters.estimate import Estimate
from batch_inference.planning.clusters.exploration import TrialPlan
from batch_inference.planning.clusters.join_sizing import JoinJobPlan
from batch_inference.planning.clusters.type_comparison import TypeTable
from batch_inference.planning.inputs.input_layout import LayoutPlan
from batch_inference.planning.inputs.input_listing import InputPlan, NaivePlan
from batch_inference.planning.model_version import ModelPlan
from batch_inference.planning.plan_log import PlanLogEntry
from batch_inference.pricing.costs import Prices, load_prices

#: The members of plan.json that hold the pipeline and the requests to SageMaker.
PIPELINE_KEY, REQUESTS_KEY = "config", "requests"
#: Most groups to aim for, as Airflow maps a task over at most 1,024 values (core.max_map_length); rounding gives more.
MAX_JOIN_GROUPS = 500


class PreprocessPlan(FrozenModel):
    """The preprocessing job. `shards` is the expected number; rejected records may lower it.

    `host_bytes` is the most input that one instance holds on its disk. `instance_types` are tried in this order.
    """

    instance_type: str
    instance_types: tuple[str, ...]
    instance_count: int
    volume_size_gb: int
    max_runtime_seconds: int
    shard_bytes: int
    shards: int
    host_bytes: int
    distribution: Literal["FullyReplicated", "ShardedByS3Key"]


class TransformPlan(FrozenModel):
    """The batch transform job; concurrency is per instance.

    `shards` is the expected number of shards, or of input objects where there is no `preprocess`.

    `instance_types` as in PreprocessPlan.
    """

    instance_type: str
    instance_types: tuple[str, ...]
    instance_count: int
    max_concurrent_transforms: int
    max_payload_mb: int
    batch_strategy: BatchStrategy
    timeout_seconds: int
    retries: int
    max_runtime_seconds: int
    shards: int


class JoinPlan(FrozenModel):
    """Shards are joined in groups of about `group_bytes`: one mapped task and one published file each.

    `job` is the processing job that joins instead, where the pipeline has one and the input is large.
    """

    group_bytes: int
    job: JoinJobPlan | None = None

    def compute_group_bytes(self, total_bytes: int) -> int:
        """The bytes of a group of the records that are joined; larger than planned where there would be too many."""
        return max(self.group_bytes, -(-total_bytes // MAX_JOIN_GROUPS))


class CalibrationLimits(FrozenModel):
    """The limits of the transform after its canary.

    `requested_instance_count` is the number from the trigger form; `max_instances` the most instances, quota included,
    of each type that the transform may run on.
    """

    max_instances: dict[str, int]
    requested_instance_count: int | None
    prefer: Literal["cost", "speed"]


class Fingerprint(FrozenModel):
    """Digests of everything that determines the rows of a run."""

    input: str
    model: str
    pipeline: str


class Plan(FrozenModel):
    """All numbers of one run. Tasks pass them on by `to_xcom()`; plan.json also holds the pipeline.

    `code_digest` is that of the code that the run's jobs execute. `due` is when the run is late: its `deadline`,
    counted from the time at which it should have started, see `resolve_due_time`. `layout` says how the transform reads
    the input where there is no `preprocess`; one of `layout` and `preprocess` is None. `prices` are those of the
    pipeline file; `price_table` has them and those of the other types that the run may use, and None is of an earlier
    version. `type_table` compares these types in a plan without a run.
    """

    version: Literal[1] = 1
    pipeline: str
    aws_conn_id: str
    code_digest: str | None = None
    run_id: str
    nonce: str
    data_time: datetime
    run_prefix: str
    input: InputPlan
    output_uri: str
    empty: bool
    dry_run: bool
    fingerprint: Fingerprint | None = None
    unchanged_since: str | None = None
    model: ModelPlan
    preprocess: PreprocessPlan | None
    layout: LayoutPlan | None = None
    transform: TransformPlan
    join: JoinPlan
    naive: NaivePlan
    prices: dict[str, float] = Field(default_factory=dict)
    price_table: Prices | None = None
    type_table: TypeTable | None = None
    region: str | None = None
    deadline: datetime | None = None
    due: datetime | None = None
    budget: float | None = None
    approval_reason: str | None = None
    approve_by: datetime | None = None
    canary: CalibrationLimits | None = None
    trials: tuple[TrialPlan, ...] = ()
    estimate: Estimate = Estimate()
    log: tuple[PlanLogEntry, ...]

    @property
    def due_time(self) -> datetime | None:
        """When the run is late; None without a deadline, and for a run that, as it should, publishes nothing."""
        is_quiet = self.dry_run or self.empty or self.unchanged_since is not None
        return None if is_quiet else self.due or self.deadline

    @property
    def paths(self) -> RunPaths:
        """S3 paths of the run."""
        return RunPaths(self.run_prefix)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The sentences of the log, for people."""
        return tuple(entry.text for entry in self.log)

    def get_prices(self) -> Prices:
        """The prices by which this run is planned and reported, whatever AWS's price list says later."""
        return self.price_table or load_prices().override_prices(self.prices)

    def require_layout(self) -> LayoutPlan:
        """The layout of the input of a run without `preprocess`. Raises ValueError for another run."""
        if self.layout is None:
            raise ValueError("the plan is of a run with `preprocess`, which has no layout of the input")
        return self.layout

    def to_xcom(self) -> dict[str, Any]:
        """The plan as a JSON-safe dict, whose size does not depend on the listing."""
        return self.model_dump(mode="json")

    def to_plan_json(self, pipeline: Pipeline, requests: Mapping[str, Any]) -> dict[str, Any]:
        """The content of plan.json: the plan, the pipeline as it was when the run was planned, and its requests."""
        return {**self.to_xcom(), PIPELINE_KEY: pipeline.to_file_content(), REQUESTS_KEY: dict(requests)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any], origin: str) -> Self:
        """The plan in its XCom value, or in plan.json, whose other members are ignored; `origin` says which.

        Raises HandoffError when another version of this package wrote it.
        """
        try:
            return cls.model_validate({key: document[key] for key in cls.model_fields if key in document})
        except ValidationError as error:
            raise build_version_error(origin, error) from error


def build_version_error(origin: str, error: Exception) -> HandoffError:
    """The error of a plan that this version of the package cannot read."""
    return HandoffError(
        f"{origin} was written by another version of this package, which this version cannot continue "
        f"({type(error).__name__}): clear `plan` with all that follows it, or start a new run"
    )
