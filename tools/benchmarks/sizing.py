"""`make bench-sizing`: compares the planner's clusters with naive runs and with the least that is possible.

Nineteen inputs, each with and without preprocessing; random deadlines; random cases; nights in a row. The planner sees
a listing, a deadline, its own default rates and what earlier nights measured; never the true rates. A simulator of
SageMaker's billing that shares no code with the planner (`tools/benchmarks/billing_simulator.py`) runs its plans, with
each assignment of objects to instances that is plausible.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from batch_inference.common.errors import PlanError
from tools.benchmarks.billing_simulator import ASSIGNMENTS
from tools.benchmarks.sizing_cases import Case, build_cases
from tools.benchmarks.sizing_nights import (
    measure_after_step,
    measure_calibration,
    measure_first_nights,
    measure_learning_curves,
)
from tools.benchmarks.sizing_pictures import (
    Row,
    render_calibration,
    render_curves,
    render_first_nights,
    render_summary,
    render_svg,
)
from tools.benchmarks.sizing_random import compare_with_naive, measure_first_runs
from tools.benchmarks.sizing_runs import (
    compute_bound,
    measure_world,
    plan_case,
    promises_deadline,
    run_naively,
    run_plan,
)

#: True speeds of the transform as multiples of the assumed one.
TRUE_RATE_FACTORS = (0.7, 0.85, 1.0, 1.15, 1.3)
#: What the worst ratio to the joint bound may be with known rates; mean and worst of first runs to those with known
#: rates; and of 100 nights whose plan says 95, how many are in time.
KNOWN_GOAL, FIRST_MEAN_GOAL, FIRST_WORST_GOAL, CALIBRATION_GOAL = 1.10, 1.5, 3.0, (0.93, 0.97)


def measure_case(case: Case, *, preprocess: bool, factors: Sequence[float] = TRUE_RATE_FACTORS) -> list[Row]:
    """For each assignment the worst over all true rates, each in dollars over the joint bound.

    Rates that nobody knows, and rates that are known. Where no cluster meets the deadline at a true rate, that rate is
    left out.
    """
    first = plan_case(case, preprocess=preprocess)
    minutes = case.get_deadline_minutes(preprocess=preprocess)
    limit = math.inf if minutes is None else minutes * 60
    has_own_requests = any(machine.request_seconds for machine in case.world.transform.values())
    rows: dict[str, list[Row]] = {assignment: [] for assignment in ASSIGNMENTS}
    for factor in factors:
        tonight = replace(case, world=case.world.change(bytes_per_second=factor))
        bound = compute_bound(tonight, preprocess=preprocess, deadline_seconds=limit).dollars
        if not math.isfinite(bound):
            continue
        try:
            known = plan_case(
                tonight, preprocess=preprocess, history=measure_world(tonight, preprocess=preprocess)
            )
        except PlanError:
            continue
        for assignment in ASSIGNMENTS:
            known_run, first_run = (run_plan(plan, tonight, assignment) for plan in (known, first))
            # Nobody can promise anything of a model whose requests cost what no default says.
            judged = (known_run,) if has_own_requests else (known_run, first_run)
            missed = sum(promises_deadline(run.plan) and run.seconds > limit for run in judged)
            naive = run_naively(tonight, assignment, preprocess=preprocess)
            hosts = known.preprocess.instance_count if known.preprocess else 0
            rows[assignment].append(
                Row(
                    layout=case.name,
                    assignment=assignment,
                    hosts=hosts,
                    instances=known.transform.instance_count,
                    known=known_run.dollars / bound,
                    first=first_run.dollars / bound,
                    naive=naive.dollars / bound,
                    missed_promises=missed,
                    layout_mode="" if known.layout is None else f"{known.layout.mode}, {known.layout.jobs}",
                )
            )
    return [_take_worst(found) for found in rows.values() if found]


def _take_worst(rows: Sequence[Row]) -> Row:
    worst = max(rows, key=lambda row: row.known)
    return replace(
        worst,
        first=max(row.first for row in rows),
        missed_promises=sum(row.missed_promises for row in rows),
    )


def print_layouts(most_objects: int, svg: Path | None) -> bool:
    """Print the tables of the inputs; whether their goals are met."""
    rows: list[Row] = []
    direct: list[Row] = []
    for case in build_cases(most_objects):
        began = time.perf_counter()
        factors = (
            TRUE_RATE_FACTORS if most_objects <= 20_000 or "000 objects of" not in case.name else (0.85,)
        )
        rows += measure_case(case, preprocess=True, factors=factors)
        direct += measure_case(case, preprocess=False, factors=factors)
        print(f"{case.name}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
    print(render_summary(rows, direct))
    if svg:
        svg.write_text(render_svg(rows, direct), encoding="utf-8")
    met = True
    for name, measured in (("with", rows), ("without", direct)):
        worst = max(measured, key=lambda row: row.known)
        missed = sum(row.missed_promises for row in measured)
        print(
            f"\nworst {name} preprocessing, known rates: {worst.known:.3f} ({worst.layout}, {worst.assignment}; goal "
            f"{KNOWN_GOAL:.2f}); promises missed: {missed}"
        )
        met = met and worst.known <= KNOWN_GOAL and not missed
    return met


#: Deadlines as multiples of the soonest end that any cluster has.
TIGHTNESS = (1.15, 1.3, 1.6, 2.0, 3.0, 5.0)


def print_tightness() -> bool:
    """Print the ratios with known rates by how tight the deadline is; whether every promise is kept."""
    print("\n| deadline ÷ soonest end | runs | mean | worst | promises missed |\n|--:|--:|--:|---|--:|")
    missed = 0
    for factor in TIGHTNESS:
        rows = []
        for case in build_cases(20_000):
            if len(case.sizes()) > 20_000:
                continue
            for preprocess in (True, False):
                soonest = compute_bound(case, preprocess=preprocess).soonest_seconds
                minutes = round(soonest * factor / 60)
                tight = replace(case, deadline_minutes=minutes, no_preprocess_minutes=None)
                with suppress(PlanError):
                    rows += measure_case(tight, preprocess=preprocess, factors=(1.0,))
        worst = max(rows, key=lambda row: row.known)
        now_missed = sum(row.missed_promises for row in rows)
        missed += now_missed
        print(
            f"| {factor:g} | {len(rows)} | {sum(row.known for row in rows) / len(rows):.3f} | {worst.known:.2f}: "
            f"{worst.layout}, {worst.assignment} | {now_missed} |"
        )
    return not missed


def print_first_runs(count: int) -> bool:
    """Print what first runs cost; whether the goals are met."""
    found = measure_first_runs(count)
    print(f"\n{found.describe()} (goals {FIRST_MEAN_GOAL}, {FIRST_WORST_GOAL:g} and none late)")
    ratios = [run.ratio for run in found.runs]
    late = any(run.is_promised and not run.is_in_time for run in found.runs)
    return sum(ratios) / len(ratios) <= FIRST_MEAN_GOAL and max(ratios) <= FIRST_WORST_GOAL and not late


def print_comparisons(count: int) -> bool:
    """Print how plans of random cases compare with naive runs; whether none is worse."""
    found = list(compare_with_naive(count))
    worse = [each for each in found if each.worse]
    refused = [each for each in found if not each.ratio]
    ratios = [each.ratio for each in found if each.ratio]
    late = sum(each.is_only_naive_in_time for each in found) - sum(
        each.is_only_naive_in_time for each in refused
    )
    print(
        f"\n{count:,} random cases: {sum(ratios) / len(ratios):.2f} of the naive run's cost on average, {len(worse)} "
        f"worse than it. The naive run was in time where {late} were late, as they said they might be, and where "
        f"{sum(each.is_only_naive_in_time for each in refused)} of {len(refused)} were refused"
    )
    for each in worse[:10]:
        print(f"  {each.case}: {each.worse}")
    return not worse


def print_nights(pipelines: int, svg: Path | None) -> bool:
    """Print how often promises hold; whether that is as often as they say."""
    print("\nFirst nights: cost over the bound, and by how much they took longer than expected\n")
    print(render_first_nights(measure_first_nights()))
    calibrations, steps = measure_calibration(pipelines), measure_after_step(pipelines)
    print("\nNights whose plan says 95 in 100\n")
    print(render_calibration(calibrations))
    print("\nAfter a model became three times as slow\n")
    print(render_calibration(steps))
    if svg:
        svg.write_text(render_curves(measure_learning_curves()), encoding="utf-8")
    low, high = CALIBRATION_GOAL
    # The last kind of night has all that happens; those before it, and few nights after a step, need only be in time.
    kept = (calibrations[-1].promises_kept, calibrations[-1].deadlines_kept)
    in_time = all(each.deadlines_kept >= low for each in [*calibrations, *steps[4:]])
    return in_time and all(low <= each <= high for each in kept)


def main() -> int:
    """Print the tables; the exit status says whether the goals were met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most-objects", type=int, default=1_000_000, help="objects of the largest listing")
    parser.add_argument("--deadlines", type=int, default=500, help="random deadlines of first runs")
    parser.add_argument("--cases", type=int, default=10_000, help="random cases beside naive runs")
    parser.add_argument(
        "--pipelines", type=int, default=10, help="pipelines of 30 nights for each calibration"
    )
    parser.add_argument("--images", type=Path, help="also write the pictures to this folder")
    arguments = parser.parse_args()
    images = arguments.images

    def run_parts() -> Iterator[bool]:
        yield print_layouts(arguments.most_objects, images and images / "bench-sizing.svg")
        yield print_tightness()
        yield print_first_runs(arguments.deadlines)
        yield print_comparisons(arguments.cases)
        yield print_nights(arguments.pipelines, images and images / "bench-sizing-nights.svg")

    met = list(run_parts())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"\npeak memory {peak:,.0f} MB; goals met: {', '.join('yes' if each else 'no' for each in met)}")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
