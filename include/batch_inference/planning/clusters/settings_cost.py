"""Estimates what a byte costs with each instance type, concurrency and payload, from measured runs and trials.

Logarithms of dollars per byte are taken to be normally distributed: a level for all, what a setting makes of it, what a
night makes of it, and noise. Settings that resemble each other cost about the same (a Gaussian process with a fixed
kernel), so a measurement also says something about its neighbours. A trial and the run that it is part of share their
night, and are compared with each other more closely than with other nights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from batch_inference.common.formatting import format_count
from batch_inference.planning.clusters.rate_history import HistoryRow
from batch_inference.planning.clusters.rate_model import parse_model_group
from batch_inference.planning.clusters.sizing import is_accelerated

# Standard deviations of the logarithm: of the level of all, of a setting, of a night, and of one measurement.
_LEVEL, _SETTING, _NIGHT, _NOISE = 3.0, 0.7, 0.3, 0.06
# Correlation of one setting on two types, and how many doublings of concurrency and payload still resemble each other.
_TYPE_CORRELATION = 0.4
_CONCURRENCY_DOUBLINGS, _PAYLOAD_DOUBLINGS = 1.2, 1.4
# How much less is known of what an accelerator costs.
_ACCELERATOR_FACTOR = 2.0
# The newest rows that count: with all of a long history a plan would take seconds.
_MAX_ROWS = 100


class RequestSettings(NamedTuple):
    """How a transform sends its records: instance type, requests at a time on each instance, and what one holds."""

    instance_type: str
    max_concurrent_transforms: int
    max_payload_mb: int
    batch_strategy: str

    def describe(self, other: RequestSettings | None = None) -> str:
        """`ml.c5.xlarge with 8 requests of up to 6 MB`, or `ml.c5.xlarge with 8` beside an `other` of the same MB."""
        if other is not None and other.max_payload_mb == self.max_payload_mb:
            return f"{self.instance_type} with {self.max_concurrent_transforms}"
        requests = format_count(self.max_concurrent_transforms, "request")
        return f"{self.instance_type} with {requests} of up to {self.max_payload_mb} MB"


def get_request_settings(row: HistoryRow) -> RequestSettings | None:
    """The settings of a transform's row; None for another stage, and for a row that did not keep them."""
    concurrency, payload, strategy = row.max_concurrent_transforms, row.max_payload_mb, row.batch_strategy
    if row.stage != "transform" or concurrency is None or payload is None or strategy is None:
        return None
    return RequestSettings(row.instance_type, concurrency, payload, strategy)


class Difference(NamedTuple):
    """The logarithm of how many times more one setting costs than another: its mean and standard deviation."""

    mean: float
    deviation: float

    @property
    def expected_gain(self) -> float:
        """The expected value of what is gained, as a logarithm, by taking the other setting if it costs less."""
        if self.deviation <= 0:
            return max(0.0, self.mean)
        z = self.mean / self.deviation
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return self.deviation * (density + z * _normal_share(z))

    @property
    def probability(self) -> float:
        """The probability that the other setting costs less."""
        return _normal_share(self.mean / self.deviation) if self.deviation > 0 else float(self.mean > 0)


class Measurement(NamedTuple):
    """What a byte cost with these settings in one run, as the logarithm of dollars."""

    settings: RequestSettings
    run_id: str
    log_cost: float


