"""Nights in a row, each planned from what the ones before it measured: learning curves, and how often promises hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from batch_inference.common.errors import PlanError
from batch_inference.planning.clusters.rate_history import HistoryRow
from tools.benchmarks.billing_simulator import GB, MB, Noise, Sizes, World
from tools.benchmarks.sizing_cases import Case, build_world
from tools.benchmarks.sizing_random import draw_sizes
from tools.benchmarks.sizing_runs import compute_bound, plan_case, promises_deadline, run_plan


@dataclass(frozen=True, slots=True)
class Night:
    """One night: what its plan expected and promised, what it took, and the least that it could have cost.

    Of a plan that was refused only `refusal` is known.
    """

    night: int
    expected_seconds: float = 0.0
    promised_seconds: float = 0.0
    seconds: float = 0.0
    dollars: float = 0.0
    bound_dollars: float = 0.0
    deadline_seconds: float = np.inf
    is_deadline_promised: bool = False
    refusal: str = ""

    @property
    def is_late(self) -> bool:
        """Whether it ended after its deadline."""
        return self.seconds > self.deadline_seconds

    @property
    def is_promise_kept(self) -> bool:
        """Whether it took no longer than its plan says of 95 nights in 100."""
        return self.seconds <= self.promised_seconds


def run_nights(
    case: Case,
    nights: int,
    *,
    preprocess: bool,
    assignment: str = "in turn",
    seed: int = 1,
    get_world: Callable[[int], World] | None = None,
    growth: float = 0.0,
    history: Sequence[HistoryRow] = (),
) -> Iterator[Night]:
    """Plan each night from the rows of the ones before it, and run it in the world of that night.

    The input grows by `growth` a night.
    """
    rng = np.random.default_rng(seed)
    rows = list(history)
    for night in range(nights):
        world = get_world(night) if get_world else case.world
        sizes: Sizes = np.maximum(1, case.sizes() * (1 + growth) ** night).astype(np.int64)
        tonight = replace(case, world=world, sizes=lambda sizes=sizes: sizes)  # type: ignore[misc]
        try:
            plan = plan_case(tonight, preprocess=preprocess, history=rows)
        except PlanError as error:
            yield Night(night, refusal=str(error))
            continue
        run = run_plan(plan, tonight, assignment, rng=rng)
        rows += run.build_rows(night, len(sizes))
        limit = (tonight.get_deadline_minutes(preprocess=preprocess) or np.inf) * 60
        yield Night(
            night,
            plan.estimate.seconds,
            plan.estimate.seconds_high,
            run.seconds,
            run.dollars,
            compute_bound(tonight, preprocess=preprocess, deadline_seconds=limit).dollars,
            limit,
            plan.deadline is not None and promises_deadline(plan),
        )


NOISE = Noise(night_sigma=0.06, instance_sigma=0.02, start_sigma=0.15)
#: The nights of a learning curve, and those on which something happens.
NIGHTS, OUTLIER_NIGHTS, STEP_NIGHT, STEP_FACTOR = 30, (9, 19), 12, 3.0


def measure_learning_curves() -> Mapping[str, Sequence[Night]]:
    """Four pipelines of 20 GB, on a model 0.7 times as fast as assumed, with a deadline of two hours."""
    world = build_world(transform=0.7, noise=NOISE)
    case = Case(name="learning", sizes=lambda: np.full(200, 100 * MB), deadline_minutes=120, world=world)

    def fall_behind(night: int) -> World:
        return world.change(bytes_per_second=0.5) if night in OUTLIER_NIGHTS else world

    def step(night: int) -> World:
        return world.change(bytes_per_second=1 / STEP_FACTOR) if night >= STEP_NIGHT else world

    curves = {
        "noise of 6 %": run_nights(case, NIGHTS, preprocess=True),
        "two nights of half the speed": run_nights(case, NIGHTS, preprocess=True, get_world=fall_behind),
        "a model that becomes three times as slow": run_nights(
            replace(case, deadline_minutes=240), NIGHTS, preprocess=True, get_world=step
        ),
        "an input that grows by 4 % a night": run_nights(case, NIGHTS, preprocess=True, growth=0.04),
    }
    return {name: list(nights) for name, nights in curves.items()}


def measure_first_nights(nights: int = 5) -> Mapping[str, Sequence[Night]]:
    """Inputs whose round trips, requests or types the planner does not know, from their first night on."""
    tiny = Case(name="tiny", sizes=lambda: np.full(250_000, 3_000))
    packed = replace(tiny, is_gzip=True)
    slow_request = build_world(request_seconds=2.0)
    uneven = np.random.default_rng(3).lognormal(0.0, 1.0, 60) * 100 * MB
    slow_model = build_world(transform=0.05, others={"ml.c5.2xlarge": 0.05})
    cases = {
        "250,000 objects of 3 kB, budget of $1.20": replace(tiny, budget=1.20),
        "the same, packed": replace(packed, budget=1.20),
        "the same, packed, deadline of 8 h": replace(packed, deadline_minutes=480),
        "2,000 objects of 300 kB, 2 s a request": Case(
            name="slow", sizes=lambda: np.full(2_000, 300_000), world=slow_request
        ),
        "60 uneven packed objects in one job": Case(
            name="uneven",
            sizes=lambda: uneven.astype(np.int64),
            is_gzip=True,
            deadline_minutes=75,
            transform={"max_jobs": 1},
        ),
        "a model a twentieth as fast as assumed": Case(
            name="slow model", sizes=lambda: np.full(400, 5 * MB), deadline_minutes=240, world=slow_model
        ),
    }
    return {name: list(run_nights(case, nights, preprocess=False)) for name, case in cases.items()}


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of the nights whose plan says 95 in 100, how many took no longer, and how many kept their deadline."""

    name: str
    nights: int
    promises_kept: float
    deadlines: int
    deadlines_kept: float
    mean_ratio: float


