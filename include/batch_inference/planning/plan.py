"""Plans one run: sizes each cluster from the listing of the input, with one sentence for each choice.

`make_plan` is a pure function and calls nothing of AWS. Its result is stored as plan.json, the only source of the
numbers of later tasks.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from pydantic import Field

from batch_inference.common.errors import EmptyInputError, PlanError
from batch_inference.common.formatting import format_bytes, format_count, format_dollars
from batch_inference.common.names import RunPaths
from batch_inference.config.param_limits import check_param_limits
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.config.sections.stages import STAGES, Stage
from batch_inference.planning.budget_question import compute_approval_deadline
from batch_inference.planning.clusters import sizing
from batch_inference.planning.clusters.calibration import CanaryPlan
from batch_inference.planning.clusters.cluster_choice import (
    ClusterDecision,
    PlanningContext,
    Workload,
    choose_clusters,
    format_clock_time,
)
from batch_inference.planning.clusters.estimate import Estimate, build_empty_estimate, estimate_run
from batch_inference.planning.clusters.instance_quotas import list_instance_types
from batch_inference.planning.clusters.join_sizing import JoinJobPlan, build_join_workload, plan_join_job
from batch_inference.planning.clusters.rate_history import HistoryRow
from batch_inference.planning.inputs.input_layout import LayoutDecision, LayoutPlan, choose_layout
from batch_inference.planning.inputs.input_listing import InputPlan, NaivePlan, summarize_input
from batch_inference.planning.inputs.input_listing import S3Object as S3Object
from batch_inference.planning.inputs.input_selection import InputSelection
from batch_inference.planning.model_version import ModelPlan, plan_configured_model
from batch_inference.planning.plan_log import PlanLog
from batch_inference.planning.transform_settings import (
    choose_batch_strategy,
    choose_max_concurrent_transforms,
    choose_max_payload_mb,
)
from batch_inference.pricing.costs import Prices, load_prices
from batch_inference.pricing.price_source import describe_foreign_prices

SECONDS_PER_MINUTE = 60
#: The members of plan.json that hold the pipeline and the requests to SageMaker.
PIPELINE_KEY, REQUESTS_KEY = "config", "requests"
BYTES_PER_MB = 1_000_000


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
    batch_strategy: Literal["MultiRecord", "SingleRecord"]
    max_runtime_seconds: int
    shards: int


class JoinPlan(FrozenModel):
    """Shards are joined in groups of about `group_bytes`: one mapped task and one published file each.

    `job` is the processing job that joins instead, where the pipeline has one and the input is large.
    """

    group_bytes: int
    job: JoinJobPlan | None = None


class Fingerprint(FrozenModel):
    """Digests of everything that determines the rows of a run."""

    input: str
    model: str
    pipeline: str


class Plan(FrozenModel):
    """All numbers of one run. Tasks pass them on by `to_xcom()`; plan.json also holds the pipeline.

    `code_digest` is that of the code that the run's jobs execute. `layout` says how the transform reads the input where
    there is no `preprocess`; one of `layout` and `preprocess` is None.
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
    layout: LayoutPlan | None
    transform: TransformPlan
    join: JoinPlan
    naive: NaivePlan
    prices: dict[str, float] = Field(default_factory=dict)
    region: str | None = None
    deadline: datetime | None = None
    budget: float | None = None
    approval_reason: str | None = None
    approve_by: datetime | None = None
    canary: CanaryPlan | None = None
    estimate: Estimate
    sentences: tuple[str, ...]
    chosen_by: dict[str, str]

    @property
    def paths(self) -> RunPaths:
        """S3 paths of the run."""
        return RunPaths(self.run_prefix)

    def to_xcom(self) -> dict[str, Any]:
        """The plan as a JSON-safe dict, whose size does not depend on the listing."""
        return self.model_dump(mode="json")

    def to_plan_json(self, pipeline: Pipeline, requests: Mapping[str, Any]) -> dict[str, Any]:
        """The content of plan.json: the plan, the pipeline as it was when the run was planned, and its requests."""
        return {**self.to_xcom(), PIPELINE_KEY: pipeline.to_file_content(), REQUESTS_KEY: dict(requests)}


