"""Trials of settings, night after night: six models whose cheapest settings are hidden from the planner.

Each night is planned by the planner's public function from what the nights before measured. The speed of a model is a
formula of instance type, requests at a time and MB of a request that shares nothing with the planner; nights differ,
some are outliers, types' speeds and prices differ from seed to seed. The cost of the last plan's settings is compared
with the best point of a grid of 3 types × 3 concurrencies × 3 payloads.

    python -m tools.benchmarks.exploration [SEEDS] [--images FOLDER]
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.planning.clusters.cluster_choice import PlanningContext
from batch_inference.planning.clusters.exploration import TrialPlan
from batch_inference.planning.clusters.rate_history import HistoryRow
from batch_inference.planning.clusters.settings_cost import RequestSettings
from batch_inference.planning.inputs.input_listing import S3Object
from batch_inference.planning.model_version import plan_model_without_lookup
from batch_inference.planning.plan import Plan
from batch_inference.planning.planner import RunInfo, make_plan
from batch_inference.planning.trial_planning import get_settings
from tools.benchmarks.sizing_pictures import render_exploration

MEBIBYTE = 1024 * 1024
BEGIN = datetime(2026, 1, 1, 2, 0, tzinfo=UTC)
START_SECONDS, PROVISIONING_SECONDS, OTHER_SECONDS = 90.0, 240.0, 60.0
#: Standard deviations of a night and of a job, and how often a job is slower by how much.
NIGHT, JOB, OUTLIERS, SLOWDOWN = 0.05, 0.05, 0.05, 1.3
FIRST_TYPE = "ml.m5.xlarge"
CONCURRENCY_RATIOS, PAYLOADS_MB = (0.5, 1, 2), (1, 6, 12)


class Machine(NamedTuple):
    """An instance type: vCPUs, speed of one, dollars per hour, GiB of memory, and whether it has a GPU."""

    vcpus: int
    speed: float
    dollars_per_hour: float
    memory_gib: float
    has_gpu: bool = False


MACHINES = {
    FIRST_TYPE: Machine(4, 1.0, 0.23, 16),
    "ml.c5.xlarge": Machine(4, 1.25, 0.204, 8),
    "ml.g4dn.xlarge": Machine(4, 1.0, 0.736, 16, has_gpu=True),
}
#: Bytes per second of one instance, for a machine, requests at a time and bytes of a request; None where it is killed.
Speed = Callable[[Machine, int, float], float | None]


def run_cpu_bound(machine: Machine, requests: int, size: float) -> float:
    """Computes on one vCPU per request."""
    return min(requests, machine.vcpus) * size / (0.05 + size / (0.5e6 * machine.speed))


def run_request_bound(machine: Machine, requests: int, size: float) -> float:
    """Waits three seconds for each request, whatever it holds."""
    return min(requests * size / (3 + size / (20e6 * machine.speed)), machine.vcpus * machine.speed * 5e6)


def run_memory_bound(machine: Machine, requests: int, size: float) -> float | None:
    """Has 240 bytes of memory for each byte in flight, and is faster the more requests it has."""
    if 2 + requests * size * 240 / 1024**3 > machine.memory_gib:
        return None
    return min(requests, 2 * machine.vcpus) * size / (0.5 + size / (0.6e6 * machine.speed))


def run_on_gpu(machine: Machine, requests: int, size: float) -> float:
    """Is fast on a GPU, which takes one request after another, the larger the better."""
    if machine.has_gpu:
        return min(size / (1.5 + size / 12e6), requests * size / (1 + size / 8e6))
    return min(requests, machine.vcpus) * size / (0.02 + size / (0.25e6 * machine.speed))


def run_with_contention(machine: Machine, requests: int, size: float) -> float:
    """Locks: each further request slows all."""
    used = min(requests, machine.vcpus) / machine.vcpus
    return 2e6 * machine.speed * math.pow(used, 0.2) / (1 + 0.25 * (requests - 1)) * size / (size + 2e5)


def run_flat(machine: Machine, _requests: int, _size: float) -> float:
    """Costs the same everywhere."""
    return 2e6 * machine.dollars_per_hour / 0.23


MODELS: Mapping[str, Speed] = {
    "CPU-bound": run_cpu_bound,
    "request-bound": run_request_bound,
    "memory-bound": run_memory_bound,
    "GPU-friendly": run_on_gpu,
    "contention": run_with_contention,
    "flat": run_flat,
}


@dataclass(frozen=True, slots=True)
class World:
    """A model on machines whose speeds and prices are those of one seed."""

    speed: Speed
    machines: Mapping[str, Machine]

    @classmethod
    def draw(cls, speed: Speed, rng: random.Random) -> World:
        """Machines that differ from the usual ones by up to a quarter."""
        machines = {
            name: machine._replace(
                speed=machine.speed * rng.uniform(0.8, 1.25),
                dollars_per_hour=machine.dollars_per_hour * rng.uniform(0.85, 1.2),
            )
            for name, machine in MACHINES.items()
        }
        return cls(speed, machines)

    def compute_speed(self, settings: RequestSettings, object_bytes: float) -> float | None:
        """Bytes per second of one instance."""
        size = min(settings.max_payload_mb * MEBIBYTE, object_bytes)
        return self.speed(self.machines[settings.instance_type], settings.max_concurrent_transforms, size)

    def compute_cost(self, settings: RequestSettings, object_bytes: float) -> float:
        """Dollars of work per byte; infinite where the container is killed."""
        speed = self.compute_speed(settings, object_bytes)
        return math.inf if speed is None else self.get_price(settings) / speed

    def get_price(self, settings: RequestSettings) -> float:
        """Dollars per second."""
        return self.machines[settings.instance_type].dollars_per_hour / 3600

    def find_best(
        self,
        object_bytes: float,
        ratios: Sequence[float] = CONCURRENCY_RATIOS,
        payloads: Sequence[int] = PAYLOADS_MB,
    ) -> float:
        """The least dollars of work per byte in a grid."""
        grid = (
            RequestSettings(name, max(1, round(ratio * machine.vcpus)), payload, "MultiRecord")
            for (name, machine), ratio, payload in product(self.machines.items(), ratios, payloads)
        )
        return min(
            self.compute_cost(each, object_bytes)
            for each in grid
            if each.max_concurrent_transforms * each.max_payload_mb <= 100
        )


class Nights(NamedTuple):
    """What came of some nights.

    `ratio` is the cost of work of the last plan as a multiple of the grid's best, `first_ratio` that of the first;
    `extra_share` is what trials cost as a share of the runs, `late` the nights that were late because of one.
    """

    ratio: float
    first_ratio: float
    extra_share: float
    trials: int
    failed: int
    late: int
    ratios: tuple[float, ...]
    sentences: tuple[str, ...]


def simulate_nights(
    speed: Speed, seed: int, *, nights: int = 10, hours: float = 10.0, goals: Mapping[str, Any] | None = None
) -> Nights:
    """Plan and run nights of `hours` instance-hours on the first type; then plan one more."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    world = World.draw(speed, rng)
    pipeline = _build_pipeline(world, goals or {})
    first_speed = world.compute_speed(RequestSettings(FIRST_TYPE, 4, 6, "MultiRecord"), 64e6)
    text_bytes = round((first_speed or 1e6) * hours * 3600)
    history: list[HistoryRow] = []
    dollars = extra = 0.0
    trials = failed = late = 0
    ratios = []
    plan = _plan_night(pipeline, text_bytes, history, 0)
    for night in range(1, nights + 1):
        object_bytes = text_bytes / plan.transform.shards
        ratios.append(
            world.compute_cost(get_settings(plan.transform), object_bytes) / world.find_best(object_bytes)
        )
        level = math.exp(rng.gauss(0, NIGHT))
        tried_bytes = sum(trial.bytes for trial in plan.trials)
        settings = get_settings(plan.transform)
        main = _run_job(world, settings, text_bytes - tried_bytes, object_bytes, level, rng)
        rows = [_build_row(night, settings, text_bytes - tried_bytes, main, plan, world)]
        main_end = PROVISIONING_SECONDS + START_SECONDS + main / plan.transform.instance_count
        for trial in plan.trials:
            row, end = _run_trial(night, trial, plan, world, object_bytes, level, rng)
            rows.append(row)
            extra += row.trial_extra_dollars or 0.0
            trials, failed = trials + 1, failed + (row.bytes == 0)
            if plan.deadline is not None:
                limit = (plan.deadline - BEGIN - timedelta(days=night - 1)).total_seconds() - OTHER_SECONDS
                late += main_end <= limit < end
        dollars += sum(row.dollars or 0.0 for row in rows if not row.is_trial)
        history += rows
        plan = _plan_night(pipeline, text_bytes, history, night)
    object_bytes = text_bytes / plan.transform.shards
    ratios.append(
        world.compute_cost(get_settings(plan.transform), object_bytes) / world.find_best(object_bytes)
    )
    return Nights(
        ratio=ratios[-1],
        first_ratio=ratios[0],
        extra_share=extra / dollars,
        trials=trials,
        failed=failed,
        late=late,
        ratios=tuple(ratios),
        sentences=plan.sentences,
    )


