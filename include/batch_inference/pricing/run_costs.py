"""What runs cost: the jobs of each run, published or not, and their sums by day in a document for each month.

A job counts on the UTC day on which its instances started, whatever became of its run. Records, idle time and what a
run could have saved count on the day of its last job. Dollars are those of known prices; the instance-seconds of types
without a known price are kept apart, so that no sum hides them.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ConfigDict

from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.pricing.costs import Prices, sum_if_known

VERSION = 1
#: Outcomes of runs that should have published, and did not.
UNPUBLISHED_OUTCOMES = frozenset({"failed", "held"})


def format_day(epoch_seconds: float) -> str:
    """The UTC day of a time, such as `2026-11-27`."""
    return datetime.fromtimestamp(epoch_seconds, UTC).date().isoformat()


class JobCost(FrozenModel):
    """One job. Times are epoch seconds, None when it never started or has not ended.

    `billed_seconds` are instance-seconds: of a job that has not ended, those until it was described.
    """

    model_config = ConfigDict(extra="ignore")

    job_name: str
    kind: str
    stage: str
    status: str
    instance_type: str
    instance_count: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    billed_seconds: float
    dollars: float | None

    @property
    def day(self) -> str:
        """The UTC day on which it counts, such as `2026-11-27`."""
        return format_day(self.created_at if self.started_at is None else self.started_at)


class RunEfficiency(FrozenModel):
    """How a run used its instances, by what was measured; all zero where nothing was.

    Attributes:
        measured_seconds: billed instance-seconds of the jobs whose work was measured.
        idle_seconds, idle_dollars: the part of them without work.
        start_dollars: what was billed before the first record, which each run pays once.
        one_instance_dollars: what one instance for each stage would have cost less.
        one_instance_delay: how many seconds longer the run would have taken with them.
        trial_dollars: what the instance type and settings of its best trial would have cost less.
    """

    model_config = ConfigDict(extra="ignore")

    measured_seconds: float = 0.0
    idle_seconds: float = 0.0
    idle_dollars: float = 0.0
    start_dollars: float = 0.0
    one_instance_dollars: float = 0.0
    one_instance_delay: float = 0.0
    trial_dollars: float = 0.0


class RunCost(FrozenModel):
    """What the jobs of one plan of a run cost; a run whose `plan` was cleared has several.

    `token` is the part of the jobs' names that no other plan has. `outcome` is the kind of its `RunOutcome`; `records`
    those that it scored and published. Times are epoch seconds.
    """

    model_config = ConfigDict(extra="ignore")

    version: Literal[1] = 1
    pipeline: str
    run_id: str
    token: str
    outcome: str
    is_scheduled: bool
    started_at: float
    ended_at: float
    tags: dict[str, str]
    records: int | None
    efficiency: RunEfficiency = RunEfficiency()
    jobs: tuple[JobCost, ...]

    @property
    def billed_seconds(self) -> float:
        """Instance-seconds of all jobs."""
        return sum(job.billed_seconds for job in self.jobs)

    @property
    def dollars(self) -> float | None:
        """Dollars of all jobs; None when a price is unknown."""
        return sum_if_known(job.dollars for job in self.jobs)

    @property
    def months(self) -> list[str]:
        """The months in which its jobs count, such as `2026-11`."""
        return sorted({job.day[:7] for job in self.jobs})

    @property
    def creation_months(self) -> list[str]:
        """The months in which its jobs were created, where they count until they start."""
        return sorted({format_day(job.created_at)[:7] for job in self.jobs})

    def add_earlier(self, earlier: RunCost) -> RunCost:
        """This cost with what an earlier record of the same plan knows.

        That is: jobs that AWS no longer lists; how and when the run began that made them, as the run that releases a
        held one is another; and that another run has published, which the held run does not undo.
        """
        known = {job.job_name for job in self.jobs}
        update: dict[str, Any] = {
            "jobs": (*(job for job in earlier.jobs if job.job_name not in known), *self.jobs),
            "is_scheduled": earlier.is_scheduled,
            "started_at": min(earlier.started_at, self.started_at),
            "tags": self.tags or earlier.tags,
        }
        was_released = earlier.outcome == "published" and earlier.run_id != self.run_id
        if was_released and self.outcome in UNPUBLISHED_OUTCOMES:
            kept = ("run_id", "outcome", "ended_at", "records", "efficiency")
            update |= {name: getattr(earlier, name) for name in kept}
        return self.model_copy(update=update)


def measure_efficiency(
    report: Mapping[str, Any], prices: Prices, *, seconds_to_spare: float | None
) -> RunEfficiency:
    """How a published run used its instances, from its `report.json`.

    One instance counts as a saving only where the run would have taken no more than `seconds_to_spare` longer; None is
    a run without a deadline.
    """
    sums = dict.fromkeys(RunEfficiency.model_fields, 0.0)
    for stage in (*report["stages"], *report["trials"]):
        busy, start, count = stage["busy_seconds"], stage["start_seconds"], stage["instance_count"]
        price = prices.get_price_per_second(stage["instance_type"])
        # Instances of several types have no common price, and what one of them would have done is not known.
        if busy is None or price is None or stage.get("billed_by_type"):
            continue
        sums["measured_seconds"] += stage["billed_seconds"]
        sums["idle_seconds"] += stage["idle_seconds"]
        sums["idle_dollars"] += stage["idle_seconds"] * price
        if start is None:
            continue
        sums["start_dollars"] += start * count * price
        if count > 1:
            own_seconds = stage["billed_seconds"] - stage["earlier_billed_seconds"]
            sums["one_instance_dollars"] += max(0.0, own_seconds - start - busy) * price
            sums["one_instance_delay"] += max(0.0, start + busy - stage["running_seconds"])
    if seconds_to_spare is not None and sums["one_instance_delay"] > seconds_to_spare:
        sums |= {"one_instance_dollars": 0.0, "one_instance_delay": 0.0}
    return RunEfficiency.model_validate({**sums, "trial_dollars": _compare_with_trials(report, prices)})


def _compare_with_trials(report: Mapping[str, Any], prices: Prices) -> float:
    """What the work of the transform would have cost less with the settings of the run's best trial."""
    transform = next((stage for stage in report["stages"] if stage["stage"] == "transform"), None)
    tried = [trial for trial in report["trials"] if trial["completed"]]
    if transform is None or not tried:
        return 0.0
    own_bytes = report["input"]["text_bytes"] - sum(trial["bytes"] for trial in report["trials"])
    usual = _compute_work_dollars(transform, own_bytes, prices)
    found = [_compute_work_dollars(trial, trial["bytes"], prices) for trial in tried]
    best = min((dollars for dollars in found if dollars is not None), default=None)
    return 0.0 if usual is None or best is None else max(0.0, usual - best) * own_bytes