class SettingsCost:
    """The cost of settings by what was measured.

    `compute_default` is the logarithm of dollars per byte that a type is assumed to cost, `compute_ratio` the
    concurrency as a multiple of the type's default.
    """

    def __init__(
        self,
        measurements: Sequence[Measurement],
        compute_default: Callable[[str], float],
        compute_ratio: Callable[[RequestSettings], float],
    ) -> None:
        self.measurements = measurements
        self._compute_default, self._compute_ratio = compute_default, compute_ratio
        self._factor = _factorize(
            [
                [
                    self._relate(one.settings, other.settings)
                    + _NIGHT**2 * (one.run_id == other.run_id)
                    + _NOISE**2 * (row == column)
                    for column, other in enumerate(measurements[: row + 1])
                ]
                for row, one in enumerate(measurements)
            ]
        )
        residuals = [each.log_cost - compute_default(each.settings.instance_type) for each in measurements]
        self._weights = _solve_transposed(self._factor, _solve(self._factor, residuals))

    @property
    def measured(self) -> tuple[RequestSettings, ...]:
        """The settings that were measured, each once, the last measured last."""
        return tuple(dict.fromkeys(reversed([each.settings for each in self.measurements])))[::-1]

    def count_runs(self, settings: RequestSettings) -> int:
        """In how many runs these settings were measured."""
        return len({each.run_id for each in self.measurements if each.settings == settings})

    def estimate(self, settings: RequestSettings) -> float:
        """The expected logarithm of dollars per byte."""
        related = [self._relate(settings, each.settings) for each in self.measurements]
        return self._compute_default(settings.instance_type) + _multiply(related, self._weights)

    def compare(self, one: RequestSettings, other: RequestSettings) -> Difference:
        """How much more `one` costs than `other`."""
        if one == other:
            return Difference(0.0, 0.0)
        weights = [
            self._relate(one, each.settings) - self._relate(other, each.settings)
            for each in self.measurements
        ]
        explained = _solve(self._factor, weights)
        before = self._relate(one, one) + self._relate(other, other) - 2 * self._relate(one, other)
        variance = max(0.0, before - _multiply(explained, explained))
        return Difference(self.estimate(one) - self.estimate(other), math.sqrt(variance))

    def find_cheapest(self, settings: Iterable[RequestSettings]) -> RequestSettings:
        """The one with the least expected cost."""
        return min(settings, key=self.estimate)

    def _relate(self, one: RequestSettings, other: RequestSettings) -> float:
        """The covariance of what two settings cost."""
        concurrency = (
            math.log2(self._compute_ratio(one) / self._compute_ratio(other)) / _CONCURRENCY_DOUBLINGS
        )
        payload = math.log2(one.max_payload_mb / other.max_payload_mb) / _PAYLOAD_DOUBLINGS
        likeness = math.exp(-(concurrency**2 + payload**2) / 2)
        likeness *= 1.0 if one.instance_type == other.instance_type else _TYPE_CORRELATION
        likeness *= 1.0 if one.batch_strategy == other.batch_strategy else _TYPE_CORRELATION
        return _LEVEL**2 + _compute_deviation(one) * _compute_deviation(other) * likeness


def list_measurements(
    history: Iterable[HistoryRow], model_key: str, get_price: Callable[[str], float | None]
) -> list[Measurement]:
    """What the runs of this model, or of other versions of its group, measured, the newest last.

    `get_price` gives dollars per second of an instance type. Rows without a price, without settings or without known
    seconds of work are left out: with its start-up a trial would look slow.
    """
    group = parse_model_group(model_key)
    found = []
    for row in sorted(history, key=lambda each: (each.data_time, each.is_trial)):
        settings, price = get_request_settings(row), get_price(row.instance_type)
        is_related = row.model == model_key or (group is not None and parse_model_group(row.model) == group)
        if is_related and settings is not None and price and row.bytes and row.has_work_seconds:
            dollars = price * row.work_seconds / row.bytes
            found.append(Measurement(settings, row.run_id, math.log(dollars)))
    return found[-_MAX_ROWS:]


def _compute_deviation(settings: RequestSettings) -> float:
    return _SETTING * (_ACCELERATOR_FACTOR if is_accelerated(settings.instance_type) else 1.0)


def _normal_share(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2


def _multiply(one: Iterable[float], other: Iterable[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def _factorize(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """The lower triangle L of a positive definite matrix L·Lᵀ, of which the lower triangle is given."""
    factor: list[list[float]] = []
    for row, values in enumerate(matrix):
        line: list[float] = []
        for column in range(row):
            above = factor[column]
            line.append((values[column] - _multiply(line, above[:column])) / above[column])
        line.append(math.sqrt(values[row] - _multiply(line, line)))
        factor.append(line)
    return factor


def _solve(factor: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """x of L·x = values."""
    found: list[float] = []
    for line, value in zip(factor, values, strict=True):
        found.append((value - _multiply(line[:-1], found)) / line[-1])
    return found


def _solve_transposed(factor: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """x of Lᵀ·x = values."""
    found = list(values)
    for row in range(len(factor) - 1, -1, -1):
        found[row] /= factor[row][row]
        for column in range(row):
            found[column] -= factor[row][column] * found[row]
    return found
