"""Random cases: runs of a planner that knows nothing beside one that knows the rates, and plans beside naive runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch_inference.common.errors import PlanError
from batch_inference.planning.clusters.rate_history import HistoryRow
from tools.benchmarks.billing_simulator import ASSIGNMENTS, GB, MB, Noise, Sizes
from tools.benchmarks.sizing_cases import OTHER_TYPES, Case, build_world
from tools.benchmarks.sizing_runs import (
    compute_bound,
    measure_world,
    plan_case,
    promises_deadline,
    run_naively,
    run_plan,
)

KINDS = ("equal", "log-normal", "Zipf", "geometric", "giants and crumbs", "sorted", "tiny")


def draw_sizes(rng: np.random.Generator, kind: str, most_objects: int = 2_000) -> Sizes:
    """Objects whose sizes are of one kind, 1 MB to 50 GB in all."""
    total = math.exp(rng.uniform(math.log(MB), math.log(50 * GB)))
    count = round(math.exp(rng.uniform(0.0, math.log(most_objects))))
    if kind == "tiny":
        return np.full(count, round(math.exp(rng.uniform(math.log(500), math.log(300_000)))))
    weights: Mapping[str, Callable[[], NDArray[np.floating[Any]]]] = {
        "equal": lambda: np.ones(count),
        "log-normal": lambda: rng.lognormal(0.0, rng.uniform(0.3, 2.5), count),
        "Zipf": lambda: (rng.permutation(count) + 1.0) ** -rng.uniform(0.7, 2.0),
        "geometric": lambda: rng.uniform(1.02, 1.6) ** -np.arange(min(count, 100.0)),
        "giants and crumbs": lambda: np.concatenate(
            [np.full(rng.integers(1, 9), 1.0), np.full(count, 10 ** -rng.uniform(3, 7))]
        ),
        "sorted": lambda: np.sort(rng.lognormal(0.0, rng.uniform(0.3, 2.0), count)),
    }
    drawn = weights[kind]()
    sizes: Sizes = np.maximum(1, drawn / drawn.sum() * total).astype(np.int64)
    return sizes


def draw_case(rng: np.random.Generator, number: int, *, always_deadline: bool = False) -> tuple[Case, bool]:
    """A case whose true rates differ by up to 30 % from those assumed, and whether it has preprocessing.

    Of three cases in ten the transform may have other types too.
    """
    kind = KINDS[int(rng.integers(len(KINDS)))]
    sizes = draw_sizes(rng, kind)
    others = rng.permutation(list(OTHER_TYPES))[: rng.integers(1, 3)].tolist() if rng.random() < 0.3 else []
    preprocess = bool(rng.random() < 0.5)
    case = Case(
        name=f"{number}: {len(sizes):,} objects, {kind}",
        sizes=lambda: sizes,
        is_gzip=bool(not preprocess and rng.random() < 0.25),
        prefer="cost" if always_deadline or rng.random() < 0.8 else "speed",
        max_instances=int(rng.choice([1, 2, 4, 8, 16, 32])) if not always_deadline else 16,
        world=build_world(
            transform=float(rng.uniform(0.7, 1.3)),
            preprocess=float(rng.uniform(0.7, 1.3)),
            others={name: float(rng.uniform(0.7, 1.3)) for name in others},
        ),
    )
    if always_deadline or rng.random() < 0.7:
        soonest = compute_bound(case, preprocess=preprocess).soonest_seconds
        minutes = math.ceil(soonest * (1 + rng.exponential(0.8)) / 60)
        case = replace(case, deadline_minutes=minutes)
    return case, preprocess


@dataclass(frozen=True, slots=True)
class FirstRun:
    """A first run, of which nothing is known, beside that of a planner that knows the rates; dollars and seconds."""

    case: str
    dollars: float
    known_dollars: float
    is_promised: bool
    is_in_time: bool
    is_known_in_time: bool

    @property
    def ratio(self) -> float:
        """What not to know the rates cost."""
        return self.dollars / self.known_dollars


@dataclass(frozen=True, slots=True)
class FirstRuns:
    """First runs, and how many the planner refused, knowing nothing or knowing the rates."""

    runs: Sequence[FirstRun]
    refused: int
    known_refused: int

    def describe(self) -> str:
        """One line of figures."""
        ratios = np.array([run.ratio for run in self.runs])
        worst = max(self.runs, key=lambda run: run.ratio)
        promised = [run for run in self.runs if run.is_promised]
        others = [run for run in self.runs if not run.is_promised]
        return (
            f"{len(self.runs)} first runs: mean {ratios.mean():.3f}, median {np.median(ratios):.3f}, worst "
            f"{ratios.max():.2f} ({worst.case}) of what a planner that knows the rates pays; late: "
            f"{sum(not run.is_in_time for run in promised)} of {len(promised)} promised, "
            f"{sum(not run.is_in_time for run in others)} of {len(others)} others; refused: {self.refused}, knowing "
            f"the rates {self.known_refused}"
        )


def measure_first_runs(count: int, seed: int = 16) -> FirstRuns:
    """Plan and run `count` random deadlines, each with a random assignment."""
    rng = np.random.default_rng(seed)
    runs, refused, known_refused = [], 0, 0
    for number in range(count):
        case, preprocess = draw_case(rng, number, always_deadline=True)
        assignment = ASSIGNMENTS[int(rng.integers(len(ASSIGNMENTS)))]
        try:
            known_plan = plan_case(
                case, preprocess=preprocess, history=measure_world(case, preprocess=preprocess)
            )
        except PlanError:
            known_refused += 1
            continue
        try:
            plan = plan_case(case, preprocess=preprocess)
        except PlanError:
            refused += 1
            continue
        run, known = (run_plan(each, case, assignment) for each in (plan, known_plan))
        limit = (case.deadline_minutes or 0) * 60
        runs.append(
            FirstRun(
                f"{case.name}{', preprocess' if preprocess else ''}, {case.deadline_minutes} min",
                run.dollars,
                known.dollars,
                promises_deadline(plan),
                run.seconds <= limit,
                known.seconds <= limit,
            )
        )
    return FirstRuns(runs, refused, known_refused)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A random case beside its naive run: the ratio of their dollars, 0 where the plan was refused.

    `worse` says in what the plan is worse, and is empty where it is not. `is_only_naive_in_time` says that it was
    refused, or was late as it said that it might be, where the naive run was in time.
    """

    case: str
    ratio: float
    worse: str = ""
    is_only_naive_in_time: bool = False