def strip_pipeline(document: Mapping[str, Any]) -> dict[str, Any]:
    """The plan in the content of a plan.json, as `to_xcom` gave it."""
    return {key: value for key, value in document.items() if key not in {PIPELINE_KEY, REQUESTS_KEY}}


def make_plan(
    pipeline: Pipeline,
    params: RunParams,
    objects: Iterable[S3Object],
    *,
    run_id: str,
    nonce: str,
    data_time: datetime,
    input_uri: str,
    output_uri: str,
    prices: Prices | None = None,
    history: Iterable[HistoryRow] = (),
    quotas: Mapping[str, int] | None = None,
    now: datetime | None = None,
    can_request_approval: bool = False,
    model: ModelPlan | None = None,
    region: str | None = None,
    selection: InputSelection | None = None,
) -> Plan:
    """Size the clusters of one run.

    `objects` is the listing of `input_uri`, read once and not kept; both URIs have their placeholders filled. `history`
    holds rows of earlier runs of this pipeline, `quotas` the account's quotas by AWS's names, `now` the time from which
    a deadline counts (default: `data_time`). With `can_request_approval` a run above its budget gives a plan with an
    `approval_reason`, and the caller has to ask a person; without it such a run fails. `model` is the resolved model of
    the run (default: what the pipeline file says). `region` is that of the jobs, if known. `selection` selects the
    objects, and counts those that it excludes.

    Raises EmptyInputError when there is nothing to score and `on_empty` is `fail`, ParamsError when a run param is
    outside the limits, PlanError when no cluster meets the goals.
    """
    check_param_limits(pipeline, params)
    sizes = array("q")
    input_plan, naive = summarize_input(
        input_uri,
        _tee_sizes(sizes, objects) if pipeline.preprocess is None else objects,
        pipeline.input.compression,
        pipeline.transform.max_instances,
    )
    if selection is not None:
        input_plan = input_plan.model_copy(update={"excluded": selection.excluded})
    model = model or plan_configured_model(pipeline)
    price_table = (prices or load_prices()).override_prices(pipeline.prices)
    plan_log = PlanLog()
    decision: ClusterDecision | None = None
    layout_decision: LayoutDecision | None = None
    if input_plan.objects == 0:
        nothing_there = (
            f"{input_uri} holds no object with content{input_plan.excluded.describe_for_empty_input()}"
        )
        if pipeline.on_empty == "fail":
            raise EmptyInputError(
                f"the input is empty: {nothing_there}, and on_empty is 'fail'; upload the data, correct the URI, or "
                f"set on_empty: skip"
            )
        plan_log.add(f"Nothing to score: {nothing_there}, and on_empty is 'skip'.")
    else:
        context = PlanningContext(
            prices=price_table,
            history=tuple(history),
            quotas=quotas or {},
            model_key=model.key,
            now=(now or data_time).astimezone(UTC),
            can_request_approval=can_request_approval,
        )
        if pipeline.preprocess is None:
            layout_decision = choose_layout(pipeline, params, input_plan, sizes, context)
            decision = layout_decision.decision
        else:
            decision = choose_clusters(
                pipeline, params, _build_workloads(pipeline, params, input_plan), context
            )
        _log_input_and_goals(input_plan, decision, context.now, plan_log)
        plan_log.add(model.describe())
    if pipeline.preprocess is None:
        preprocess, transform = (
            None,
            _plan_direct_transform(pipeline, params, layout_decision, plan_log, model),
        )
    else:
        preprocess, transform = _plan_preprocess_and_transform(
            pipeline, params, input_plan, decision, plan_log, model
        )
    canary, join_job, run_estimate = None, None, build_empty_estimate()
    if decision is not None:
        canary = _plan_canary(pipeline, decision, plan_log)
        join_job = plan_join_job(
            pipeline, decision, transform.shards, reason=_explain_instance_count(decision), plan_log=plan_log
        )
        run_estimate = estimate_run(decision.cluster_plan)
        plan_log.add(run_estimate.describe())
        plan_log.add(f"That rests on these rates: {run_estimate.basis}.")
        types = [stage.option.instance_type for stage in decision.cluster_plan.stages]
        if (price_note := describe_foreign_prices(price_table, types, region)) is not None:
            plan_log.add(price_note)
    return Plan(
        pipeline=pipeline.name,
        aws_conn_id=pipeline.aws_conn_id,
        run_id=run_id,
        nonce=nonce,
        data_time=data_time.astimezone(UTC),
        run_prefix=RunPaths.from_run_id(work=pipeline.work, pipeline=pipeline.name, run_id=run_id).run_prefix,
        input=input_plan,
        output_uri=output_uri,
        empty=decision is None,
        dry_run=params.dry_run,
        model=model,
        preprocess=preprocess,
        layout=None if layout_decision is None else layout_decision.layout,
        transform=transform,
        join=JoinPlan(group_bytes=pipeline.join.group_mb * BYTES_PER_MB, job=join_job),
        naive=naive,
        prices=dict(pipeline.prices),
        region=region,
        deadline=None if decision is None else decision.deadline,
        budget=None if decision is None else decision.goals.budget,
        approval_reason=None if decision is None else decision.approval_reason,
        canary=canary,
        approve_by=None
        if decision is None or decision.approval_reason is None
        else compute_approval_deadline(
            (now or data_time).astimezone(UTC),
            within_minutes=pipeline.goals.approve_within_minutes,
            deadline=decision.deadline,
            run_seconds=decision.cluster_plan.slowest_seconds,
        ),
        estimate=run_estimate,
        sentences=tuple(plan_log.sentences),
        chosen_by=dict(plan_log.chosen_by),
    )