def _compute_work_dollars(stage: Mapping[str, Any], work_bytes: float, prices: Prices) -> float | None:
    """Dollars per byte of the work of a stage, without start-up and idle time; None where they are not known."""
    price = prices.get_price_per_second(stage["instance_type"])
    if price is None or not stage["busy_seconds"] or work_bytes <= 0 or stage.get("billed_by_type"):
        return None
    seconds: float = stage["busy_seconds"]
    return price * seconds / work_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSums:
    """Sums over runs.

    `unpublished_runs` are the failed and the held ones, which cost `unpublished_dollars`; `unpriced_seconds` has the
    instance-seconds of each type without a known price. The rest as in `RunEfficiency`.
    """

    runs: int = 0
    unpublished_runs: int = 0
    jobs: int = 0
    dollars: float = 0.0
    unpublished_dollars: float = 0.0
    billed_seconds: float = 0.0
    records: int = 0
    measured_seconds: float = 0.0
    idle_seconds: float = 0.0
    idle_dollars: float = 0.0
    start_dollars: float = 0.0
    one_instance_dollars: float = 0.0
    one_instance_delay: float = 0.0
    trial_dollars: float = 0.0
    unpriced_seconds: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: CostSums) -> CostSums:
        unpriced = dict(self.unpriced_seconds)
        for name, seconds in other.unpriced_seconds.items():
            unpriced[name] = unpriced.get(name, 0.0) + seconds
        numbers = {name: getattr(self, name) + getattr(other, name) for name in _NUMBERS}
        return CostSums(**numbers, unpriced_seconds=unpriced)

    @property
    def idle_share(self) -> float | None:
        """The share of the measured instance-seconds without work; None where none were measured."""
        return self.idle_seconds / self.measured_seconds if self.measured_seconds else None

    @property
    def dollars_per_1000_records(self) -> float | None:
        """Dollars of all runs, failed ones too, per 1,000 published records; None without records.

        Where a type has no known price, it is more.
        """
        return self.dollars / self.records * 1000 if self.records else None

    @property
    def wasted_dollars(self) -> float:
        """What bought nothing: runs that published nothing, and idle instances in the others."""
        return self.unpublished_dollars + self.idle_dollars

    def to_document(self) -> dict[str, Any]:
        """The sums that are not zero, as JSON-safe values."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name))}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> CostSums:
        """Read `to_document`'s members; others are ignored."""
        return cls(**{name: document[name] for name in _MEMBERS if name in document})


