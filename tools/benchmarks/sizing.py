"""`make bench-sizing`: compares the cost of the planner's clusters with a naive run and with the lower bound.

Twelve inputs, each with and without preprocessing. The planner sees a listing, a deadline and its own default rates;
the true rates, which it does not see, differ from those by up to 30 %. A simulator of SageMaker's billing that shares
no code with the planner (`tools/benchmarks/billing_simulator.py`) computes the cost of its clusters.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.planning.clusters.cluster_choice import PlanningContext
from batch_inference.planning.inputs.input_listing import S3Object
from batch_inference.planning.model_version import plan_model_without_lookup
from batch_inference.planning.plan import Plan
from batch_inference.planning.planner import RunInfo, make_plan
from tools.benchmarks.billing_simulator import (
    MAX_INSTANCES,
    MIN_CUT_BYTES,
    OTHER_TASKS_SECONDS,
    PROVISIONING_SECONDS,
    SECONDS_PER_OBJECT,
    START_SECONDS,
    Layout,
    Sizes,
    bill_job,
    bill_listed_jobs,
    build_layouts,
    compute_lower_bound,
    cut_and_merge,
    cut_shards,
    expect_hashed_bill,
)
from tools.benchmarks.sizing_pictures import Row, render_summary, render_svg, render_table

PREPROCESS_RATE, TRANSFORM_RATE = 20e6, 2e6
TRUE_RATE_FACTORS = (0.7, 0.85, 1.0, 1.15, 1.3)
#: What a gzip object of numbers is taken to unpack to, here and in the listing that the planner sees.
GZIP_RATIO = 4
#: Copies inside S3 and reads of small objects that a task gets done in a second, before the transform can start.
COPIES_PER_SECOND, READS_PER_SECOND = 60.0, 300.0
#: A task that puts objects together reads so many at most; more have to be read one by one by the transform.
MAX_MERGED_OBJECTS = 200_000
INPUT_URI, OUTPUT_URI = "s3://bench/in/", "s3://bench/out/"
#: The assignments, and what the worst ratio of each may be.
GOALS = {"contiguous": 1.10, "in turn": 1.10, "hash": 1.05}


def build_pipeline(*, preprocess: bool = True, is_gzip: bool = False) -> Pipeline:
    """The pipeline that is planned for."""
    return Pipeline.model_validate(
        {
            "name": "bench",
            "role": "arn:aws:iam::123456789012:role/bench",
            "work": "s3://bench/work",
            "input": {
                "uri": INPUT_URI,
                "columns": [{"name": "x", "type": "float"}],
                "compression": "gzip" if is_gzip else "none",
            },
            "output": {"uri": OUTPUT_URI},
            "model": {"name": "bench"},
            **(
                {"preprocess": {"image": "registry/bench:1", "max_instances": MAX_INSTANCES}}
                if preprocess
                else {}
            ),
            "transform": {"max_instances": MAX_INSTANCES},
            "predictions": {"fields": {"score": "y"}},
        }
    )


def plan_listing(pipeline: Pipeline, deadline_minutes: int, sizes: Sizes) -> Plan:
    """What the planner says about objects of these sizes."""

    def listing() -> Iterator[S3Object]:
        for number, size in enumerate(sizes.tolist()):
            yield S3Object(f"in/{number:08d}", size, "0123456789abcdef0123456789abcdef")

    now = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
    run = RunInfo(run_id="bench", nonce="bench", data_time=now, input_uri=INPUT_URI, output_uri=OUTPUT_URI)
    context = PlanningContext(model=plan_model_without_lookup(pipeline), now=now)
    return make_plan(pipeline, RunParams(deadline=str(deadline_minutes)), listing(), run, context)


def measure_with_preprocess(layout: Layout) -> list[Row]:
    """With preprocessing: the transform that was planned, on the shards that preprocessing writes."""
    sizes = layout.sizes()
    plan = plan_listing(build_pipeline(), layout.deadline_minutes, sizes)
    assert plan.preprocess is not None
    hosts = plan.preprocess.instance_count
    read = np.bincount(np.arange(len(sizes)) * hosts // len(sizes), weights=sizes).max()
    left = layout.deadline_minutes * 60 - 2 * PROVISIONING_SECONDS - OTHER_TASKS_SECONDS - START_SECONDS
    seconds = {
        factor: (sizes.sum() / TRANSFORM_RATE / factor, 0.0, left - read / PREPROCESS_RATE / factor)
        for factor in TRUE_RATE_FACTORS
    }
    return measure_assignments(plan, layout, cut_shards(sizes, hosts, plan.preprocess.shard_bytes), seconds)


def measure_without_preprocess(layout: Layout) -> list[Row]:
    """Without preprocessing: the jobs that were planned, on the objects or pieces that they are given."""
    sizes = objects = layout.sizes()
    minutes = layout.no_preprocess_minutes or layout.deadline_minutes
    listed = np.maximum(1, sizes // GZIP_RATIO) if layout.is_gzip else sizes
    plan = plan_listing(build_pipeline(preprocess=False, is_gzip=layout.is_gzip), minutes, listed)
    assert plan.layout is not None
    left = minutes * 60 - PROVISIONING_SECONDS - OTHER_TASKS_SECONDS
    if plan.layout.mode == "pieces":
        objects = cut_and_merge(sizes, plan.layout.piece_bytes, plan.layout.merge_below_bytes)
        merged_count = int((sizes < plan.layout.merge_below_bytes).sum())
        left -= len(objects) / COPIES_PER_SECOND + merged_count / READS_PER_SECOND
    seconds = {
        factor: (*compute_unavoidable_seconds(layout, sizes, TRANSFORM_RATE * factor), left)
        for factor in TRUE_RATE_FACTORS
    }
    return measure_assignments(plan, layout, objects, seconds)


def measure_assignments(
    plan: Plan, layout: Layout, objects: Sizes, seconds: Mapping[float, tuple[float, float, float]]
) -> list[Row]:
    """For each assignment the row of the rate at which the plan is furthest from what it is held against.

    It has the missed deadlines of all rates. `objects` are what the transform is given. `seconds`, by the factor of the
    true rate: of work, of the largest part that cannot be divided, and those that remain for the transform.
    """
    sizes, count = layout.sizes(), len(objects)
    instances, jobs, mode = min(plan.transform.instance_count, count), 1, ""
    if plan.layout is not None:
        jobs = plan.layout.jobs
        mode = f"{plan.layout.mode}, {'1 job' if jobs == 1 else f'{jobs} jobs'}"
    rows = []
    for assignment in GOALS:
        seeds = range(20) if assignment == "hash" else range(1)
        found: list[Row] = []
        for factor, (work, largest, remaining) in seconds.items():
            rate = TRANSFORM_RATE * factor
            expected = bound = compute_lower_bound(work, largest, remaining)
            possible = math.isfinite(bound)
            if jobs > 1:
                bills = [bill_listed_jobs(objects, jobs, rate)]
            else:
                bills = [bill_job(objects, instances, assignment, rate, seed) for seed in seeds]
            if jobs == 1 and assignment == "hash":
                expected, _ = expect_hashed_bill(objects.sum() / rate, count, instances)
                if plan.preprocess is not None:
                    _, least = expect_hashed_bill(work, count, min(MAX_INSTANCES, count))
                    possible = possible and least <= remaining
            missed = sum(wall > remaining for _, wall in bills) if possible else 0
            mean = float(np.mean([billed for billed, _ in bills]))
            naive = [bill_job(sizes, MAX_INSTANCES, assignment, rate, seed)[0] for seed in seeds[:3]]
            costs = (mean, float(np.mean(naive)), bound, expected)
            found.append(Row(layout.name, assignment, instances, *costs, missed, mode))
        worst = max(found, key=lambda row: row.ratio)
        rows.append(replace(worst, missed_deadlines=sum(row.missed_deadlines for row in found)))
    return rows


class UnavoidableSeconds(NamedTuple):
    """Seconds of work that no layout saves, and of the largest part that none divides."""

    work: float
    largest_part: float


def compute_unavoidable_seconds(layout: Layout, sizes: Sizes, bytes_per_second: float) -> UnavoidableSeconds:
    """The seconds that no layout saves.

    What is packed cannot be divided; objects that are packed, too large to be put together, or too many for that, cost
    a round trip each.
    """
    if layout.is_gzip:
        return UnavoidableSeconds(
            float(sizes.sum()) / bytes_per_second + SECONDS_PER_OBJECT * len(sizes),
            float(sizes.max()) / bytes_per_second,
        )
    trips = SECONDS_PER_OBJECT * len(sizes) if len(sizes) > MAX_MERGED_OBJECTS else 0.0
    whole = sizes[sizes <= MIN_CUT_BYTES]
    return UnavoidableSeconds(
        float(sizes.sum()) / bytes_per_second + trips,
        float(whole.max()) / bytes_per_second if len(whole) else 0.0,
    )


def main() -> int:
    """Print the tables; the exit status says whether the goals were met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most-objects", type=int, default=10_000_000, help="objects of the largest listing")
    parser.add_argument("--svg", type=Path, help="also write the chart to this SVG file")
    arguments = parser.parse_args()
    rows: list[Row] = []
    direct: list[Row] = []
    for layout in build_layouts(arguments.most_objects):
        began = time.perf_counter()
        rows += measure_with_preprocess(layout)
        direct += measure_without_preprocess(layout)
        print(f"{layout.name}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
    rates = ", ".join(f"{factor:.0%}" for factor in TRUE_RATE_FACTORS)
    print(f"With preprocessing; worst case over true rates of {rates} of the assumed rate\n")
    print(render_table(rows))
    print("\nWithout preprocessing, same rates\n")
    print(render_table(direct))
    print("\nSummary\n")
    print(render_summary(rows, direct))
    if arguments.svg:
        arguments.svg.parent.mkdir(parents=True, exist_ok=True)
        arguments.svg.write_text(render_svg(rows, direct), encoding="utf-8")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    met = True
    for name, measured_rows in (("with", rows), ("without", direct)):
        texts = []
        for assignment, goal in GOALS.items():
            ratio = max(row.ratio for row in measured_rows if row.assignment == assignment)
            texts.append(f"{assignment} {ratio:.3f} (goal {goal:.2f})")
            met = met and ratio <= goal
        missed = sum(row.missed_deadlines for row in measured_rows)
        print(f"\nworst {name} preprocessing: {', '.join(texts)}; deadlines missed: {missed}")
        met = met and not missed
    print(f"peak memory {peak:,.0f} MB")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
