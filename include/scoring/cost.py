"""What a stage cost. AWS bills an instance from the moment the job starts until it ends, idle or not.

Provisioning, from creation to start, is not billed (DescribeTransformJob's documentation). Prices are a
dated table with sources (`prices.yaml`); an unknown price stays None all the way and is said to be unknown,
never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError

from include.scoring.errors import PipelineError
from include.scoring.explain import explain
from include.scoring.rules import Noun
from include.scoring.yaml_file import read_yaml

SECONDS_PER_HOUR = 3600
#: The source of a price that the pipeline file states.
OWN = "pipeline"


class Price(Noun):
    """One price in dollars per hour, None when nobody knows it, and where it was read."""

    price: float | None = Field(ge=0)
    source: str | None = None


class Prices(Noun):
    """A dated table of prices. Instance types that it lacks have no known price."""

    as_of: date
    region: str
    currency: str = "USD"
    sources: dict[str, str] = Field(default_factory=dict)
    per_hour: dict[str, Price]

    def overridden(self, per_hour: Mapping[str, float]) -> Prices:
        """This table with other prices, in dollars per hour, for some types."""
        own = {name: Price(price=price, source=OWN) for name, price in per_hour.items()}
        return self.model_copy(update={"per_hour": {**self.per_hour, **own}}) if own else self

    def is_own(self, instance_type: str) -> bool:
        """Whether the price is the pipeline's, for which neither date nor region of the table hold."""
        entry = self.per_hour.get(instance_type)
        return entry is not None and entry.source == OWN

    def per_second(self, instance_type: str) -> float | None:
        """Dollars per second of one instance, or None."""
        entry = self.per_hour.get(instance_type)
        return None if entry is None or entry.price is None else entry.price / SECONDS_PER_HOUR

    def cost(self, instance_type: str, billed_seconds: float) -> float | None:
        """Dollars of so many instance-seconds, or None when the price is unknown."""
        rate = self.per_second(instance_type)
        return None if rate is None else rate * billed_seconds


def load_prices(path: str | Path | None = None) -> Prices:
    """Read a price table; without a path, the one beside this module. Raises PipelineError."""
    return _own_prices() if path is None else _read(Path(path))


@cache
def _own_prices() -> Prices:
    return _read(Path(__file__).with_name("prices.yaml"))


def _read(file: Path) -> Prices:
    document = read_yaml(file)
    try:
        return Prices.model_validate(document.value)
    except ValidationError as error:
        raise PipelineError(str(file), explain(error, Prices, document.line_of)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageUse:
    """What one job used. Times are epoch seconds; a job that never started has no start and is not billed.

    `busy_seconds` is the sum over instances of the seconds in which they worked, None when not known;
    `earlier_billed_seconds` are those of attempts before this one, which failed and were paid for. Where instances were
    jobs of their own that ended each on its own, `own_billed_seconds` are their instance-seconds. Where not all,
    failed attempts included, were of one type, `billed_by_type` has the instance-seconds of each.
    """

    stage: str
    job_name: str
    instance_type: str
    instance_count: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    busy_seconds: float | None = None
    attempt: int | None = None
    earlier_billed_seconds: float = 0.0
    own_billed_seconds: float | None = None
    billed_by_type: Mapping[str, float] | None = None

    @classmethod
    def from_job(cls, stage: str, job: Mapping[str, Any], *, busy_seconds: float | None = None) -> Self:
        """From what a sensor returned about a finished job."""
        return cls(
            stage=stage,
            job_name=job["job_name"],
            instance_type=job["instance_type"],
            instance_count=int(job["instance_count"]),
            created_at=job["created_at"],
            started_at=job.get("started_at"),
            ended_at=job.get("ended_at"),
            busy_seconds=busy_seconds,
            attempt=job.get("attempt"),
            earlier_billed_seconds=sum(each["billed_seconds"] for each in job.get("earlier") or ()),
            own_billed_seconds=job.get("own_billed_seconds"),
            billed_by_type=_by_type(job),
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
        return self._own + self.earlier_billed_seconds

    @property
    def _own(self) -> float:
        """Instance-seconds without failed attempts."""
        own = self.own_billed_seconds
        return self.running_seconds * self.instance_count if own is None else own

    @property
    def idle_seconds(self) -> float | None:
        """Billed instance-seconds in which nothing was done, or None when the busy ones are unknown."""
        if self.busy_seconds is None:
            return None
        return max(0.0, self.billed_seconds - self.busy_seconds)

    @property
    def start_seconds(self) -> float | None:
        """Billed seconds per instance in which none worked yet, or None when the busy ones are unknown.

        With equal shards all instances end together, so what an instance was not busy it spent starting.
        """
        if self.busy_seconds is None or not self.instance_count:
            return None
        return max(0.0, (self._own - self.busy_seconds) / self.instance_count)

    def figures(self, prices: Prices, *, scored: int) -> dict[str, Any]:
        """All figures as JSON-safe values; what is unknown is None. `scored` are the records of the run."""
        billed, idle = self.billed_seconds, self.idle_seconds
        return {
            **asdict(self),
            "provisioning_seconds": self.provisioning_seconds,
            "running_seconds": self.running_seconds,
            "billed_seconds": billed,
            "idle_seconds": idle,
            "start_seconds": self.start_seconds,
            "idle_share": None if idle is None or not billed else idle / billed,
            "dollars": cost_of(self, prices),
            "dollars_per_1000_records": per_1000(cost_of(self, prices), scored),
        }


def cost_of(use: StageUse, prices: Prices) -> float | None:
    """Dollars of one stage, or None when the price of an instance type is unknown."""
    by_type = use.billed_by_type or {use.instance_type: use.billed_seconds}
    return total(prices.cost(instance_type, seconds) for instance_type, seconds in by_type.items())


def _by_type(job: Mapping[str, Any]) -> dict[str, float] | None:
    """Instance-seconds that are billed of each type, where a job, or jobs together, had several; else None."""
    found: dict[str, float] = {}
    for each in (*(job.get("jobs") or (job,)), *(job.get("earlier") or ())):
        if seconds := each.get("billed_seconds"):
            name = each.get("instance_type") or job["instance_type"]
            found[name] = found.get(name, 0.0) + seconds
    return found if len(found) > 1 else None


def per_1000(dollars: float | None, records: int) -> float | None:
    """Dollars per 1,000 records, or None when there are none of either."""
    return None if dollars is None or not records else dollars / records * 1000


def total(parts: Iterable[float | None]) -> float | None:
    """The sum, or None as soon as one part is unknown."""
    values = list(parts)
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
