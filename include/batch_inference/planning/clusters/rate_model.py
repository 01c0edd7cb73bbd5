"""Learns what an instance of a stage is billed for: seconds per byte and per request, start-up, and their spread.

    work = bytes × seconds per byte + requests × seconds per request

Both are fitted to the measured runs, on logarithms: nights that all look alike say nothing of how their seconds divide
into the two, so that only the ratio of the two is held to what is assumed, loosely, while layouts that differ tell them
apart. Two runs in a row that are both slower, or both faster, than the runs before allow replace those.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from batch_inference.common.formatting import format_rate
from batch_inference.config.sections.stages import Stage
from batch_inference.planning.clusters.rate_history import HistoryRow
from batch_inference.planning.clusters.sizing import count_default_workers, count_requests
from batch_inference.planning.clusters.spread import DEGREES_OF_FREEDOM, compute_quantile

#: How many of the last runs a rate is based on, and the weight of each run as a share of that of the next one.
LAST_RUNS = 20
RUN_DECAY = 0.85
# Until runs are measured. Rates are bytes of input text per second and vCPU of tabular work; recorded runs took 60 to
# 120 s of billed time to pull the image and start the server, after 200 to 300 s of unbilled provisioning. That of
# preprocess is what JSON Lines and quoted CSV take (`make bench-preprocess`: 9 MB a second on a core, and a vCPU is
# about half of one): plain CSV is three times as fast, but a deadline missed costs more than an instance too many.
DEFAULT_BYTES_PER_SECOND_AND_VCPU: Mapping[Stage, float] = {
    "preprocess": 5e6,
    "transform": 0.5e6,
    "join": 20e6,
}
# One request to S3 and one to the model for each object, however small it is. The other stages read files.
DEFAULT_SECONDS_PER_REQUEST: Mapping[Stage, float] = {"preprocess": 0.0, "transform": 0.05, "join": 0.0}
DEFAULT_START_SECONDS = 90.0
DEFAULT_PROVISIONING_SECONDS = 240.0
# Standard deviations of logarithms: of what is assumed, of what other types measured, and of the ratio of seconds per
# request to seconds per byte.
ASSUMED_SPREAD = 0.18
SCALED_SPREAD = 0.30
SPLIT_SPREAD = 1.5
# The spread from night to night counts as one night of this spread before any was measured.
PRIOR_SPREAD = 0.15
# Runs closer to the fit than this do not differ.
MIN_SCALE = 0.05
#: Runs in a row that replace the earlier ones when the model's speed has changed.
RUNS_OF_A_CHANGE = 2
_CONFIDENCE_OF_MARGIN = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What one instance of a type takes for its work in a stage, and what that is based on.

    `spread` is the standard deviation of the logarithm of the work's seconds from night to night; `covariance` that of
    the logarithms of `seconds_per_byte` and `seconds_per_request`: of the first, of both, of the second.
    `requests_per_byte` are those of the last run.

    `runs` are those of this type; without any, the rate is scaled from those of `scaled_from`, another type, or
    assumed. `is_other_version` says that the runs were of other versions of the model's group, `includes_start` that
    their start-up counts as work, `is_changed` that the model's speed changed.
    """

    seconds_per_byte: float
    seconds_per_request: float
    start_seconds: float
    provisioning_seconds: float
    runs: int
    spread: float
    start_spread: float
    covariance: tuple[float, float, float] = (0.0, 0.0, 0.0)
    requests_per_byte: float = 0.0
    last_prediction_error: float | None = None
    scaled_from: str | None = None
    is_other_version: bool = False
    includes_start: bool = False
    is_changed: bool = False

    @property
    def bytes_per_second(self) -> float:
        """Bytes per second of an instance that reads its input as the last run did."""
        return 1 / self.compute_work_seconds(1.0, self.requests_per_byte)

    @property
    def margin(self) -> float:
        """By what share such work may take longer in 95 of 100 nights."""
        spread = self.compute_spread(1.0, self.requests_per_byte)
        return math.expm1(compute_quantile(_CONFIDENCE_OF_MARGIN) * spread)

    def compute_work_seconds(self, work_bytes: float, requests: float) -> float:
        """Seconds of work of one instance."""
        return work_bytes * self.seconds_per_byte + requests * self.seconds_per_request

    def compute_spread(self, work_bytes: float, requests: float) -> float:
        """Standard deviation of the logarithm of the seconds of such work: the night's, and what is not known yet."""
        seconds = self.compute_work_seconds(work_bytes, requests)
        share = work_bytes * self.seconds_per_byte / seconds if seconds else 1.0
        of_bytes, of_both, of_requests = self.covariance
        rest = 1 - share
        unknown = share * share * of_bytes + 2 * share * rest * of_both + rest * rest * of_requests
        return math.sqrt(self.spread**2 + unknown)

    def describe_basis(self, stage: Stage) -> str:
        """What the rate is based on, as part of a sentence."""
        margin = f"up to {self.margin:.0%} longer in 95 of 100 runs"
        speed = f"{format_rate(self.bytes_per_second)} per instance ({margin})"
        if self.scaled_from:
            return f"{stage} scaled from {self.scaled_from} to {speed}, as no run of this type has been measured yet"
        if not self.runs:
            return f"{stage} assumed at {speed}, as no run has been measured yet"
        error = self.last_prediction_error
        error_clause = "" if error is None else f"; the last plan was off by {error:+.0%}"
        runs_clause = "the last run" if self.runs == 1 else f"the last {self.runs:,} runs"
        runs_clause += " of other versions of the model" if self.is_other_version else ""
        runs_clause += ", since the model's speed changed" if self.is_changed else ""
        start_clause = ", start-up included, as nothing logged when work began" if self.includes_start else ""
        return f"{stage} measured at {speed}, {runs_clause}{start_clause}{error_clause}"


