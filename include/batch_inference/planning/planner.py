"""Plans one run: sizes each cluster from the listing of the input, with one sentence for each choice.

`make_plan` is a pure function and calls nothing of AWS.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from batch_inference.common.errors import EmptyInputError, PlanError
from batch_inference.common.formatting import (
    format_bytes,
    format_count,
    format_dollars,
    format_duration,
    join_words,
)
from batch_inference.common.names import RunPaths
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams, check_param_limits
from batch_inference.config.sections.stages import STAGES
from batch_inference.planning.clusters import sizing
from batch_inference.planning.clusters.cluster_choice import (
    ClusterDecision,
    NoClustersError,
    PlanningContext,
    choose_clusters,
    format_clock_time,
    format_end,
)
from batch_inference.planning.clusters.cluster_model import ClusterPlan, SizedStage, StageWorkload
from batch_inference.planning.clusters.estimate import (
    Estimate,
    estimate_run,
    format_nights,
    format_nights_at_least,
)
from batch_inference.planning.clusters.exploration import (
    MAX_TRIALS,
    SHARDS_FOR_TRIALS,
    KnownSettings,
    TrialPlan,
)
from batch_inference.planning.clusters.instance_quotas import (
    find_tightest_quota,
    list_instance_types,
    list_run_types,
)
from batch_inference.planning.clusters.join_sizing import build_join_workload, plan_join_job
from batch_inference.planning.clusters.rate_model import Rate
from batch_inference.planning.clusters.type_comparison import build_type_table
from batch_inference.planning.clusters.work_division import EqualShards, SizeProfile, WholeObjects
from batch_inference.planning.inputs.input_layout import LayoutDecision, LayoutPlan, choose_layout
from batch_inference.planning.inputs.input_listing import InputPlan, S3Object, summarize_input
from batch_inference.planning.inputs.input_selection import InputSelection
from batch_inference.planning.plan import (
    CalibrationLimits,
    JoinPlan,
    Plan,
    PreprocessPlan,
    TransformPlan,
)
from batch_inference.planning.plan_log import PlanLog
from batch_inference.planning.transform_settings import (
    choose_batch_strategy,
    choose_max_concurrent_transforms,
    choose_max_payload_mb,
    choose_time_limits,
    get_max_payload_mb,
)
from batch_inference.planning.trial_planning import (
    get_settings,
    keep_measured_types,
    plan_run_trials,
    read_settings,
)
from batch_inference.pricing.price_source import describe_foreign_prices

SECONDS_PER_MINUTE = 60
BYTES_PER_MB = 1_000_000
#: Bytes of one MB of MaxPayloadInMB.
MEBIBYTE = 1024 * 1024
#: A person has at least this long to answer, however late it is.
MIN_WAIT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A run before it is planned; its URIs have their placeholders filled. `region` is that of its jobs, if known."""

    run_id: str
    nonce: str
    data_time: datetime
    input_uri: str
    output_uri: str
    region: str | None = None


def make_plan(
    pipeline: Pipeline,
    params: RunParams,
    objects: Iterable[S3Object],
    run: RunInfo,
    context: PlanningContext,
    selection: InputSelection | None = None,
    on_decision: Callable[[ClusterDecision], object] | None = None,
) -> Plan:
    """Size the clusters of one run.

    `objects` is the listing of the run's input URI, read once and not kept. `selection` selects the objects, and counts
    those that it excludes. `on_decision` gets the decision about the clusters, or the nearest where no clusters meet
    the goals; nothing if the input is empty.

    Raises EmptyInputError when there is nothing to score and `on_empty` is `fail`, ParamsError when a run param is
    outside the limits, PlanError when no cluster meets the goals.
    """
    check_param_limits(pipeline, params)
    sizes = array("q")
    input_plan, naive, profile = summarize_input(
        run.input_uri,
        _tee_sizes(sizes, objects) if pipeline.preprocess is None else objects,
        pipeline.input.compression,
        pipeline.transform.max_instances,
    )
    if selection is not None:
        input_plan = input_plan.model_copy(update={"excluded": selection.excluded})
    context = replace(
        context, prices=context.prices.override_prices(pipeline.prices), now=context.now.astimezone(UTC)
    )
    paths = RunPaths.from_run_id(work=pipeline.work, pipeline=pipeline.name, run_id=run.run_id)
    known = read_settings(pipeline, params, context)
    # What other settings measured says nothing of those that the run will have.
    history = (
        [row for row in context.history if not row.is_trial]
        if known is None
        else known.select_rows(context.history)
    )
    context = replace(context, history=history)
    planner = _RunPlanner(pipeline, params, input_plan, context, PlanLog(), on_decision, known)
    planned = (
        planner.plan_jobs(sizes, profile, run.region) if input_plan.objects else planner.plan_empty_run()
    )
    return Plan(
        pipeline=pipeline.name,
        aws_conn_id=pipeline.aws_conn_id,
        run_id=run.run_id,
        nonce=run.nonce,
        data_time=run.data_time.astimezone(UTC),
        run_prefix=paths.root,
        input=input_plan,
        output_uri=run.output_uri,
        empty=not input_plan.objects,
        dry_run=params.dry_run,
        model=context.model,
        naive=naive,
        prices=dict(pipeline.prices),
        price_table=context.prices.select_types(list_run_types(pipeline, params)),
        region=run.region,
        log=tuple(planner.log.entries),
        **planned,
    )