def _plan_canary(pipeline: Pipeline, decision: ClusterDecision, plan_log: PlanLog) -> CanaryPlan | None:
    """The limits of the transform after its canary; None where no canary is needed.

    A pipeline with `calibrate: canary` has one as long as no transform of its model was measured.
    """
    workload, stage = decision.get_stage("transform")
    if pipeline.goals.calibrate != "canary" or stage.option.rate.runs:
        return None
    plan_log.add(
        f"No transform of this model was measured on {stage.option.instance_type} yet, so one shard is transformed "
        f"first, on one instance, and the rest is sized from that."
    )
    max_instances = {option.instance_type: workload.get_instance_limit(option) for option in workload.options}
    return CanaryPlan(
        max_instances={kind: max_instances[kind] for kind in decision.list_acceptable_types("transform")},
        requested_instance_count=workload.requested_instance_count,
        prefer=decision.goals.prefer,
    )


def _build_workloads(pipeline: Pipeline, params: RunParams, input_plan: InputPlan) -> dict[Stage, Workload]:
    is_count_requested = params.transform_instance_count is not None
    join_workload = build_join_workload(pipeline, params, input_plan.text_bytes)
    return {
        # One instance reads an object; the shards that preprocessing writes are as small as needed.
        "preprocess": Workload(
            bytes=input_plan.text_bytes,
            max_parallelism=input_plan.objects,
            largest_object_bytes=input_plan.largest_text_bytes,
            sum_squared_bytes=input_plan.sum_squared_bytes,
        ),
        "transform": Workload(
            bytes=input_plan.text_bytes,
            max_parallelism=sizing.compute_max_shards(
                input_plan.text_bytes, is_count_requested=is_count_requested
            ),
            has_equal_shards=True,
        ),
        **({} if join_workload is None else {"join": join_workload}),
    }


def _log_input_and_goals(
    input_plan: InputPlan, decision: ClusterDecision, now: datetime, plan_log: PlanLog
) -> None:
    plan_log.add(
        f"Input is {format_count(input_plan.objects, 'object')} of {format_bytes(input_plan.bytes)} in all, "
        f"the largest {format_bytes(input_plan.largest_bytes)}."
    )
    for sentence in input_plan.excluded.describe():
        plan_log.add(sentence)
    if input_plan.compressed_objects:
        plan_log.add(
            f"{format_count(input_plan.compressed_objects, 'compressed object')} cannot be divided, so one instance "
            f"reads each; the text is taken to be {sizing.ASSUMED_COMPRESSION_RATIO} times as large."
        )
    for workload, stage in zip(decision.workloads, decision.cluster_plan.stages, strict=True):
        quota = stage.option.quota
        if quota is not None and quota < workload.max_instances:
            plan_log.add(
                f"The account's quota lets {workload.name} have {quota} × {stage.option.instance_type}, fewer than the "
                f"{workload.max_instances} that the pipeline allows."
            )
    if decision.deadline is not None:
        plan_log.add(f"The deadline is {format_clock_time(decision.deadline, now)}.")
    if decision.approval_reason is not None:
        plan_log.add(f"A person must approve this run: {decision.approval_reason}.")
    elif decision.goals.budget is not None:
        plan_log.add(f"The budget is {format_dollars(decision.goals.budget)}.")