class _Run(NamedTuple):
    """The work of one measured run: bytes, requests, and instance-seconds."""

    bytes: int
    requests: float
    seconds: float


class _Fit(NamedTuple):
    """A rate fitted to runs: logarithms of the factors of the assumed seconds per byte and per request.

    `information` are the sums of weights of the normal equations: of the first, of both, of the second. `residuals` are
    logarithms too.
    """

    factors: tuple[float, float]
    information: tuple[float, float, float]
    residuals: tuple[float, ...]

    def correct(self, assumed: Rate, spread: float) -> Rate:
        """The rate at this spread from night to night; what the runs do not tell is held to what is assumed."""
        hold = (spread / SPLIT_SPREAD) ** 2
        a, b, d = self.information[0] + hold, self.information[1] - hold, self.information[2] + hold
        variance = spread**2 / (a * d - b * b)
        return replace(
            assumed,
            seconds_per_byte=assumed.seconds_per_byte * math.exp(self.factors[0]),
            seconds_per_request=assumed.seconds_per_request * math.exp(self.factors[1]),
            spread=spread,
            covariance=(d * variance, -b * variance, a * variance),
        )

    def compute_surprise(self, scale: float) -> float:
        """The negative logarithm of the likelihood, but for a constant."""
        ratio = (self.factors[0] - self.factors[1]) / SPLIT_SPREAD
        return ratio * ratio / 2 + (DEGREES_OF_FREEDOM + 1) / 2 * sum(
            weight * math.log1p((residual / scale) ** 2 / DEGREES_OF_FREEDOM)
            for weight, residual in zip(_weigh_runs(len(self.residuals)), self.residuals, strict=True)
        )


def compute_rate(history: Iterable[HistoryRow], *, stage: Stage, instance_type: str, model_key: str) -> Rate:
    """The rate of a stage on an instance type, from rows in any order.

    Only the transform runs the model: rows of other stages count whatever their model. A version without runs is taken
    to be as fast as the earlier versions of its group. A type without runs is taken to be as much faster or slower than
    assumed as the types that have some.
    """
    rows = sorted(
        (row for row in history if row.stage == stage and row.bytes > 0 and row.work_seconds > 0),
        key=lambda row: row.data_time,
    )
    own = [row for row in rows if stage != "transform" or row.model == model_key]
    group = parse_model_group(model_key)
    related = own or [row for row in rows if group and parse_model_group(row.model) == group]
    assumed = build_assumed_rate(stage, instance_type)
    of_type = _keep_known_work([row for row in related if row.instance_type == instance_type])
    if of_type:
        return replace(_fit_rate(of_type, assumed), is_other_version=not own)
    return _scale_rate(related, assumed, stage)


