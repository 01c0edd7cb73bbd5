"""The plan of one run: from a listing of the input to the size of each cluster, with one sentence for each
choice.

`make_plan` is a pure function; it spends nothing and asks nobody. What it returns is stored as plan.json and
is the only source of the later tasks' numbers.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from pydantic import Field

from include.scoring import sizing
from include.scoring.approval import approve_by
from include.scoring.calibration import CanaryPlan
from include.scoring.choices import Choices
from include.scoring.config import Pipeline
from include.scoring.cost import Prices, load_prices
from include.scoring.decision import Decision, Knowledge, Work, clock, decide
from include.scoring.errors import EmptyInputError, PlanError
from include.scoring.estimate import Estimate, estimate, nothing
from include.scoring.handing_over import HandedOver, LayoutPlan, hand_over
from include.scoring.history import STAGES, HistoryRow, Stage
from include.scoring.input_selection import InputSelection
from include.scoring.join_job import JoinJobPlan, join_work, plan_join_job
from include.scoring.limits import check_limits
from include.scoring.listing import InputPlan, NaivePlan, describe_input
from include.scoring.listing import S3Object as S3Object
from include.scoring.messages import count, money, size
from include.scoring.model import ModelPlan, stated_model
from include.scoring.naming import RunPaths
from include.scoring.params import RunParams
from include.scoring.priced import foreign
from include.scoring.quotas import instance_types
from include.scoring.request_shape import batch_strategy, concurrency, payload_mb
from include.scoring.rules import Noun

MINUTE = 60
#: The member of plan.json that holds the pipeline.
CONFIG = "config"
MEGABYTE = 1_000_000


class PreprocessPlan(Noun):
    """The processing job. `shards` is what is expected; rejected records may lower it.

    `host_bytes` is the input that lies on the disk of one instance at most. `instance_types` are those that it may run
    on, in the order in which they are tried.
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


class TransformPlan(Noun):
    """The batch transform job; concurrency is per instance. `shards` are those expected, or objects without shards.

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


class JoinPlan(Noun):
    """Shards are joined in groups of about so many bytes, one mapped task and one published file each.

    `job` is the processing job that joins instead, where the pipeline has one and the input is large.
    """

    group_bytes: int
    job: JoinJobPlan | None = None


class Fingerprint(Noun):
    """Digests of all that the rows of a run follow from."""

    input: str
    model: str
    pipeline: str


class Plan(Noun):
    """All numbers of one run, which tasks hand on by `for_xcom()`. plan.json has the pipeline beside them.

    `code` is the digest of the code that the run's jobs are given.
    `layout` says how the input is handed to the transform where there is no `preprocess`; one of the two is None.
    """

    version: Literal[1] = 1
    pipeline: str
    aws_conn_id: str
    code: str | None = None
    run_id: str
    nonce: str
    moment: datetime
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
    approval: str | None = None
    approve_by: datetime | None = None
    canary: CanaryPlan | None = None
    estimate: Estimate
    sentences: tuple[str, ...]
    chosen_by: dict[str, str]

    @property
    def paths(self) -> RunPaths:
        """Where the run works."""
        return RunPaths(self.run_prefix)

    def for_xcom(self) -> dict[str, Any]:
        """The plan as a small JSON-safe dict; it never grows with the listing."""
        return self.model_dump(mode="json")

    def document(self, pipeline: Pipeline) -> dict[str, Any]:
        """plan.json: the plan, and the pipeline as it was when the run was planned."""
        return {**self.for_xcom(), CONFIG: pipeline.stated()}


def xcom_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What `for_xcom` gave of the plan in a plan.json."""
    return {key: value for key, value in document.items() if key != CONFIG}