#: More shards than a naive run has cost round trips, which the least run of one instance cannot make up for.
TOLERANCE = 0.02
#: Hashes whose luck evens out.
HASHES = tuple(f"hash {number}" for number in range(1, 13))


def compare_with_naive(count: int, seed: int = 17) -> Iterator[Comparison]:
    """Random cases, of which the planner knows nothing or what a few nights told it; a hash is the mean of several.

    A plan is worse that is dearer without being sooner, or is late although it promised not to be.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        case, preprocess = draw_case(rng, number)
        assignment = ("contiguous", "by bytes", "in turn", "greedy", "hash")[int(rng.integers(5))]
        history: Sequence[HistoryRow] = ()
        if rng.random() < 0.5:
            noisy = replace(case, world=replace(case.world, noise=Noise(night_sigma=0.05)))
            nights = int(rng.integers(1, 8))
            history = measure_world(noisy, preprocess=preprocess, nights=nights, rng=rng)
        limit = math.inf if case.deadline_minutes is None else case.deadline_minutes * 60
        each = HASHES if assignment == "hash" else (assignment,)
        name = (
            f"{case.name}{', preprocess' if preprocess else ''}{', gzip' if case.is_gzip else ''}, {assignment}, "
            f"{case.deadline_minutes} min, at most {case.max_instances}, prefer {case.prefer}, {len(history)} rows"
        )
        try:
            plan = plan_case(case, preprocess=preprocess, history=history)
        except PlanError:
            naives = [run_naively(case, one, preprocess=preprocess) for one in each]
            is_in_time = all(naive.seconds <= limit for naive in naives)
            yield Comparison(name, 0.0, is_only_naive_in_time=is_in_time)
            continue
        runs = [run_plan(plan, case, one) for one in each]
        chosen = plan.transform.instance_type
        naives = [run_naively(case, one, preprocess=preprocess, instance_type=chosen) for one in each]
        dollars, naive_dollars = (sum(run.dollars for run in them) / len(each) for them in (runs, naives))
        seconds, naive_seconds = (sum(run.seconds for run in them) / len(each) for them in (runs, naives))
        worse = ""
        if dollars > naive_dollars * (1 + TOLERANCE) and seconds > naive_seconds * (1 - TOLERANCE):
            worse = (
                f"${dollars:.4f} and {seconds:,.0f} s, naive ${naive_dollars:.4f} and {naive_seconds:,.0f} s"
            )
        elif limit < math.inf and promises_deadline(plan) and any(run.seconds > limit for run in runs):
            worse = f"{seconds:,.0f} s, though {limit:,.0f} were promised"
        yield Comparison(name, dollars / naive_dollars, worse, not worse and naive_seconds <= limit < seconds)