def _plan_preprocess_and_transform(
    pipeline: Pipeline,
    params: RunParams,
    input_plan: InputPlan,
    decision: ClusterDecision | None,
    plan_log: PlanLog,
    model: ModelPlan,
) -> tuple[PreprocessPlan, TransformPlan]:
    preprocess_instances, transform_instances = (
        StageInstances.for_empty_run(pipeline, params, stage) for stage in STAGES[:2]
    )
    shards = sizing.compute_shard_sizes(0, 1)
    if decision is not None:
        preprocess_instances, transform_instances = (
            StageInstances.from_decision(decision, stage) for stage in STAGES[:2]
        )
        shards = _size_shards(params, input_plan, decision)
        reason = _explain_instance_count(decision)
        plan_log.record_cluster(
            *decision.get_stage("preprocess"),
            unit="input object",
            is_type_requested=params.preprocess_instance_type is not None,
            reason=reason,
        )
        plan_log.record("preprocess.shard_bytes", "plan", _describe_shards(shards))
        plan_log.record_cluster(
            *decision.get_stage("transform"),
            unit="shard",
            is_type_requested=params.transform_instance_type is not None,
            reason=reason,
        )
    log_if_planned = plan_log if decision is not None else PlanLog()
    host_bytes = _estimate_host_bytes(pipeline, input_plan, preprocess_instances.instance_count)
    preprocess = PreprocessPlan(
        instance_type=preprocess_instances.instance_types[0],
        instance_types=preprocess_instances.instance_types,
        instance_count=preprocess_instances.instance_count,
        volume_size_gb=_choose_volume_size_gb(pipeline, host_bytes, log_if_planned),
        max_runtime_seconds=pipeline.preprocess_section.max_runtime_minutes * SECONDS_PER_MINUTE,
        shard_bytes=shards.bytes,
        shards=shards.count,
        host_bytes=host_bytes,
        distribution=pipeline.s3_data_distribution_type,
    )
    return preprocess, _plan_transform(
        pipeline, params, transform_instances, shards.count, log_if_planned, model
    )


class StageInstances(NamedTuple):
    """The instances of a stage: their number, and their types in the order in which they are tried."""

    instance_types: tuple[str, ...]
    instance_count: int

    @classmethod
    def from_decision(cls, decision: ClusterDecision, stage: Stage) -> StageInstances:
        """The instances that were chosen for a stage."""
        return cls(decision.list_acceptable_types(stage), decision.get_stage(stage)[1].instance_count)

    @classmethod
    def for_empty_run(cls, pipeline: Pipeline, params: RunParams, stage: Stage) -> StageInstances:
        """No instances, for a run without input."""
        return cls(list_instance_types(pipeline, params, stage), 0)