def make_plan(
    pipeline: Pipeline,
    params: RunParams,
    objects: Iterable[S3Object],
    *,
    run_id: str,
    nonce: str,
    moment: datetime,
    input_uri: str,
    output_uri: str,
    prices: Prices | None = None,
    history: Iterable[HistoryRow] = (),
    quotas: Mapping[str, int] | None = None,
    now: datetime | None = None,
    can_ask: bool = False,
    model: ModelPlan | None = None,
    region: str | None = None,
    selection: InputSelection | None = None,
) -> Plan:
    """Size the clusters of one run.

    `objects` is the listing of `input_uri`, read once and not kept; both URIs have their placeholders filled. `history`
    holds rows of earlier runs of this pipeline, `quotas` the account's by AWS's names, `now` the time from which a
    deadline counts (default: `moment`). With `can_ask` a run above its budget may become a plan whose `approval` says
    what a person must agree to first; the caller then has to ask. Without it such a run fails. `model` is the one that
    was found for the run (default: what the pipeline file says of it). `region` is that of the jobs, where it is known.
    `selection` is what selects the objects, for what it leaves out.

    Raises EmptyInputError when there is nothing to score and the pipeline wants that to fail, ParamsError when a typed
    param is outside the limits, PlanError when no cluster meets the goals.
    """
    check_limits(pipeline, params)
    sizes = array("q")
    found, naive = describe_input(
        input_uri,
        _noting(sizes, objects) if pipeline.preprocess is None else objects,
        pipeline.input.compression,
        pipeline.transform.max_instances,
    )
    if selection is not None:
        found = found.model_copy(update={"left_out": selection.left_out})
    model = model or stated_model(pipeline)
    table = (prices or load_prices()).overridden(pipeline.prices)
    say = Choices()
    decision: Decision | None = None
    handed: HandedOver | None = None
    if found.objects == 0:
        nothing_there = f"{input_uri} holds no object with content{found.left_out.beside_nothing()}"
        if pipeline.on_empty == "fail":
            raise EmptyInputError(
                f"the input is empty: {nothing_there}, and on_empty is 'fail'; upload the data, correct the URI, or "
                f"set on_empty: skip"
            )
        say.note(f"Nothing to score: {nothing_there}, and on_empty is 'skip'.")
    else:
        known = Knowledge(
            prices=table,
            history=tuple(history),
            quotas=quotas or {},
            model=model.key,
            now=(now or moment).astimezone(UTC),
            can_ask=can_ask,
        )
        if pipeline.preprocess is None:
            handed = hand_over(pipeline, params, found, sizes, known)
            decision = handed.decision
        else:
            decision = decide(pipeline, params, _works(pipeline, params, found), known)
        _introduce(found, decision, known.now, say)
        say.note(model.sentence())
    if pipeline.preprocess is None:
        preprocess, transform = None, _transform_alone(pipeline, params, handed, say, model)
    else:
        preprocess, transform = _stages(pipeline, params, found, decision, say, model)
    canary, join_job, estimated = None, None, nothing()
    if decision is not None:
        canary = _canary(pipeline, decision, say)
        join_job = plan_join_job(pipeline, decision, transform.shards, reason=_reason(decision), say=say)
        estimated = estimate(decision.choice)
        say.note(estimated.sentence())
        say.note(f"That rests on these rates: {estimated.basis}.")
        types = [stage.option.instance_type for stage in decision.choice.stages]
        if (said := foreign(table, types, region)) is not None:
            say.note(said)
    return Plan(
        pipeline=pipeline.name,
        aws_conn_id=pipeline.aws_conn_id,
        run_id=run_id,
        nonce=nonce,
        moment=moment.astimezone(UTC),
        run_prefix=RunPaths.of(work=pipeline.work, pipeline=pipeline.name, run_id=run_id).run_prefix,
        input=found,
        output_uri=output_uri,
        empty=decision is None,
        dry_run=params.dry_run,
        model=model,
        preprocess=preprocess,
        layout=None if handed is None else handed.layout,
        transform=transform,
        join=JoinPlan(group_bytes=pipeline.join.group_mb * MEGABYTE, job=join_job),
        naive=naive,
        prices=dict(pipeline.prices),
        region=region,
        deadline=None if decision is None else decision.deadline,
        budget=None if decision is None else decision.goals.budget,
        approval=None if decision is None else decision.approval,
        canary=canary,
        approve_by=None
        if decision is None or decision.approval is None
        else approve_by(
            (now or moment).astimezone(UTC),
            within_minutes=pipeline.goals.approve_within_minutes,
            deadline=decision.deadline,
            needs=decision.choice.slowest,
        ),
        estimate=estimated,
        sentences=tuple(say.sentences),
        chosen_by=dict(say.chosen_by),
    )


def _canary(pipeline: Pipeline, decision: Decision, say: Choices) -> CanaryPlan | None:
    """Where nothing was measured and the pipeline wants it: one shard first, the rest within these limits."""
    work, chosen = decision.of("transform")
    if pipeline.goals.calibrate != "canary" or chosen.option.rate.runs:
        return None
    say.note(
        f"No transform of this model was measured on {chosen.option.instance_type} yet, so one shard is transformed "
        f"first, on one instance, and the rest is sized from that."
    )
    most = {option.instance_type: work.most(option) for option in work.options}
    return CanaryPlan(
        most={kind: most[kind] for kind in decision.acceptable("transform")},
        fixed=work.fixed,
        prefer=decision.goals.prefer,
    )