_MEMBERS = tuple(each.name for each in fields(CostSums))
_NUMBERS = _MEMBERS[:-1]


def add_up(amounts: Iterable[CostSums]) -> CostSums:
    """The sums of all of them."""
    return sum(amounts, CostSums())


@dataclass(frozen=True, slots=True)
class CostDay:
    """The sums of the runs of one pipeline with the same tags on one UTC day."""

    day: str
    tags: Mapping[str, str]
    sums: CostSums


@dataclass(frozen=True, slots=True)
class ScheduledRuns:
    """The scheduled runs of a month: their number, what they cost, and when the first and the last one started."""

    count: int = 0
    dollars: float = 0.0
    first_at: float | None = None
    last_at: float | None = None


@dataclass(frozen=True, slots=True)
class CostMonth:
    """The document of one month of a pipeline: its days, and the entries of its runs by name token.

    The entries make a second call for the same run replace the first one; `unended_jobs` are the names of jobs that had
    not ended when they were counted.
    """

    pipeline: str
    month: str
    runs: Mapping[str, Mapping[str, Any]]

    @property
    def days(self) -> list[CostDay]:
        """The sums by day and tags, in order."""
        found: dict[tuple[str, tuple[tuple[str, str], ...]], CostSums] = {}
        for run in self.runs.values():
            for day, sums in run["days"].items():
                key = day, tuple(sorted(run["tags"].items()))
                found[key] = found.get(key, CostSums()) + CostSums.from_document(sums)
        return [CostDay(day, dict(tags), sums) for (day, tags), sums in sorted(found.items())]

    def find_unended_tokens(self) -> list[str]:
        """The tokens of runs with a job that had not ended when it was counted."""
        return [token for token, run in self.runs.items() if run.get("unended_jobs")]

    def add_run(self, cost: RunCost) -> CostMonth:
        """This month with the run's part of it, which replaces what the month had of the run.

        A run of which no job counts in this month any more has no part: its job started in the next month.
        """
        others = {token: entry for token, entry in self.runs.items() if token != cost.token}
        own = {cost.token: _build_entry(cost, self.month)} if self.month in cost.months else {}
        return CostMonth(self.pipeline, self.month, {**others, **own})

    def sum_run(self, run_id: str, *, except_for: Container[str]) -> CostSums:
        """The sums of a run in this month, without those of its plans with these tokens."""
        return add_up(
            CostSums.from_document(sums)
            for token, entry in self.runs.items()
            if entry.get("run_id") == run_id and token not in except_for
            for sums in entry["days"].values()
        )

    def to_document(self) -> dict[str, Any]:
        """The month as JSON-safe values.

        A reader needs `days` and `scheduled` only. `runs` is packed, so that those of a thousand runs cost it little.
        """
        scheduled = [run for run in self.runs.values() if run["is_scheduled"]]
        starts = sorted(run["started_at"] for run in scheduled)
        return {
            "version": VERSION,
            "pipeline": self.pipeline,
            "month": self.month,
            "days": [
                {"day": each.day, "tags": dict(each.tags), **each.sums.to_document()} for each in self.days
            ],
            "scheduled": {
                "count": len(starts),
                "dollars": sum(day.get("dollars", 0.0) for run in scheduled for day in run["days"].values()),
                "first_at": starts[0] if starts else None,
                "last_at": starts[-1] if starts else None,
            },
            "runs": _pack(self.runs),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> CostMonth | None:
        """The month; None when another version wrote it, which the records of the runs replace.

        Raises:
            ValueError: the document is damaged.
        """
        try:
            if document.get("version") != VERSION:
                return None
            found = cls(document["pipeline"], document["month"], _unpack(document["runs"]))
            found.to_document()
        except (AttributeError, KeyError, TypeError, ValueError, zlib.error) as error:
            raise ValueError(f"it is not a month's costs: {type(error).__name__}: {error}") from error
        return found


def _pack(value: Any) -> str:
    """A JSON-safe value as a text: base64 of its JSON, deflated."""
    return b64encode(zlib.compress(json.dumps(value, separators=(",", ":")).encode())).decode()


def _unpack(text: str) -> Any:
    return json.loads(zlib.decompress(b64decode(text)))


def read_days(document: Mapping[str, Any]) -> tuple[list[CostDay], ScheduledRuns]:
    """The days and the scheduled runs of a month's document.

    Raises:
        ValueError: it is not such a document.
    """
    try:
        if document["version"] != VERSION:
            raise ValueError(f"it has the version {document['version']!r}; this package reads {VERSION}")
        days = [CostDay(each["day"], each["tags"], CostSums.from_document(each)) for each in document["days"]]
        return days, ScheduledRuns(**document["scheduled"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is not a month's costs: {type(error).__name__}: {error}") from error


def build_month(pipeline: str, month: str, costs: Iterable[RunCost]) -> CostMonth:
    """The month of these runs."""
    return CostMonth(
        pipeline, month, {cost.token: _build_entry(cost, month) for cost in costs if month in cost.months}
    )


def _build_entry(cost: RunCost, month: str) -> dict[str, Any]:
    days: dict[str, CostSums] = {}
    for job in cost.jobs:
        if job.day.startswith(month):
            days[job.day] = days.get(job.day, CostSums()) + _sum_job(job, cost.outcome)
    last_day = max(job.day for job in cost.jobs)
    if last_day in days:
        days[last_day] += CostSums(
            runs=1,
            unpublished_runs=int(cost.outcome in UNPUBLISHED_OUTCOMES),
            records=cost.records or 0,
            **cost.efficiency.model_dump(),
        )
    return {
        "run_id": cost.run_id,
        "outcome": cost.outcome,
        "is_scheduled": cost.is_scheduled,
        "started_at": cost.started_at,
        "tags": dict(cost.tags),
        "days": {day: sums.to_document() for day, sums in sorted(days.items())},
        **({"unended_jobs": unended} if (unended := _list_unended(cost.jobs)) else {}),
    }


def _sum_job(job: JobCost, outcome: str) -> CostSums:
    dollars = job.dollars or 0.0
    return CostSums(
        jobs=1,
        dollars=dollars,
        unpublished_dollars=dollars if outcome in UNPUBLISHED_OUTCOMES else 0.0,
        billed_seconds=job.billed_seconds,
        unpriced_seconds={job.instance_type: job.billed_seconds}
        if job.dollars is None and job.billed_seconds
        else {},
    )


def _list_unended(jobs: Sequence[JobCost]) -> list[str]:
    return [job.job_name for job in jobs if job.ended_at is None]