def _build_pipeline(world: World, goals: Mapping[str, Any]) -> Pipeline:
    first, *others = world.machines
    return Pipeline.model_validate(
        {
            "name": "bench",
            "role": "arn:aws:iam::123456789012:role/bench",
            "work": "s3://bench/work",
            "input": {"uri": "s3://bench/in/", "columns": [{"name": "x", "type": "float"}]},
            "output": {"uri": "s3://bench/out/"},
            "model": {"name": "bench"},
            "transform": {
                "instance_type": first,
                "instance_types": others,
                "max_instances": 40,
                "max_jobs": 40,
            },
            "goals": {"calibrate": "explore", **goals},
            "prices": {name: machine.dollars_per_hour for name, machine in world.machines.items()},
            "predictions": {"fields": {"score": "y"}},
        }
    )


def _plan_night(pipeline: Pipeline, text_bytes: int, history: Sequence[HistoryRow], night: int) -> Plan:
    now = BEGIN + timedelta(days=night)
    size = 64 * MEBIBYTE

    def list_objects() -> Iterator[S3Object]:
        for number in range(max(1, text_bytes // size)):
            yield S3Object(f"in/{number:08d}", size, "0123456789abcdef0123456789abcdef")

    run = RunInfo(
        run_id=f"r{night}",
        nonce="bench",
        data_time=now,
        input_uri="s3://bench/in/",
        output_uri="s3://bench/out/",
    )
    context = PlanningContext(model=plan_model_without_lookup(pipeline), now=now, history=tuple(history))
    return make_plan(pipeline, RunParams(), list_objects(), run, context)


def _run_job(
    world: World,
    settings: RequestSettings,
    work_bytes: float,
    object_bytes: float,
    level: float,
    rng: random.Random,
) -> float:
    """Instance-seconds of work; infinite where the container is killed."""
    speed = world.compute_speed(settings, object_bytes)
    noise = math.exp(rng.gauss(0, JOB)) * (SLOWDOWN if rng.random() < OUTLIERS else 1.0)
    return math.inf if speed is None else work_bytes / speed * level * noise


def _run_trial(
    night: int,
    trial: TrialPlan,
    plan: Plan,
    world: World,
    object_bytes: float,
    level: float,
    rng: random.Random,
) -> tuple[HistoryRow, float]:
    """The row of a trial, and when its records are scored, in seconds from the creation of its job."""
    usual = world.compute_cost(get_settings(plan.transform), object_bytes) * trial.bytes
    seconds = _run_job(world, trial.settings, trial.bytes, object_bytes, level, rng)
    end = PROVISIONING_SECONDS + START_SECONDS + seconds
    if START_SECONDS + seconds <= trial.max_runtime_seconds:
        row = _build_row(night, trial.settings, trial.bytes, seconds, plan, world, is_trial=True)
        return row.model_copy(update={"trial_extra_dollars": (row.dollars or 0.0) - usual}), end
    # Killed after some minutes, or stopped; then a job with the usual settings.
    wasted = trial.max_runtime_seconds if seconds < math.inf else min(200.0, trial.max_runtime_seconds)
    again = _run_job(world, get_settings(plan.transform), trial.bytes, object_bytes, level, rng)
    row = _build_row(night, trial.settings, 0, 0.0, plan, world, is_trial=True)
    extra = wasted * world.get_price(trial.settings) + START_SECONDS * world.get_price(
        get_settings(plan.transform)
    )
    return (
        row.model_copy(update={"trial_extra_dollars": extra, "busy_seconds": None, "start_seconds": None}),
        2 * PROVISIONING_SECONDS + wasted + START_SECONDS + again,
    )


def _build_row(
    night: int,
    settings: RequestSettings,
    work_bytes: float,
    seconds: float,
    plan: Plan,
    world: World,
    *,
    is_trial: bool = False,
) -> HistoryRow:
    instances = 1 if is_trial else plan.transform.instance_count
    return HistoryRow(
        pipeline="bench",
        run_id=f"r{night}",
        data_time=(BEGIN + timedelta(days=night)).isoformat(),
        stage="transform",
        instance_type=settings.instance_type,
        instance_count=instances,
        model=plan.model.key,
        bytes=round(work_bytes),
        records=round(work_bytes / 100),
        objects=max(1, plan.transform.shards),
        provisioning_seconds=PROVISIONING_SECONDS,
        running_seconds=START_SECONDS + seconds / instances,
        busy_seconds=seconds,
        start_seconds=START_SECONDS,
        predicted_seconds=None,
        dollars=(START_SECONDS * instances + seconds) * world.get_price(settings),
        max_concurrent_transforms=settings.max_concurrent_transforms,
        max_payload_mb=settings.max_payload_mb,
        batch_strategy=settings.batch_strategy,
        is_trial=is_trial,
    )


def main() -> int:
    """Print a table; the exit code is 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=int, nargs="?", default=10, help="worlds for each model")
    parser.add_argument("--images", type=Path, help="also write the picture to this folder")
    arguments = parser.parse_args()
    seeds = arguments.seeds
    print(f"Ten nights of ten instance-hours, {seeds} seeds; cost of work as a multiple of the grid's best.")
    print(
        f"{'model':<15}{'first':>7}{'mean':>7}{'worst':>7}{'trials':>8}{'failed':>8}{'extra, most':>13}{'late':>6}"
    )
    is_good = True
    curves: dict[str, list[float]] = {}
    for name, speed in MODELS.items():
        found = [simulate_nights(speed, seed) for seed in range(seeds)]
        # Three hours for what takes one instance ten: there is room for a trial only where it is safe.
        timed = [simulate_nights(speed, seed, goals={"deadline": 180}) for seed in range(seeds)]
        worst, extra = max(each.ratio for each in found), max(each.extra_share for each in found)
        curves[name] = [_mean(iter(night)) for night in zip(*(each.ratios for each in found), strict=True)]
        late = sum(each.late for each in (*found, *timed))
        is_good &= worst <= 1.10 and extra <= 0.05 and not late
        print(
            f"{name:<15}{_mean(each.first_ratio for each in found):>7.2f}{_mean(each.ratio for each in found):>7.2f}"
            f"{worst:>7.2f}{_mean(each.trials for each in found):>8.1f}{_mean(each.failed for each in found):>8.1f}"
            f"{extra:>13.1%}{late:>6}"
        )
    if arguments.images:
        picture = arguments.images / "bench-exploration.svg"
        picture.write_text(render_exploration(curves), encoding="utf-8")
    return 0 if is_good else 1


def _mean(values: Iterator[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


if __name__ == "__main__":
    sys.exit(main())