def _works(pipeline: Pipeline, params: RunParams, found: InputPlan) -> dict[Stage, Work]:
    asked = params.transform_instance_count is not None
    joining = join_work(pipeline, params, found.text_bytes)
    return {
        # An object is read by one instance; what preprocessing writes is cut as needed.
        "preprocess": Work(
            bytes=found.text_bytes,
            units=found.objects,
            largest=found.largest_text_bytes,
            squares=found.squares,
        ),
        "transform": Work(
            bytes=found.text_bytes, units=sizing.most_shards(found.text_bytes, asked_for=asked), hashed=True
        ),
        **({} if joining is None else {"join": joining}),
    }


def _introduce(found: InputPlan, decision: Decision, now: datetime, say: Choices) -> None:
    say.note(
        f"Input is {count(found.objects, 'object')} of {size(found.bytes)} in all, "
        f"the largest {size(found.largest_bytes)}."
    )
    for sentence in found.left_out.sentences():
        say.note(sentence)
    if found.packed_objects:
        say.note(
            f"{count(found.packed_objects, 'compressed object')} cannot be divided, so one instance reads each; "
            f"the text is taken to be {sizing.PACKED_GROWTH} times as large."
        )
    for work, chosen in zip(decision.works, decision.choice.stages, strict=True):
        quota = chosen.option.quota
        if quota is not None and quota < work.max_instances:
            say.note(
                f"The account's quota lets {work.name} have {quota} × {chosen.option.instance_type}, fewer than the "
                f"{work.max_instances} that the pipeline allows."
            )
    if decision.deadline is not None:
        say.note(f"The deadline is {clock(decision.deadline, now)}.")
    if decision.approval is not None:
        say.note(f"A person must approve this run: {decision.approval}.")
    elif decision.goals.budget is not None:
        say.note(f"The budget is {money(decision.goals.budget)}.")


def _stages(
    pipeline: Pipeline,
    params: RunParams,
    found: InputPlan,
    decision: Decision | None,
    say: Choices,
    model: ModelPlan,
) -> tuple[PreprocessPlan, TransformPlan]:
    first, second = (Hosts.none(pipeline, params, stage) for stage in STAGES[:2])
    shards = sizing.shard_sizes(0, 1)
    if decision is not None:
        first, second = (Hosts.of(decision, stage) for stage in STAGES[:2])
        shards = _shards(params, found, decision)
        reason = _reason(decision)
        say.cluster(
            *decision.of("preprocess"),
            unit="input object",
            typed_type=params.preprocess_instance_type is not None,
            reason=reason,
        )
        say.choose("preprocess.shard_bytes", "plan", _about_shards(shards))
        say.cluster(
            *decision.of("transform"),
            unit="shard",
            typed_type=params.transform_instance_type is not None,
            reason=reason,
        )
    quiet = say if decision is not None else Choices()
    host_bytes = _host_bytes(pipeline, found, first.number)
    preprocess = PreprocessPlan(
        instance_type=first.kinds[0],
        instance_types=first.kinds,
        instance_count=first.number,
        volume_size_gb=_volume(pipeline, host_bytes, quiet),
        max_runtime_seconds=pipeline.preprocessing.max_runtime_minutes * MINUTE,
        shard_bytes=shards.bytes,
        shards=shards.count,
        host_bytes=host_bytes,
        distribution=pipeline.distribution,
    )
    return preprocess, _transform(pipeline, params, second, shards.count, quiet, model)


class Hosts(NamedTuple):
    """The instances of a stage: how many, and their type, followed by those that may take its place."""

    kinds: tuple[str, ...]
    number: int

    @classmethod
    def of(cls, decision: Decision, stage: Stage) -> Hosts:
        """Those that were decided on."""
        return cls(decision.acceptable(stage), decision.of(stage)[1].count)

    @classmethod
    def none(cls, pipeline: Pipeline, params: RunParams, stage: Stage) -> Hosts:
        """None, where there is nothing to do."""
        return cls(instance_types(pipeline, params, stage), 0)