def calibrate(name: str, nights: Sequence[Night]) -> Calibration:
    """The shares over these nights; `mean_ratio` is dollars over the bound of those whose deadline can be kept."""
    ran = [night for night in nights if not night.refusal]
    promised = [night for night in ran if night.is_deadline_promised]
    finite = [night for night in promised if night.bound_dollars < np.inf]
    return Calibration(
        name,
        len(ran),
        sum(night.is_promise_kept for night in ran) / max(1, len(ran)),
        len(promised),
        sum(not night.is_late for night in promised) / max(1, len(promised)),
        sum(n.dollars for n in finite) / max(1e-9, sum(n.bound_dollars for n in finite)),
    )


#: Nights of a pipeline that learns before its promises are counted, and those that are counted.
WARM_UP, COUNTED = 10, 20


def measure_calibration(pipelines: int, seed: int = 95) -> Sequence[Calibration]:
    """Calibrations by kind of night, of some pipelines each; the last has noise, outliers and growth.

    Of that kind there are five times as many, and their nights before the counted ones as well.
    """
    kinds = {
        "noise of 3 %": (Noise(night_sigma=0.03, instance_sigma=0.01, start_sigma=0.1), 0.0, 1),
        "noise of 10 %": (Noise(night_sigma=0.10, instance_sigma=0.02, start_sigma=0.2), 0.0, 1),
        "noise of 6 %, growth of 3 %": (NOISE, 0.03, 1),
        "noise of 6 %, 1 outlier in 20": (replace(NOISE, outlier_share=1 / 20), 0.0, 1),
        "noise of 6 %, 1 outlier in 30, growth of 2 %": (replace(NOISE, outlier_share=1 / 30), 0.02, 5),
    }
    found: list[Calibration] = []
    for number, (name, (noise, growth, times)) in enumerate(kinds.items()):
        nights = list(_run_pipelines(times * pipelines, noise, growth, seed + number))
        if times > 1:
            early = [night for each in nights for night in each[1:WARM_UP]]
            found.append(calibrate(f"nights 1 to {WARM_UP - 1} of the next", early))
        found.append(calibrate(name, [night for each in nights for night in each[WARM_UP:]]))
    return found


def _run_pipelines(pipelines: int, noise: Noise, growth: float, seed: int) -> Iterator[list[Night]]:
    rng = np.random.default_rng(seed)
    for number in range(pipelines):
        case, preprocess, assignment = _draw_pipeline(rng, noise)
        yield list(
            run_nights(
                case,
                WARM_UP + COUNTED,
                preprocess=preprocess,
                assignment=assignment,
                seed=seed * 1000 + number,
                growth=growth,
            )
        )


def _draw_pipeline(rng: np.random.Generator, noise: Noise) -> tuple[Case, bool, str]:
    """A pipeline of some 5 to 60 GB with a deadline that takes several instances, and AWS's assignment for it."""
    kind = ("equal", "log-normal", "Zipf")[int(rng.integers(3))]
    sizes = draw_sizes(rng, kind, 300)
    sizes = np.maximum(1, sizes / sizes.sum() * rng.uniform(5, 60) * GB).astype(np.int64)
    preprocess = bool(rng.random() < 0.5)
    case = Case(
        name=kind,
        sizes=lambda: sizes,
        world=build_world(
            transform=float(rng.uniform(0.5, 2.0)), preprocess=float(rng.uniform(0.7, 1.5)), noise=noise
        ),
    )
    soonest = compute_bound(case, preprocess=preprocess).soonest_seconds
    case = replace(case, deadline_minutes=round(soonest * rng.uniform(1.8, 4.0) / 60))
    return case, preprocess, ("contiguous", "by bytes", "in turn", "hash 1", "greedy")[int(rng.integers(5))]


#: The nights after a step that are told apart; the last also has all that follow.
AFTER_STEP = (-1, 0, 1, 2, 3, 4, 5)


def measure_after_step(pipelines: int, factor: float = STEP_FACTOR, seed: int = 96) -> Sequence[Calibration]:
    """Calibrations by nights since the model of each pipeline became `factor` times as slow."""
    rng = np.random.default_rng(seed)
    by_night: dict[int, list[Night]] = {night: [] for night in AFTER_STEP}
    for number in range(pipelines):
        case, preprocess, assignment = _draw_pipeline(rng, NOISE)
        case = replace(case, deadline_minutes=(case.deadline_minutes or 0) * factor)
        slow = case.world.change(bytes_per_second=1 / factor)
        nights = run_nights(
            case,
            WARM_UP + 12,
            preprocess=preprocess,
            assignment=assignment,
            seed=seed * 1000 + number,
            get_world=lambda night, case=case, slow=slow: slow if night >= WARM_UP else case.world,  # type: ignore[misc]
        )
        for night in nights:
            since = night.night - WARM_UP
            if since >= AFTER_STEP[0]:
                by_night[min(since, AFTER_STEP[-1])].append(night)
    names = {-1: "the night before", 0: "the night of the step", AFTER_STEP[-1]: "5 nights later and on"}
    return [
        calibrate(names.get(since, f"{since} {'night' if since == 1 else 'nights'} later"), nights)
        for since, nights in by_night.items()
    ]
