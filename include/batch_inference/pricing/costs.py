"""Computes the cost of a stage. AWS bills an instance from the start of the job until its end, idle or not.

Provisioning, from creation to start, is not billed (DescribeTransformJob's documentation). Prices are dated and have
sources: AWS's price list of the region (`aws/price_list.py`), else a table of this package (`prices.yaml`). A cost with
an unknown price is None, never an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any, Self

from pydantic import ConfigDict, Field, StrictFloat

from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.config.yaml_loader import load_yaml_model

SECONDS_PER_HOUR = 3600
#: The source of a price that the pipeline file states.
PIPELINE_SOURCE = "pipeline"
#: The source of a price that AWS's Price List API answered.
PRICE_LIST_SOURCE = "price-list"
#: Fields of a single job that the timeline and the costs need.
_JOB_FIELDS = (
    "job_name", "instance_type", "instance_count", "created_at", "started_at", "ended_at", "billed_seconds",
)  # fmt: skip


class PriceSource(FrozenModel):
    """Where prices were read: the address, the day, and the region that they hold for."""

    address: str
    as_of: date
    region: str
    note: str | None = None


class Price(FrozenModel):
    """One price in dollars per hour, None when it is unknown, and its source."""

    price: StrictFloat | None = Field(ge=0)
    source: str | None = None


class Prices(FrozenModel):
    """A dated table of prices. Instance types that it lacks have no known price."""

    as_of: date
    region: str
    currency: str = "USD"
    sources: dict[str, PriceSource] = Field(default_factory=dict)
    per_hour: dict[str, Price]

    @property
    def is_price_list(self) -> bool:
        """Whether AWS's price list has answered them, so that they are not those of the package's table."""
        return PRICE_LIST_SOURCE in self.sources

    def select_types(self, instance_types: Iterable[str]) -> Prices:
        """The prices of some types, with the sources that these have."""
        wanted = set(instance_types)
        per_hour = {name: each for name, each in self.per_hour.items() if name in wanted}
        used = {each.source for each in per_hour.values()}
        return self.model_copy(
            update={
                "per_hour": per_hour,
                "sources": {name: each for name, each in self.sources.items() if name in used},
            }
        )

    def override_prices(self, hourly_prices: Mapping[str, float]) -> Prices:
        """This table with other prices, in dollars per hour, for some types."""
        own = {name: Price(price=price, source=PIPELINE_SOURCE) for name, price in hourly_prices.items()}
        return self.model_copy(update={"per_hour": {**self.per_hour, **own}}) if own else self

    def is_pipeline_price(self, instance_type: str) -> bool:
        """Whether the price is from the pipeline file, not from the table with its date and region."""
        entry = self.per_hour.get(instance_type)
        return entry is not None and entry.source == PIPELINE_SOURCE

    def get_price_per_second(self, instance_type: str) -> float | None:
        """Dollars per second of one instance, or None."""
        entry = self.per_hour.get(instance_type)
        return None if entry is None or entry.price is None else entry.price / SECONDS_PER_HOUR

    def compute_cost(self, instance_type: str, billed_seconds: float) -> float | None:
        """Dollars for the billed instance-seconds, or None when the price is unknown."""
        rate = self.get_price_per_second(instance_type)
        return None if rate is None else rate * billed_seconds


@cache
def load_prices() -> Prices:
    """The price table of this package, prices.yaml. The prices of a run are those of its plan."""
    return load_yaml_model(Path(__file__).with_name("prices.yaml"), Prices)


def read_planned_prices(plan: Mapping[str, Any]) -> Prices:
    """The prices by which a run is planned and reported: those of its plan, as it is in XCom or plan.json.

    The plan of an earlier version has only those of its pipeline file.
    """
    table = plan.get("price_table")
    return Prices.model_validate(table) if table else load_prices().override_prices(plan.get("prices") or {})


class StageUsage(FrozenModel):
    """Instance usage of a stage. Times are epoch seconds; a job that never started has no start and is not billed.

    `busy_seconds` is the sum over instances of the seconds in which they worked, `start_seconds` the mean of those that
    were billed before an instance worked, `peak_memory_share` the most of its memory that an instance used, 0 to 1,
    all None when unknown;
    `earlier_billed_seconds` are those of earlier attempts, which failed and were paid for. Where a stage is several
    jobs that end at different times, `own_billed_seconds` are their instance-seconds. Where the jobs, failed attempts
    included, have several instance types, `billed_by_type` has the instance-seconds of each.
    """

    model_config = ConfigDict(extra="ignore")

    stage: str
    job_name: str
    instance_type: str
    instance_count: int
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    busy_seconds: float | None = None
    start_seconds: float | None = None
    peak_memory_share: float | None = None
    attempt: int | None = None
    earlier_billed_seconds: float = 0.0
    own_billed_seconds: float | None = None
    billed_by_type: Mapping[str, float] | None = None

    @classmethod
    def from_job(cls, stage: str, job: Mapping[str, Any], *, busy_seconds: float | None = None) -> Self:
        """Build it from the XCom of a sensor about a finished job."""
        earlier = sum(each["billed_seconds"] for each in job.get("earlier_attempts") or ())
        return cls.model_validate(
            {
                **job,
                "stage": stage,
                "busy_seconds": busy_seconds,
                "start_seconds": _measure_start_seconds(job),
                "earlier_billed_seconds": earlier,
                "billed_by_type": _sum_billed_by_type(job),
            }
        )

    @property
    def running_seconds(self) -> float:
        """Seconds from start to end; 0 when it never started."""
        if self.started_at is None or self.ended_at is None:
            return 0.0
        return max(0.0, self.ended_at - self.started_at)

    @property
    def provisioning_seconds(self) -> float:
        """Seconds from creation to start, which are not billed."""
        until = self.started_at if self.started_at is not None else self.ended_at
        return max(0.0, (until if until is not None else self.created_at) - self.created_at)

    @property
    def billed_seconds(self) -> float:
        """Instance-seconds that AWS bills, failed attempts included."""
        return self._last_attempt_seconds + self.earlier_billed_seconds

    @property
    def _last_attempt_seconds(self) -> float:
        """Instance-seconds without failed attempts."""
        own = self.own_billed_seconds
        return self.running_seconds * self.instance_count if own is None else own

    @property
    def idle_seconds(self) -> float | None:
        """Billed instance-seconds that were not busy, or None when busy_seconds is unknown."""
        if self.busy_seconds is None:
            return None
        return max(0.0, self.billed_seconds - self.busy_seconds)

    def build_figures(self, prices: Prices, *, scored_count: int) -> dict[str, Any]:
        """All figures as JSON-safe values; unknown ones are None. `scored_count` is the number of records scored."""
        billed, idle = self.billed_seconds, self.idle_seconds
        return {
            **self.model_dump(),
            "provisioning_seconds": self.provisioning_seconds,
            "running_seconds": self.running_seconds,
            "billed_seconds": billed,
            "idle_seconds": idle,
            "idle_share": None if idle is None or not billed else idle / billed,
            "dollars": compute_stage_cost(self, prices),
            "dollars_per_1000_records": compute_cost_per_1000(compute_stage_cost(self, prices), scored_count),
        }


def compute_stage_cost(usage: StageUsage, prices: Prices) -> float | None:
    """Dollars of one stage, or None when the price of an instance type is unknown."""
    by_type = usage.billed_by_type or {usage.instance_type: usage.billed_seconds}
    return sum_if_known(
        prices.compute_cost(instance_type, seconds) for instance_type, seconds in by_type.items()
    )


def _sum_billed_by_type(job: Mapping[str, Any]) -> dict[str, float] | None:
    """Billed instance-seconds by instance type, where the job or the merged jobs had several types; else None."""
    found: dict[str, float] = {}
    for each in (*(job.get("jobs") or (job,)), *(job.get("earlier_attempts") or ())):
        if seconds := each.get("billed_seconds"):
            name = each.get("instance_type") or job["instance_type"]
            found[name] = found.get(name, 0.0) + seconds
    return found if len(found) > 1 else None


def _measure_start_seconds(job: Mapping[str, Any]) -> float | None:
    """Mean of the billed seconds before an instance worked; None where it is not known when they worked."""
    if "start_seconds" in job:
        known: float | None = job["start_seconds"]
        return known
    if not job.get("instances") or job.get("started_at") is None:
        return None
    return fmean(max(0.0, each["from"] - job["started_at"]) for each in job["instances"])


def compute_cost_per_1000(dollars: float | None, record_count: int) -> float | None:
    """Dollars per 1,000 records, or None when the cost is unknown or there are no records."""
    return None if dollars is None or not record_count else dollars / record_count * 1000


def sum_if_known(amounts: Iterable[float | None]) -> float | None:
    """The sum, or None when one of the amounts is None."""
    values = list(amounts)
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def merge_jobs(jobs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The jobs as one, in the form of a sensor's XCom: from the first creation to the last end.

    Times that are not reached are None. `own_billed_seconds` are the instance-seconds of all jobs without failed
    attempts, which are in `earlier_attempts`; `jobs` has the figures of each job. `instances` is None unless it is
    known of every job, and so is `start_seconds`.
    """
    starts = [start for job in jobs if (start := _measure_start_seconds(job)) is not None]
    first = min(jobs, key=lambda job: job["created_at"] or float("inf"))
    suffix = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    end_times = [job["ended_at"] for job in jobs if job.get("ended_at") is not None]
    return {
        **first,
        "job_name": f"{first['job_name']}{suffix}",
        "status": next((job["status"] for job in jobs if job["status"] != "Completed"), "Completed"),
        "instance_count": sum(job["instance_count"] or 1 for job in jobs),
        "started_at": min(filter(None, (job.get("started_at") for job in jobs)), default=None),
        "ended_at": max(end_times) if len(end_times) == len(jobs) else None,
        "own_billed_seconds": sum(job.get("billed_seconds") or 0.0 for job in jobs),
        "attempt": max(job.get("attempt") or 1 for job in jobs),
        "earlier_attempts": [each for job in jobs for each in job.get("earlier_attempts") or ()],
        "busy_seconds": sum_if_known(job.get("busy_seconds") for job in jobs),
        "start_seconds": fmean(starts) if len(starts) == len(jobs) else None,
        "peak_memory_share": max(
            (share for job in jobs if (share := job.get("peak_memory_share")) is not None), default=None
        ),
        "instances": _merge_instances(jobs),
        "jobs": [{name: job.get(name) for name in _JOB_FIELDS} for job in jobs] if len(jobs) > 1 else None,
    }


def _merge_instances(jobs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """When each instance worked, prefixed with the number of its job where there are several; None when unknown."""
    if any(not job.get("instances") for job in jobs):
        return None
    return [
        {**each, "instance": f"{number}/{each['instance']}" if len(jobs) > 1 else each["instance"]}
        for number, job in enumerate(jobs)
        for each in job["instances"]
    ]