def _shards(params: RunParams, found: InputPlan, decision: Decision) -> sizing.ShardSizes:
    """As many as even out the transform; and the join too, where a job does it."""
    transform = decision.of("transform")[1]
    each = sizing.shards_per_instance(transform.seconds - transform.option.rate.start_seconds)
    joins = sum(
        stage.count
        for work, stage in zip(decision.works, decision.choice.stages, strict=True)
        if work.name == "join"
    )
    return sizing.shard_sizes(
        found.text_bytes,
        transform.count,
        asked_for=params.transform_instance_count is not None,
        per_instance=max(each, -(-joins * sizing.SHARDS_PER_INSTANCE // transform.count)),
    )


def _transform_alone(
    pipeline: Pipeline, params: RunParams, handed: HandedOver | None, say: Choices, model: ModelPlan
) -> TransformPlan:
    """The transform of a run without preprocessing; None was handed over where there is nothing to do."""
    if handed is None:
        return _transform(pipeline, params, Hosts.none(pipeline, params, "transform"), 0, Choices(), model)
    decision = handed.decision
    say.cluster(
        *decision.of("transform"),
        unit="input object" if handed.layout.way == "as it lies" else "piece",
        typed_type=params.transform_instance_type is not None,
        reason=_reason(decision),
    )
    for sentence in handed.sentences:
        say.note(sentence)
    return _transform(pipeline, params, Hosts.of(decision, "transform"), handed.layout.objects, say, model)


def _transform(
    pipeline: Pipeline,
    params: RunParams,
    hosts: Hosts,
    shards: int,
    say: Choices,
    model: ModelPlan,
) -> TransformPlan:
    payload = payload_mb(pipeline, params, say, serial=model.containers > 1)
    return TransformPlan(
        instance_type=hosts.kinds[0],
        instance_types=hosts.kinds,
        instance_count=hosts.number,
        max_concurrent_transforms=concurrency(pipeline, params, hosts.kinds[0], payload, say),
        max_payload_mb=payload,
        batch_strategy=batch_strategy(pipeline, params, say),
        max_runtime_seconds=pipeline.transform.max_runtime_minutes * MINUTE,
        shards=shards,
    )


def _noting(sizes: array[int], objects: Iterable[S3Object]) -> Iterator[S3Object]:
    """The objects, while the sizes of those that are not empty are noted."""
    for item in objects:
        if item.size > 0:
            sizes.append(item.size)
        yield item


def _host_bytes(pipeline: Pipeline, found: InputPlan, hosts: int) -> int:
    """Bytes of text on the fullest host: all of it where each host gets all, else at most twice an even share."""
    if pipeline.distribution == "FullyReplicated" or hosts < 2:
        return found.text_bytes
    return min(found.text_bytes, max(2 * found.text_bytes // hosts, found.largest_text_bytes))


def _volume(pipeline: Pipeline, host_bytes: int, say: Choices) -> int:
    stated, wanted = pipeline.preprocessing.volume_size_gb, sizing.volume_for(host_bytes)
    if wanted <= stated:
        return stated
    if wanted > sizing.LARGEST_VOLUME_GB:
        raise PlanError(
            f"an instance of preprocess would need {wanted:,} GB of disk for {size(host_bytes)} of input, and "
            f"SageMaker gives at most {sizing.LARGEST_VOLUME_GB:,}; allow more instances, drop the duplicates rule, or "
            f"split the run"
        )
    say.choose(
        "preprocess.volume_size_gb",
        "plan",
        f"Each preprocess instance gets {wanted:,} GB of disk instead of {stated}, because it holds up to "
        f"{size(host_bytes)} of input and what it writes.",
    )
    return wanted


def _reason(decision: Decision) -> str:
    """Why the chosen clusters are these, for a stage whose number nobody typed."""
    goals = decision.goals
    within = "" if goals.budget is None or decision.approval else " and the budget"
    if decision.deadline is None:
        if goals.prefer == "speed":
            return f"speed is preferred and the limits{within} allow no faster"
        return "cost is preferred, there is no deadline, and more instances never cost less"
    end = f"{decision.deadline:%H:%M} UTC"
    if goals.seconds is not None and decision.choice.slowest > goals.seconds:
        return f"{end} is met only if the rates hold, and nothing within the limits is safer"
    if goals.prefer == "speed":
        return f"speed is preferred, {end} is met and the limits{within} allow no faster"
    return f"that is the cheapest that is done by {end}, also at the slow end of the rates"


def _about_shards(shards: sizing.ShardSizes) -> str:
    return (
        f"Records are cut into about {count(shards.count, 'equal shard')} of {size(shards.bytes)}, because an "
        f"instance without a shard is billed all the same."
    )