def _size_shards(params: RunParams, input_plan: InputPlan, decision: ClusterDecision) -> sizing.ShardSizes:
    """Enough shards to even out the transform, and the join where a job does it."""
    transform = decision.get_stage("transform")[1]
    shards_per_instance = sizing.choose_shards_per_instance(
        transform.seconds - transform.option.rate.start_seconds
    )
    join_instances = sum(
        stage.instance_count
        for work, stage in zip(decision.workloads, decision.cluster_plan.stages, strict=True)
        if work.name == "join"
    )
    return sizing.compute_shard_sizes(
        input_plan.text_bytes,
        transform.instance_count,
        is_count_requested=params.transform_instance_count is not None,
        per_instance=max(
            shards_per_instance, -(-join_instances * sizing.SHARDS_PER_INSTANCE // transform.instance_count)
        ),
    )


def _plan_direct_transform(
    pipeline: Pipeline,
    params: RunParams,
    layout_decision: LayoutDecision | None,
    plan_log: PlanLog,
    model: ModelPlan,
) -> TransformPlan:
    """The transform of a run without preprocessing; `layout_decision` is None for a run without input."""
    if layout_decision is None:
        return _plan_transform(
            pipeline, params, StageInstances.for_empty_run(pipeline, params, "transform"), 0, PlanLog(), model
        )
    decision = layout_decision.decision
    plan_log.record_cluster(
        *decision.get_stage("transform"),
        unit="input object" if layout_decision.layout.mode == "unsplit" else "piece",
        is_type_requested=params.transform_instance_type is not None,
        reason=_explain_instance_count(decision),
    )
    for sentence in layout_decision.sentences:
        plan_log.add(sentence)
    return _plan_transform(
        pipeline,
        params,
        StageInstances.from_decision(decision, "transform"),
        layout_decision.layout.objects,
        plan_log,
        model,
    )


def _plan_transform(
    pipeline: Pipeline,
    params: RunParams,
    instances: StageInstances,
    shard_count: int,
    plan_log: PlanLog,
    model: ModelPlan,
) -> TransformPlan:
    payload = choose_max_payload_mb(pipeline, params, plan_log, has_several_containers=model.containers > 1)
    return TransformPlan(
        instance_type=instances.instance_types[0],
        instance_types=instances.instance_types,
        instance_count=instances.instance_count,
        max_concurrent_transforms=choose_max_concurrent_transforms(
            pipeline, params, instances.instance_types[0], payload, plan_log
        ),
        max_payload_mb=payload,
        batch_strategy=choose_batch_strategy(pipeline, params, plan_log),
        max_runtime_seconds=pipeline.transform.max_runtime_minutes * SECONDS_PER_MINUTE,
        shards=shard_count,
    )


def _tee_sizes(sizes: array[int], objects: Iterable[S3Object]) -> Iterator[S3Object]:
    """Yields the objects and appends the size of each that is not empty to `sizes`."""
    for item in objects:
        if item.size > 0:
            sizes.append(item.size)
        yield item


def _estimate_host_bytes(pipeline: Pipeline, input_plan: InputPlan, instance_count: int) -> int:
    """Bytes of text on the instance that gets most.

    All of it with FullyReplicated, else at most twice an even share.
    """
    if pipeline.s3_data_distribution_type == "FullyReplicated" or instance_count < 2:
        return input_plan.text_bytes
    return min(
        input_plan.text_bytes, max(2 * input_plan.text_bytes // instance_count, input_plan.largest_text_bytes)
    )


def _choose_volume_size_gb(pipeline: Pipeline, host_bytes: int, plan_log: PlanLog) -> int:
    configured, needed = pipeline.preprocess_section.volume_size_gb, sizing.compute_volume_size_gb(host_bytes)
    if needed <= configured:
        return configured
    if needed > sizing.MAX_VOLUME_SIZE_GB:
        raise PlanError(
            f"an instance of preprocess would need {needed:,} GB of disk for {format_bytes(host_bytes)} of input, and "
            f"SageMaker gives at most {sizing.MAX_VOLUME_SIZE_GB:,}; allow more instances, drop the duplicates "
            "rule, or split the run"
        )
    plan_log.record(
        "preprocess.volume_size_gb",
        "plan",
        f"Each preprocess instance gets {needed:,} GB of disk instead of {configured}, because it holds up to "
        f"{format_bytes(host_bytes)} of input and what it writes.",
    )
    return needed


def _explain_instance_count(decision: ClusterDecision) -> str:
    """Why the stages have this many instances, for a stage whose number no run param sets."""
    goals = decision.goals
    budget_clause = "" if goals.budget is None or decision.approval_reason else " and the budget"
    if decision.deadline is None:
        if goals.prefer == "speed":
            return f"speed is preferred and the limits{budget_clause} allow no faster"
        return "cost is preferred, there is no deadline, and more instances never cost less"
    deadline_text = f"{decision.deadline:%H:%M} UTC"
    if (
        goals.seconds_to_deadline is not None
        and decision.cluster_plan.slowest_seconds > goals.seconds_to_deadline
    ):
        return f"{deadline_text} is met only if the rates hold, and nothing within the limits is safer"
    if goals.prefer == "speed":
        return f"speed is preferred, {deadline_text} is met and the limits{budget_clause} allow no faster"
    return f"that is the cheapest that is done by {deadline_text}, also at the slow end of the rates"


def _describe_shards(shards: sizing.ShardSizes) -> str:
    return (
        f"Records are divided into about {format_count(shards.count, 'equal shard')} of "
        f"{format_bytes(shards.bytes)}, because an instance without a shard is billed all the same."
    )