def build_assumed_rate(stage: Stage, instance_type: str) -> Rate:
    """The rate of a type of which nothing was measured."""
    workers = count_default_workers(instance_type)
    return Rate(
        seconds_per_byte=1 / (DEFAULT_BYTES_PER_SECOND_AND_VCPU[stage] * workers),
        seconds_per_request=DEFAULT_SECONDS_PER_REQUEST[stage],
        start_seconds=DEFAULT_START_SECONDS,
        provisioning_seconds=DEFAULT_PROVISIONING_SECONDS,
        runs=0,
        spread=ASSUMED_SPREAD,
        start_spread=ASSUMED_SPREAD,
    )


def parse_model_group(model_key: str) -> str | None:
    """The group in a model key `<group>/<version>`, or None; no other model key contains a slash."""
    group, slash, _ = model_key.rpartition("/")
    return group if slash else None


def _keep_known_work(rows: Sequence[HistoryRow]) -> list[HistoryRow]:
    """The last runs, those whose work is known where there are some."""
    return ([row for row in rows if row.has_work_seconds] or list(rows))[-LAST_RUNS:]


def _fit_rate(rows: Sequence[HistoryRow], assumed: Rate) -> Rate:
    """The rate of a type from its runs, in order of time."""
    runs = [
        _Run(row.bytes, count_requests(row.objects, row.bytes, row.max_payload_mb), row.work_seconds)
        for row in rows
    ]
    # The spread from night to night outlives a change of the model's speed.
    first, residuals = _find_change(runs, assumed)
    fit = _fit_runs(runs[first:], assumed)
    spread = _compute_spread((*residuals, *fit.residuals))
    starts = [row.start_seconds for row in rows if row.has_work_seconds and row.start_seconds is not None]
    waits = [row.provisioning_seconds for row in rows]
    return replace(
        fit.correct(assumed, spread),
        start_seconds=statistics.median(starts) if starts else assumed.start_seconds,
        provisioning_seconds=statistics.median(waits),
        runs=len(runs) - first,
        start_spread=_compute_spread([*_list_deviations(starts), *_list_deviations(waits)]),
        requests_per_byte=runs[-1].requests / runs[-1].bytes,
        last_prediction_error=rows[-1].prediction_error,
        includes_start=not rows[-1].has_work_seconds,
        is_changed=first > 0,
    )


def _scale_rate(rows: Sequence[HistoryRow], assumed: Rate, stage: Stage) -> Rate:
    """The assumed rate of a type, corrected by what the types with runs took of their assumed rates."""
    by_type: dict[str, list[HistoryRow]] = {}
    for row in rows:
        by_type.setdefault(row.instance_type, []).append(row)
    if not by_type:
        return assumed
    factors: list[tuple[float, float]] = []
    rates: list[Rate] = []
    for name, of_type in by_type.items():
        expected = build_assumed_rate(stage, name)
        rate = _fit_rate(_keep_known_work(of_type), expected)
        rates.append(rate)
        per_request = expected.seconds_per_request
        factors.append(
            (
                math.log(rate.seconds_per_byte / expected.seconds_per_byte),
                math.log(rate.seconds_per_request / per_request) if per_request else 0.0,
            )
        )
    of_bytes, of_requests = (math.exp(statistics.fmean(each)) for each in zip(*factors, strict=True))
    return replace(
        assumed,
        seconds_per_byte=assumed.seconds_per_byte * of_bytes,
        seconds_per_request=assumed.seconds_per_request * of_requests,
        start_seconds=statistics.fmean(rate.start_seconds for rate in rates),
        provisioning_seconds=statistics.fmean(rate.provisioning_seconds for rate in rates),
        spread=SCALED_SPREAD,
        requests_per_byte=rates[-1].requests_per_byte,
        scaled_from=next(reversed(by_type)),
    )


def _find_change(runs: Sequence[_Run], assumed: Rate) -> tuple[int, list[float]]:
    """The first run at the model's present speed, and the residuals of the runs before it."""
    first, residuals = 0, list[float]()
    for newest in range(RUNS_OF_A_CHANGE, len(runs)):
        changed = newest + 1 - RUNS_OF_A_CHANGE
        if changed - first < RUNS_OF_A_CHANGE:
            continue
        before = _fit_runs(runs[first:changed], assumed)
        spread = _compute_spread((*residuals, *before.residuals))
        rate = before.correct(assumed, spread)
        signs = {_find_side(run, rate) for run in runs[changed : newest + 1]}
        if signs in ({1}, {-1}):
            first = changed
            residuals.extend(before.residuals)
    return first, residuals