def _tee_sizes(sizes: array[int], objects: Iterable[S3Object]) -> Iterator[S3Object]:
    """Yields the objects and appends the size of each that is not empty to `sizes`."""
    for item in objects:
        if item.size > 0:
            sizes.append(item.size)
        yield item


@dataclass(frozen=True, slots=True)
class _RunPlanner:
    """Plans the jobs of one run; `log` gets a sentence for each choice. `known`: see `read_settings`."""

    pipeline: Pipeline
    params: RunParams
    input: InputPlan
    context: PlanningContext
    log: PlanLog
    on_decision: Callable[[ClusterDecision], object] | None = None
    known: KnownSettings | None = None

    def plan_empty_run(self) -> dict[str, Any]:
        """The fields of the plan of a run without input, which has no instances and no shards."""
        pipeline = self.pipeline
        nothing_there = (
            f"{self.input.uri} holds no object with content{self.input.excluded.describe_for_empty_input()}"
        )
        if pipeline.on_empty == "fail":
            raise EmptyInputError(
                f"the input is empty: {nothing_there}, and on_empty is 'fail'; upload the data, correct the URI, or "
                f"set on_empty: skip"
            )
        self.log.record("empty", "pipeline", f"Nothing to score: {nothing_there}, and on_empty is 'skip'.")
        silent, no_shards = replace(self, log=PlanLog()), sizing.compute_shard_sizes(0, 1)
        types = {stage: list_instance_types(pipeline, self.params, stage) for stage in STAGES}
        return {
            "preprocess": silent._plan_preprocess(types["preprocess"], 0, no_shards)
            if pipeline.preprocess
            else None,
            "transform": silent._plan_transform(types["transform"], 0, 0),
            "join": JoinPlan(group_bytes=pipeline.join.group_mb * BYTES_PER_MB),
        }

    def plan_jobs(self, sizes: Sequence[int], profile: SizeProfile, region: str | None) -> dict[str, Any]:
        """The fields of the plan that the clusters determine; `sizes` are the objects' where there is no `preprocess`.

        `profile` is of the objects' sizes as text, `region` that of the jobs, if known.
        """
        pipeline, context = self.pipeline, self.context
        try:
            decision, layout_decision = self._decide(sizes, profile)
        except NoClustersError as error:
            if self.on_decision is not None and error.nearest is not None:
                self.on_decision(error.nearest)
            raise
        if self.on_decision is not None:
            self.on_decision(decision)
        clusters, reason = decision.cluster_plan, _explain_instance_count(decision)
        transform_stage = clusters.get_stage("transform")
        estimate = estimate_run(clusters, decision.goals.confidence)
        self._log_estimate_and_goals(estimate, decision)
        self._log_input(decision)
        self.log.add(context.model.describe())
        preprocess, layout = None, None
        if layout_decision is None:
            preprocess_stage, shards = clusters.get_stage("preprocess"), self._size_shards(clusters)
            shard_count = shards.count
            self._log_cluster(preprocess_stage, "input object", reason)
            self.log.record(
                "preprocess.shard_bytes",
                "plan",
                f"Records are divided into about {format_count(shards.count, 'equal shard')} of "
                f"{format_bytes(shards.bytes)}, because an instance without a shard is billed all the same.",
            )
            self._log_cluster(transform_stage, "shard", reason)
            types = decision.list_acceptable_types("preprocess")
            preprocess = self._plan_preprocess(types, preprocess_stage.instance_count, shards)
            self._warn_of_time_limit(preprocess_stage, preprocess.max_runtime_seconds)
        else:
            layout = layout_decision.layout
            shard_count = layout.objects
            unit = "input object" if layout.mode == "unsplit" else "piece"
            self._log_cluster(transform_stage, unit, reason)
            for sentence in layout_decision.sentences:
                self.log.add(sentence)
        types = self._list_transform_types(decision)
        transform = self._plan_transform(types, transform_stage.instance_count, shard_count)
        self._warn_of_time_limit(transform_stage, transform.max_runtime_seconds)
        object_bytes = self.input.largest_text_bytes if preprocess is None else preprocess.shard_bytes
        self._warn_of_timeouts(transform, transform_stage.option.rate, object_bytes)
        canary = self._plan_canary(decision)
        trials = self._plan_trials(decision, transform, layout)
        join_job = plan_join_job(pipeline, decision, shard_count, reason=reason, plan_log=self.log)
        self.log.add(f"The estimate rests on these rates: {estimate.basis}.")
        types = tuple(stage.option.instance_type for stage in clusters.stages)
        for price_note in (context.price_note, describe_foreign_prices(context.prices, types, region)):
            if price_note is not None:
                self.log.add(price_note)
        approve_by = compute_approval_deadline(
            context.now,
            within_minutes=pipeline.goals.approve_within_minutes,
            deadline=decision.deadline,
            run_seconds=decision.seconds_high,
        )
        return {
            "preprocess": preprocess,
            "layout": layout,
            "transform": transform,
            "join": JoinPlan(group_bytes=pipeline.join.group_mb * BYTES_PER_MB, job=join_job),
            "canary": canary,
            "trials": trials,
            "estimate": estimate,
            "type_table": build_type_table(decision, pipeline, self.params) if self.params.dry_run else None,
            "deadline": decision.deadline,
            "budget": decision.goals.budget,
            "approval_reason": decision.approval_reason,
            "approve_by": approve_by if decision.approval_reason is not None else None,
        }

    def _decide(
        self, sizes: Sequence[int], profile: SizeProfile
    ) -> tuple[ClusterDecision, LayoutDecision | None]:
        """The clusters, and without `preprocess` the layout. Raises PlanError when no cluster meets the goals."""

        def decide(pipeline: Pipeline) -> tuple[ClusterDecision, LayoutDecision | None]:
            if pipeline.preprocess is not None:
                workloads = self._build_workloads(profile)
                return choose_clusters(pipeline, self.params, workloads, self.context), None
            layout = choose_layout(pipeline, self.params, self.input, sizes, profile, self.context)
            return layout.decision, layout

        if self.known is None:
            return decide(self.pipeline)
        # With `calibrate: explore` a type is tried on some records before a whole run takes it, unless it has to.
        try:
            return decide(keep_measured_types(self.pipeline, self.known))
        except PlanError:
            return decide(self.pipeline)

    def _log_cluster(self, stage: SizedStage, unit: str, reason: str) -> None:
        is_type_requested = self.params.get_instance_type(stage.name) is not None
        self.log.record_cluster(stage, unit=unit, is_type_requested=is_type_requested, reason=reason)

    def _log_estimate_and_goals(self, estimate: Estimate, decision: ClusterDecision) -> None:
        """What the run takes and costs comes first, and whether that is what was asked for."""
        self.log.add(estimate.describe())
        self._log_end(decision)
        if decision.approval_reason is not None:
            self.log.add(f"A person must approve this run: {decision.approval_reason}.")
        elif decision.goals.budget is not None:
            self.log.add(f"The budget is {format_dollars(decision.goals.budget)}.")

    def _log_input(self, decision: ClusterDecision) -> None:
        found = self.input
        self.log.add(
            f"Input is {format_count(found.objects, 'object')} of {format_bytes(found.bytes)} in all, "
            f"the largest {format_bytes(found.largest_bytes)}."
        )
        for sentence in found.excluded.describe():
            self.log.add(sentence)
        if found.compressed_objects:
            self.log.add(
                f"{format_count(found.compressed_objects, 'compressed object')} cannot be divided, so one instance "
                f"reads each; the text is taken to be {sizing.ASSUMED_COMPRESSION_RATIO} times as large."
            )
        for stage in decision.cluster_plan.stages:
            quota = stage.option.quota
            if quota is not None and quota < stage.workload.max_instances:
                self.log.add(
                    f"The account's quota lets {stage.name} have {quota} × {stage.option.instance_type}, fewer than "
                    f"the {stage.workload.max_instances} that the pipeline allows."
                )
        for stage_name, instance_type in decision.list_types_without_price():
            self.log.add(
                f"{instance_type} was not weighed to {stage_name}, because its price is not known: state it "
                "under prices, in dollars per hour."
            )

    def _log_end(self, decision: ClusterDecision) -> None:
        """When the run should be done, and how likely that is in time."""
        now, goals, probability = self.context.now, decision.goals, decision.probability_in_time
        expected, late = (
            format_end(each, now) for each in (decision.cluster_plan.seconds, decision.seconds_high)
        )
        end = f"The run should be done by {expected} (in {format_nights(goals.confidence)} by {late})"
        if decision.deadline is None or probability is None:
            self.log.add(f"{end}.")
            return
        self.log.add(
            f"{end}; the deadline is {format_clock_time(decision.deadline, now)}, which is kept in "
            f"{format_nights_at_least(probability, goals.confidence)}."
        )

    def _build_workloads(self, profile: SizeProfile) -> list[StageWorkload]:
        """The workloads of a run with `preprocess`."""
        text_bytes, requested_count = self.input.text_bytes, self.params.transform_instance_count
        # One instance reads an object; SageMaker gives each as many. The shards that preprocessing writes are as small
        # as needed.
        preprocess = StageWorkload(name="preprocess", work=WholeObjects(profile=profile, can_be_hashed=False))
        shards = EqualShards(
            bytes=text_bytes,
            max_parallelism=sizing.compute_max_shards(
                text_bytes, is_count_requested=requested_count is not None
            ),
            max_payload_mb=self._max_payload_mb,
        )
        transform = StageWorkload(name="transform", work=shards)
        join = build_join_workload(self.pipeline, self.params, text_bytes)
        return [preprocess, transform] if join is None else [preprocess, transform, join]

    @property
    def _max_payload_mb(self) -> int:
        is_inference_pipeline = self.context.model.containers > 1
        return get_max_payload_mb(self.pipeline, self.params, is_inference_pipeline=is_inference_pipeline)

    def _size_shards(self, clusters: ClusterPlan) -> sizing.ShardSizes:
        """Enough shards to even out the transform, and the join where a job does it."""
        transform = clusters.get_stage("transform")
        rate = transform.option.rate
        wanted = sizing.choose_shards_per_instance(
            transform.working_seconds, transform.instance_count, rate.seconds_per_request
        )
        join_instances = sum(stage.instance_count for stage in clusters.stages if stage.name == "join")
        shards_for_join = -(-join_instances * sizing.SHARDS_PER_INSTANCE // transform.instance_count)
        shards_for_trials = 0
        if self.pipeline.goals.calibrate == "explore":
            # A trial takes whole shards, and few records; shards below the payload would make requests smaller.
            payloads = self.input.text_bytes // (self._max_payload_mb * MEBIBYTE)
            shards_for_trials = -(-min(SHARDS_FOR_TRIALS, payloads) // transform.instance_count)
        return sizing.compute_shard_sizes(
            self.input.text_bytes,
            transform.instance_count,
            is_count_requested=self.params.transform_instance_count is not None,
            per_instance=max(wanted, shards_for_join, shards_for_trials),
            payload_bytes=sizing.choose_payload_bytes(
                self._max_payload_mb, rate.seconds_per_byte, rate.seconds_per_request
            ),
        )

    def _plan_preprocess(
        self, instance_types: tuple[str, ...], instance_count: int, shards: sizing.ShardSizes
    ) -> PreprocessPlan:
        host_bytes = self._estimate_host_bytes(instance_count)
        return PreprocessPlan(
            instance_type=instance_types[0],
            instance_types=instance_types,
            instance_count=instance_count,
            volume_size_gb=self._choose_volume_size_gb(host_bytes),
            max_runtime_seconds=self.pipeline.preprocess_section.max_runtime_minutes * SECONDS_PER_MINUTE,
            shard_bytes=shards.bytes,
            shards=shards.count,
            host_bytes=host_bytes,
            distribution=self.pipeline.s3_data_distribution_type,
        )

    def _estimate_host_bytes(self, instance_count: int) -> int:
        """Bytes of text on the instance that gets most: all with FullyReplicated, else at most twice an even share."""
        total = self.input.text_bytes
        if self.pipeline.s3_data_distribution_type == "FullyReplicated" or instance_count < 2:
            return total
        return min(total, max(2 * total // instance_count, self.input.largest_text_bytes))

    def _choose_volume_size_gb(self, host_bytes: int) -> int:
        configured = self.pipeline.preprocess_section.volume_size_gb
        needed = sizing.compute_preprocess_volume_size_gb(host_bytes)
        if needed <= configured:
            return configured
        if needed > sizing.MAX_VOLUME_SIZE_GB:
            raise PlanError(
                f"an instance of preprocess would need {needed:,} GB of disk for {format_bytes(host_bytes)} of input, "
                f"and SageMaker gives at most {sizing.MAX_VOLUME_SIZE_GB:,}; allow more instances, or split the run. "
                "With security.network_isolation and a duplicates rule, each instance has all of the input"
            )
        self.log.record(
            "preprocess.volume_size_gb",
            "plan",
            f"Each preprocess instance gets {needed:,} GB of disk instead of {configured}, because it holds up to "
            f"{format_bytes(host_bytes)} of input and what it writes.",
        )
        return needed

    def _plan_transform(
        self, instance_types: tuple[str, ...], instance_count: int, shard_count: int
    ) -> TransformPlan:
        where = self.pipeline, self.params, self.log
        measured = None if self.known is None else self.known.choose(instance_types[0])
        payload = choose_max_payload_mb(
            *where, is_inference_pipeline=self.context.model.containers > 1, measured=measured
        )
        return TransformPlan(
            instance_type=instance_types[0],
            instance_types=instance_types,
            instance_count=instance_count,
            max_concurrent_transforms=choose_max_concurrent_transforms(
                *where, instance_types[0], payload, measured=measured
            ),
            max_payload_mb=payload,
            batch_strategy=choose_batch_strategy(*where),
            **choose_time_limits(self.pipeline, self.log),
            shards=shard_count,
        )

    def _warn_of_time_limit(self, stage: SizedStage, max_runtime_seconds: int) -> None:
        """Add a sentence where the job of a stage is expected to be stopped before it is done."""
        if stage.seconds > max_runtime_seconds:
            self.log.add(
                f"{stage.name.capitalize()} is expected to run for {format_duration(stage.seconds)}, and is stopped "
                f"after {format_duration(max_runtime_seconds)}: raise {stage.name}.max_runtime_minutes, or allow more "
                "instances."
            )

    def _warn_of_timeouts(self, transform: TransformPlan, rate: Rate, object_bytes: float) -> None:
        """Add a sentence where a full request to one instance, at its `rate`, takes longer than SageMaker waits for it.

        `object_bytes` are those of the largest object, which limits a request as the payload does. A request of one
        record is not estimated: the size of a record is not known.
        """
        if transform.batch_strategy == "SingleRecord":
            return
        request_bytes = min(transform.max_payload_mb * MEBIBYTE, object_bytes)
        concurrency = transform.max_concurrent_transforms
        seconds = concurrency * rate.compute_work_seconds(request_bytes, 1)
        if seconds > transform.timeout_seconds:
            self.log.add(
                f"A request of {format_bytes(request_bytes)} is expected to take {format_duration(seconds)} with "
                f"{concurrency} at a time, longer than the {transform.timeout_seconds} s that SageMaker waits: raise "
                "transform.timeout_seconds, or lower transform.max_payload_mb or transform.max_concurrent_transforms."
            )

    def _list_transform_types(self, decision: ClusterDecision) -> tuple[str, ...]:
        """The types that the transform may run on; with `calibrate: explore` those that were not measured come last."""
        types = decision.list_acceptable_types("transform")
        if self.known is None or decision.goals.budget is not None:
            return types
        quotas = {
            name: find_tightest_quota(self.context.quotas, "transform", name)
            for name in list_instance_types(self.pipeline, self.params, "transform")
        }
        count = decision.cluster_plan.get_stage("transform").instance_count
        others = [name for name, quota in quotas.items() if quota is None or quota.instances >= count]
        return tuple(dict.fromkeys((*types, *others)))

    def _plan_trials(
        self, decision: ClusterDecision, transform: TransformPlan, layout: LayoutPlan | None
    ) -> tuple[TrialPlan, ...]:
        """The trials of a run with `calibrate: explore`."""
        if self.pipeline.goals.calibrate != "explore":
            return ()
        if self.known is not None and (saving := self.known.describe_saving(get_settings(transform))):
            self.log.add(saving)
        decided = plan_run_trials(
            self.pipeline,
            self.known,
            decision,
            transform,
            self.context,
            text_bytes=self.input.text_bytes,
            object_bytes=self.input.text_bytes / max(1, transform.shards),
            max_jobs=MAX_TRIALS if layout is None else self.pipeline.transform.max_jobs - layout.jobs,
        )
        for sentence in decided.sentences:
            self.log.add(sentence)
        return decided.trials

    def _plan_canary(self, decision: ClusterDecision) -> CalibrationLimits | None:
        """The limits of the transform after its canary; None where no canary is needed.

        A pipeline with `calibrate: canary` has one as long as no transform of its model was measured.
        """
        stage = decision.cluster_plan.get_stage("transform")
        if self.pipeline.goals.calibrate != "canary" or stage.option.rate.runs:
            return None
        self.log.add(
            f"No transform of this model was measured on {stage.option.instance_type} yet, so one shard is transformed "
            f"first, on one instance, and the rest is sized from that."
        )
        workload, acceptable = stage.workload, decision.list_acceptable_types("transform")
        limits = {option.instance_type: workload.get_instance_limit(option) for option in workload.options}
        return CalibrationLimits(
            max_instances={instance_type: limits[instance_type] for instance_type in acceptable},
            requested_instance_count=workload.requested_instance_count,
            prefer=decision.goals.prefer,
        )


def compute_approval_deadline(
    now: datetime, *, within_minutes: int, deadline: datetime | None, run_seconds: float
) -> datetime:
    """The end of the wait for approval: `within_minutes` from now, but `run_seconds` before the deadline."""
    until = now + timedelta(minutes=within_minutes)
    if deadline is not None:
        left = (deadline - now).total_seconds() - run_seconds
        until = min(until, now + timedelta(seconds=max(0.0, left)))
    return max(until, now + MIN_WAIT)


def _explain_instance_count(decision: ClusterDecision) -> str:
    """Why the stages have this many instances, for a stage whose number no run param sets."""
    goals = decision.goals
    budget_clause = "" if goals.budget is None or decision.approval_reason else " and the budget"
    if decision.deadline is None:
        if goals.prefer == "speed":
            return f"speed is preferred and the limits{budget_clause} allow no faster"
        return "cost is preferred, there is no deadline, and more instances never cost less"
    deadline_text = f"{decision.deadline:%H:%M} UTC"
    if not goals.is_safe(decision.cluster_plan):
        nights = format_nights(goals.confidence)
        finding = f"nothing within the limits is done by {deadline_text} in {nights}"
        assumed = [
            f"{each.name} on {each.option.instance_type}"
            for each in decision.cluster_plan.stages
            if not each.option.rate.runs
        ]
        if assumed:
            finding = (
                f"no run of {join_words(assumed)} was measured yet, so that nothing is sure to be done by "
                f"{deadline_text}"
            )
        if goals.prefer == "speed":
            return f"{finding}, speed is preferred, and the limits{budget_clause} allow no faster"
        return f"{finding}, and of what may be in time this costs least for how likely it is"
    if goals.prefer == "speed":
        return f"speed is preferred, {deadline_text} is met and the limits{budget_clause} allow no faster"
    return f"that is the cheapest that is done by {deadline_text} in {format_nights(goals.confidence)}"
