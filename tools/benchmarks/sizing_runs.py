"""Plans runs with the planner's public function and runs their plans in the simulator, night after night."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.planning.clusters.cluster_choice import PlanningContext
from batch_inference.planning.clusters.rate_history import HistoryRow
from batch_inference.planning.inputs.input_listing import S3Object
from batch_inference.planning.model_version import plan_model_without_lookup
from batch_inference.planning.plan import Plan
from batch_inference.planning.planner import RunInfo, make_plan
from tools.benchmarks.billing_simulator import (
    MIN_CUT_BYTES,
    OTHER_TASKS_SECONDS,
    Bound,
    Job,
    Sizes,
    StageBound,
    compute_joint_bound,
    cut_and_merge,
    cut_shards,
    find_host_assignment,
    run_job,
)
from tools.benchmarks.sizing_cases import DEFAULT_TYPE, GZIP_RATIO, Case

INPUT_URI, OUTPUT_URI = "s3://bench/in/", "s3://bench/out/"
NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
#: Objects that a task can put together or copy in a run; of more, each costs a round trip.
MAX_COPIED_OBJECTS = 550_000


def build_pipeline(case: Case, *, preprocess: bool) -> Pipeline:
    """The pipeline that is planned for."""
    types = list(case.world.transform)
    goals = {"prefer": case.prefer, **case.goals}
    return Pipeline.model_validate(
        {
            "name": "bench",
            "role": "arn:aws:iam::123456789012:role/bench",
            "work": "s3://bench/work",
            "input": {
                "uri": INPUT_URI,
                "columns": [{"name": "x", "type": "float"}],
                "compression": "gzip" if case.is_gzip else "none",
            },
            "output": {"uri": OUTPUT_URI},
            "model": {"name": "bench"},
            **(
                {"preprocess": {"image": "registry/bench:1", "max_instances": case.max_instances}}
                if preprocess
                else {}
            ),
            "transform": {
                "max_instances": case.max_instances,
                "instance_type": types[0],
                "instance_types": types[1:],
                **case.transform,
            },
            "goals": goals,
            "prices": {name: machine.dollars_per_hour for name, machine in case.world.transform.items()},
            "predictions": {"fields": {"score": "y"}},
        }
    )


def plan_case(
    case: Case, *, preprocess: bool, history: Sequence[HistoryRow] = (), sizes: Sizes | None = None
) -> Plan:
    """What the planner says about the objects of a case. Raises PlanError where it refuses."""
    pipeline = build_pipeline(case, preprocess=preprocess)
    minutes = case.get_deadline_minutes(preprocess=preprocess)
    unpacked = case.sizes() if sizes is None else sizes
    # Preprocessing is tried on the objects as they are unpacked: what it reads is the same.
    listed = np.maximum(1, unpacked // GZIP_RATIO) if case.is_gzip else unpacked

    def list_objects() -> Iterator[S3Object]:
        for number, size in enumerate(listed.tolist()):
            yield S3Object(f"in/{number:08d}", size, "0123456789abcdef0123456789abcdef")

    run = RunInfo(run_id="bench", nonce="bench", data_time=NOW, input_uri=INPUT_URI, output_uri=OUTPUT_URI)
    context = PlanningContext(model=plan_model_without_lookup(pipeline), now=NOW, history=history)
    deadline = None if minutes is None else str(max(1, round(minutes)))
    return make_plan(pipeline, RunParams(deadline=deadline, budget=case.budget), list_objects(), run, context)


@dataclass(frozen=True, slots=True)
class Run:
    """A plan as it ran: dollars, seconds from its start to its end, and what each stage took."""

    plan: Plan
    dollars: float
    seconds: float
    transform: Job
    transform_objects: int
    preprocess: Job | None

    @property
    def billed_seconds(self) -> float:
        """Instance-seconds of all stages."""
        return self.transform.billed_seconds + (self.preprocess.billed_seconds if self.preprocess else 0.0)

    def build_rows(self, night: int, objects: int) -> list[HistoryRow]:
        """What this run adds to the history of its pipeline."""
        stages = [("transform", self.plan.transform.instance_type, self.transform, self.transform_objects)]
        if self.plan.preprocess is not None and self.preprocess is not None:
            stages.append(("preprocess", self.plan.preprocess.instance_type, self.preprocess, objects))
        return [
            build_row(
                night,
                stage,
                instance_type,
                job,
                self.plan.input.text_bytes,
                stage_objects,
                predicted_seconds=getattr(self.plan.estimate, stage).seconds,
                max_concurrent_transforms=self.plan.transform.max_concurrent_transforms,
                max_payload_mb=self.plan.transform.max_payload_mb,
                batch_strategy=self.plan.transform.batch_strategy,
            )
            for stage, instance_type, job, stage_objects in stages
        ]


def build_row(
    night: int, stage: str, instance_type: str, job: Job, text_bytes: int, objects: int, **columns: Any
) -> HistoryRow:
    """What a job adds to the history of its pipeline."""
    return HistoryRow.model_validate(
        {
            "pipeline": "bench",
            "run_id": f"night-{night}",
            "data_time": (NOW - timedelta(days=1000 - night)).isoformat(),
            "stage": stage,
            "instance_type": instance_type,
            "instance_count": job.instances,
            "model": "bench",
            "bytes": text_bytes,
            "records": max(1, text_bytes // 100),
            "objects": objects,
            "provisioning_seconds": job.provisioning_seconds,
            "running_seconds": job.run_seconds,
            "busy_seconds": job.busy_seconds,
            "start_seconds": job.start_seconds,
            "predicted_seconds": None,
            "dollars": job.dollars,
            "requests": job.requests if stage == "transform" else None,
            **columns,
        }
    )


def run_plan(
    plan: Plan,
    case: Case,
    assignment: str,
    *,
    sizes: Sizes | None = None,
    rng: np.random.Generator | None = None,
) -> Run:
    """Run a plan: its jobs on the objects, shards or pieces that they are given."""
    sizes = case.sizes() if sizes is None else sizes
    rng = rng or np.random.default_rng(0)
    world, lists, request_bytes, preprocess = case.world, 1, 0, None
    seconds = OTHER_TASKS_SECONDS
    if plan.preprocess is not None:
        machine = world.preprocess[plan.preprocess.instance_type]
        hosts = plan.preprocess.instance_count
        preprocess = run_job(
            sizes, hosts, find_host_assignment(assignment), machine, noise=world.noise, rng=rng
        )
        seconds += preprocess.provisioning_seconds + preprocess.run_seconds
        objects = cut_shards(sizes, hosts, plan.preprocess.shard_bytes, assignment)
    else:
        layout = plan.require_layout()
        objects, lists, request_bytes = sizes, layout.jobs, layout.request_bytes
        if layout.mode == "pieces":
            objects, preparation_seconds = cut_and_merge(
                sizes, layout.piece_bytes, layout.merge_below_bytes, layout.merged_objects
            )
            seconds += preparation_seconds
    transform = run_job(
        objects,
        min(plan.transform.instance_count, len(objects)),
        assignment,
        world.transform[plan.transform.instance_type],
        lists=min(lists, len(objects)),
        request_bytes=request_bytes,
        noise=world.noise,
        rng=rng,
    )
    seconds += transform.provisioning_seconds + transform.run_seconds
    dollars = transform.dollars + (preprocess.dollars if preprocess else 0.0)
    return Run(plan, dollars, seconds, transform, len(objects), preprocess)


class NaiveRun(NamedTuple):
    """What a naive run costs, and its seconds from start to end."""

    dollars: float
    seconds: float


def run_naively(
    case: Case, assignment: str, *, preprocess: bool, instance_type: str = DEFAULT_TYPE
) -> NaiveRun:
    """A run of `max_instances` in each stage, whose transform reads as many objects as there are."""
    sizes, count = case.sizes(), case.max_instances
    jobs = [run_job(sizes, count, assignment, case.world.transform[instance_type])]
    if preprocess:
        machine = case.world.preprocess[DEFAULT_TYPE]
        jobs.append(run_job(sizes, count, find_host_assignment(assignment), machine))
    seconds = OTHER_TASKS_SECONDS + sum(job.provisioning_seconds + job.run_seconds for job in jobs)
    return NaiveRun(sum(job.dollars for job in jobs), seconds)


def promises_deadline(plan: Plan) -> bool:
    """Whether the plan says that it keeps its deadline at the confidence that was asked for."""
    assert plan.deadline is not None
    return plan.estimate.seconds_high <= (plan.deadline - NOW).total_seconds()


def measure_world(
    case: Case, *, preprocess: bool, nights: int = 8, rng: np.random.Generator | None = None
) -> list[HistoryRow]:
    """What a planner knows that knows the rates: nights of inputs of many layouts, on one instance of each type."""
    rng = rng or np.random.default_rng(5)
    rows = []
    for night in range(nights):
        total, count = 2_000_000_000, (100, 3_000, 300, 1_000)[night % 4]
        sizes = np.full(count, total // count)
        for stage, machines in (("transform", case.world.transform), ("preprocess", case.world.preprocess)):
            for instance_type, machine in machines.items():
                job = run_job(sizes, 1, "in turn", machine, noise=case.world.noise, rng=rng)
                if preprocess or stage == "transform":
                    rows.append(build_row(night, stage, instance_type, job, total, count))
    return rows


def compute_bound(case: Case, *, preprocess: bool, deadline_seconds: float = math.inf) -> Bound:
    """The joint lower bound: what no layout, assignment, type or number of instances saves."""
    sizes = case.sizes()
    total = int(sizes.sum())
    machines = list(case.world.transform.values())
    if preprocess:
        readers = list(case.world.preprocess.values())
        reading = [reader.compute_seconds(sizes) for reader in readers]
        full = np.array([total])
        stages = [
            StageBound(readers, [each.sum() for each in reading], [each.max() for each in reading]),
            StageBound(
                machines, [each.compute_seconds(full).sum() for each in machines], [0.0] * len(machines)
            ),
        ]
        return compute_joint_bound(stages, case.max_instances, deadline_seconds)
    work, largest = [], []
    for machine in machines:
        if case.is_gzip:
            seconds = machine.compute_seconds(sizes)
            work.append(float(seconds.sum()))
            largest.append(float(seconds.max()))
            continue
        trips = len(sizes) if len(sizes) > MAX_COPIED_OBJECTS else 0
        least = machine.compute_seconds(np.array([total])).sum() + trips * machine.object_seconds
        whole = sizes[sizes <= MIN_CUT_BYTES]
        work.append(float(least))
        largest.append(float(whole.max()) / machine.bytes_per_second if len(whole) else 0.0)
    return compute_joint_bound(
        [StageBound(machines, work, largest, has_lists=True)], case.max_instances, deadline_seconds
    )