def _find_side(run: _Run, rate: Rate) -> int:
    """1 for a run that took longer than the rate allows, -1 for one that took less, else 0."""
    deviation = math.log(run.seconds / rate.compute_work_seconds(run.bytes, run.requests))
    limit = compute_quantile(_CONFIDENCE_OF_MARGIN) * rate.compute_spread(run.bytes, run.requests)
    return 0 if abs(deviation) <= limit else int(math.copysign(1, deviation))


def _fit_runs(runs: Sequence[_Run], assumed: Rate) -> _Fit:
    """The most likely rate, where logarithms of seconds have heavy tails.

    The common factor of the seconds per byte and per request is free, their ratio is not far from what is assumed. A
    run that is far off is either an outlier or of a layout that tells the two apart: the likelier fit is taken.
    """
    logarithms = [
        math.log(run.seconds / assumed.compute_work_seconds(run.bytes, run.requests)) for run in runs
    ]
    median = statistics.median(logarithms)
    even = _improve_fit(runs, assumed, (median, median), math.inf)
    scales = (_compute_scale([each - median for each in logarithms]), _compute_scale(even.residuals))
    scale = max(MIN_SCALE, min(scales))
    return min(
        (_improve_fit(runs, assumed, start, scale) for start in ((median, median), even.factors)),
        key=lambda each: each.compute_surprise(scale),
    )


def _improve_fit(runs: Sequence[_Run], assumed: Rate, factors: tuple[float, float], scale: float) -> _Fit:
    """Gauss-Newton steps from these factors; residuals above the scale weigh less."""
    of_bytes, of_requests = factors
    hold = (min(scale, PRIOR_SPREAD) / SPLIT_SPREAD) ** 2
    for _ in range(30):
        per_byte = assumed.seconds_per_byte * math.exp(of_bytes)
        per_request = assumed.seconds_per_request * math.exp(of_requests)
        a = b = d = 0.0
        x = -hold * (of_bytes - of_requests)
        y = -x
        residuals = []
        for weight, run in zip(_weigh_runs(len(runs)), runs, strict=True):
            total = run.bytes * per_byte + run.requests * per_request
            share, residual = run.bytes * per_byte / total, math.log(run.seconds / total)
            residuals.append(residual)
            weight /= 1 + (residual / scale) ** 2 / DEGREES_OF_FREEDOM
            rest = 1 - share
            a += weight * share * share
            b += weight * share * rest
            d += weight * rest * rest
            x += weight * share * residual
            y += weight * rest * residual
        held = a + hold, b - hold, d + hold
        determinant = held[0] * held[2] - held[1] ** 2
        steps = (held[2] * x - held[1] * y) / determinant, (held[0] * y - held[1] * x) / determinant
        of_bytes += max(-1.0, min(1.0, steps[0]))
        of_requests += max(-1.0, min(1.0, steps[1]))
        if max(map(abs, steps)) < 1e-6:
            break
    return _Fit((of_bytes, of_requests), (a, b, d), tuple(residuals))


def _weigh_runs(count: int) -> list[float]:
    """The weights of runs in order of time."""
    return [RUN_DECAY ** (count - 1 - at) for at in range(count)]


def _compute_scale(residuals: Sequence[float]) -> float:
    """The standard deviation by the median of the residuals' sizes, which outliers do not move."""
    return 1.4826 * statistics.median(map(abs, residuals))


def _list_deviations(values: Sequence[float]) -> list[float]:
    """The deviations of logarithms from their median, where fractions of a second do not count."""
    logarithms = [math.log1p(each) for each in values]
    return [each - statistics.median(logarithms) for each in logarithms]


def _compute_spread(residuals: Sequence[float]) -> float:
    """Standard deviation of the residuals, in which an outlier counts as two and a half deviations."""
    limit = 2.5 * max(MIN_SCALE, _compute_scale(residuals)) if residuals else 0.0
    squares = sum(min(abs(each), limit) ** 2 for each in residuals)
    return math.sqrt((PRIOR_SPREAD**2 + squares) / max(1, len(residuals)))
