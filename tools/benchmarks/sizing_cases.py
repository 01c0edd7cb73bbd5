"""The inputs of `make bench-sizing`: what is planned for, and the world in which it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tools.benchmarks.billing_simulator import GB, MB, Machine, Noise, Sizes, World

MAX_INSTANCES = 16  # max_instances, and what a naive run asks for
TOTAL_BYTES = 20 * GB  # of the inputs whose sizes are drawn
#: What the planner assumes of ml.m5.xlarge until it has measured something.
PREPROCESS_RATE, TRANSFORM_RATE = 20e6, 2e6
#: What a gzip object of numbers is taken to unpack to, here and in the listing that the planner sees.
GZIP_RATIO = 4
MIB = 1024 * 1024
DEFAULT_TYPE = "ml.m5.xlarge"


#: Types of a transform beside the usual one: their size beside that, and dollars per hour.
OTHER_TYPES = {"ml.m5.large": (0.5, 0.115), "ml.m5.2xlarge": (2.0, 0.46), "ml.c5.2xlarge": (2.0, 0.408)}


def build_world(
    *,
    transform: float = 1.0,
    preprocess: float = 1.0,
    others: Mapping[str, float] | None = None,
    noise: Noise | None = None,
    **machine: Any,
) -> World:
    """The world at these multiples of the rates that the planner assumes; `machine` changes the transform's.

    `others` are more types of the transform, with the multiples of their rates.
    """
    machines = {DEFAULT_TYPE: Machine(bytes_per_second=TRANSFORM_RATE * transform, **machine)}
    for name, factor in (others or {}).items():
        size, dollars = OTHER_TYPES[name]
        machines[name] = Machine(
            bytes_per_second=TRANSFORM_RATE * size * factor, dollars_per_hour=dollars, **machine
        )
    return World(
        transform=machines,
        preprocess={DEFAULT_TYPE: Machine(bytes_per_second=PREPROCESS_RATE * preprocess, object_seconds=0.0)},
        noise=noise or Noise(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An input with the goals of its run: unpacked object sizes, and whether objects are packed by gzip.

    `no_preprocess_minutes`: the deadline without preprocessing, which may need more time: a round trip for each object.
    `transform` and `goals` are more keys of these sections of the pipeline file.
    """

    name: str
    sizes: Callable[[], Sizes]
    deadline_minutes: float | None = None
    no_preprocess_minutes: float | None = None
    is_gzip: bool = False
    budget: float | None = None
    prefer: Literal["cost", "speed"] = "cost"
    max_instances: int = MAX_INSTANCES
    transform: Mapping[str, Any] = field(default_factory=dict)
    goals: Mapping[str, Any] = field(default_factory=dict)
    world: World = field(default_factory=build_world)

    def get_deadline_minutes(self, *, preprocess: bool) -> float | None:
        """Minutes to the deadline of a run with or without preprocessing."""
        if preprocess or self.no_preprocess_minutes is None:
            return self.deadline_minutes
        return self.no_preprocess_minutes


def scale_to_total(weights: NDArray[np.floating[Any]]) -> Sizes:
    """Sizes in whole bytes in proportion to `weights`, TOTAL_BYTES in all; none is empty."""
    sizes: Sizes = np.maximum(1, weights / weights.sum() * TOTAL_BYTES).astype(np.int64)
    return sizes


def draw_lognormal_sizes(sigma: float) -> Sizes:
    """Log-normal sizes of 1,000 objects."""
    return scale_to_total(np.random.default_rng(20).lognormal(0.0, sigma, 1_000))


def draw_zipf_sizes(exponent: float) -> Sizes:
    """Sizes of 1,000 objects by rank to the power of -exponent, shuffled."""
    return scale_to_total((np.random.default_rng(20).permutation(1_000) + 1.0) ** -exponent)


def draw_hourly_sizes() -> Sizes:
    """One object per hour of a day, busy at noon and quiet at night."""
    return scale_to_total(1.2 + np.sin((np.arange(24) - 6) / 24 * 2 * math.pi))


def build_geometric_sizes() -> Sizes:
    """40 objects, each 1.35 times as large as the one before it in the order of keys."""
    return scale_to_total(1.35 ** np.arange(40.0))


def build_giants_and_crumbs(giants: int = 3, crumbs: int = 10_000) -> Sizes:
    """Objects of 40 GB, next to each other in the order of keys, then crumbs of 4 kB."""
    return np.concatenate([np.full(giants, 40 * GB), np.full(crumbs, 4_000)])


def build_neighbours() -> Sizes:
    """400 objects in the order of keys: eight large ones next to each other, and small ones."""
    return np.concatenate([np.full(200, 10 * MB), np.full(8, 2 * GB), np.full(192, 10 * MB)])


def build_cases(most_objects: int) -> list[Case]:
    """Eighteen inputs; `most_objects` lowers the largest count, for quick runs."""
    slow_request = build_world(request_seconds=2.0)
    return [
        Case(name="one object of 30 GB", sizes=lambda: np.array([30 * GB]), deadline_minutes=240),
        Case(name="one gzip of 3 GB", sizes=lambda: np.array([3 * GB]), deadline_minutes=120, is_gzip=True),
        Case(
            name=f"{most_objects:,} objects of 2 kB",
            sizes=lambda: np.full(most_objects, 2_000),
            deadline_minutes=150,
            no_preprocess_minutes=780,
        ),
        Case(name="100,000 objects of 2 kB", sizes=lambda: np.full(100_000, 2_000), deadline_minutes=60),
        Case(name="1,000 objects of 20 MB", sizes=lambda: np.full(1_000, 20 * MB), deadline_minutes=90),
        Case(name="9 objects of 2 GB", sizes=lambda: np.full(9, 2 * GB), deadline_minutes=90),
        Case(name="24 hours of a day, 20 GB", sizes=draw_hourly_sizes, deadline_minutes=90, is_gzip=True),
        Case(
            name="100 objects, ±50 %",
            sizes=lambda: np.random.default_rng(20).integers(100 * MB, 300 * MB, 100),
            deadline_minutes=90,
        ),
        Case(
            name="log-normal sigma 1, 1,000",
            sizes=lambda: draw_lognormal_sizes(1.0),
            deadline_minutes=90,
            is_gzip=True,
        ),
        Case(
            name="log-normal sigma 2, 1,000",
            sizes=lambda: draw_lognormal_sizes(2.0),
            deadline_minutes=90,
            is_gzip=True,
        ),
        Case(name="Zipf a=1, 1,000", sizes=lambda: draw_zipf_sizes(1.0), deadline_minutes=120),
        Case(
            name="Zipf a=1.5, 1,000", sizes=lambda: draw_zipf_sizes(1.5), deadline_minutes=150, is_gzip=True
        ),
        Case(name="geometric, 40", sizes=build_geometric_sizes, deadline_minutes=120),
        Case(name="geometric gzip, 40", sizes=build_geometric_sizes, deadline_minutes=120, is_gzip=True),
        Case(
            name="3 of 40 GB, 10,000 crumbs",
            sizes=build_giants_and_crumbs,
            deadline_minutes=300,
        ),
        Case(name="8 large neighbours of 400", sizes=build_neighbours, deadline_minutes=90),
        Case(name="17 objects of 5 MiB", sizes=lambda: np.full(17, 5 * MIB), deadline_minutes=15),
        Case(
            name="2,000 objects of 300 kB, 2 s a request",
            sizes=lambda: np.full(2_000, 300_000),
            deadline_minutes=60,
            no_preprocess_minutes=60,
            world=slow_request,
        ),
        Case(name="250,000 objects of 3 kB", sizes=lambda: np.full(250_000, 3_000), deadline_minutes=90),
    ]
