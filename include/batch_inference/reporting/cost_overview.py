"""What all pipelines cost in a month: by day, week, month, pipeline, team and tag, what was wasted, and a forecast.

Everything is summed from the days of the pipelines' monthly documents. A saving is stated only where it follows from
what runs have measured; savings of one pipeline overlap and are not added.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial

from batch_inference.common.formatting import (
    format_dollars,
    format_duration,
    format_range,
    join_words,
)
from batch_inference.pricing.run_costs import CostDay, CostSums, ScheduledRuns, add_up

#: Months before the chosen one that the page shows.
EARLIER_MONTHS = 2
#: A saving below this share of what the pipeline cost is not worth a sentence.
MIN_SAVING_SHARE = 0.01
#: Below it, the cost of 1,000 records is stated for a million.
MIN_UNIT_DOLLARS = 0.01
SECONDS_PER_DAY = 86_400
#: What a spreadsheet takes for the begin of a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
#: The names of the rows of pipelines without a team, and without a tag.
NO_TEAM, NO_TAG = "(no team)", "(no tag)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineCosts:
    """The days of one pipeline by month. `next_run_at` is that of its schedule, None when it is paused or has none."""

    dag_id: str
    team: str
    days: Mapping[str, Sequence[CostDay]]
    scheduled: Mapping[str, ScheduledRuns] = field(default_factory=dict)
    next_run_at: datetime | None = None

    def sum_month(self, month: str) -> CostSums:
        """The sums of a month."""
        return add_up(day.sums for day in self.days.get(month, ()))


@dataclass(frozen=True, slots=True)
class CostRow:
    """A name, such as a team's, and the sums of what it names."""

    name: str
    sums: CostSums


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """What would have cost less, as texts; None where nothing was measured that says so.

    `size`: one instance for each stage. `schedule`: one run a day. `trial`: type and settings of the best trials.
    """

    size: str | None
    schedule: str | None
    trial: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRow:
    """A pipeline in the chosen month: its sums, its forecast, and what would have saved money."""

    dag_id: str
    team: str
    sums: CostSums
    forecast: float | None
    savings: Savings


@dataclass(frozen=True, slots=True, kw_only=True)
class CostOverview:
    """The tables of the page. `by_tag` has one table for each key of the pipelines' tags."""

    month: str
    total: CostSums
    forecast: float | None
    by_day: tuple[CostRow, ...]
    by_week: tuple[CostRow, ...]
    by_month: tuple[CostRow, ...]
    pipelines: tuple[PipelineRow, ...]
    by_team: tuple[CostRow, ...]
    by_tag: Mapping[str, tuple[CostRow, ...]]

    @property
    def unit_records(self) -> int:
        """The number of records whose cost the tables state, so that it is no tiny number: 1,000 or a million."""
        dollars = self.total.dollars_per_1000_records
        return 1000 if dollars is None or dollars >= MIN_UNIT_DOLLARS else 1_000_000

    @property
    def wasteful_pipelines(self) -> tuple[PipelineRow, ...]:
        """The pipelines that wasted money, those that wasted most first."""
        found = [row for row in self.pipelines if row.sums.wasted_dollars > 0]
        return tuple(sorted(found, key=lambda row: row.sums.wasted_dollars, reverse=True))

    @property
    def unpriced(self) -> str | None:
        """A sentence on the instance types that no sum contains, as they have no known price; None without any."""
        if not self.total.unpriced_seconds:
            return None
        hours = join_words(
            [
                f"{format_duration(seconds)} of {name}"
                for name, seconds in sorted(self.total.unpriced_seconds.items())
            ]
        )
        return (
            f"No known price: {hours} (instance time). No sum here contains them. State what you pay under prices in "
            "the pipeline file; later runs then count."
        )


def list_months(month: str) -> list[str]:
    """The chosen month and those before it that the page shows, the newest first."""
    found = [date.fromisoformat(f"{month}-01")]
    for _ in range(EARLIER_MONTHS):
        found.append((found[-1] - timedelta(days=1)).replace(day=1))
    return [f"{each:%Y-%m}" for each in found]


def shift_month(month: str, *, forward: bool) -> str:
    """The month after or before another one."""
    first = date.fromisoformat(f"{month}-01")
    return f"{first + timedelta(days=31) if forward else first - timedelta(days=1):%Y-%m}"


def build_overview(pipelines: Iterable[PipelineCosts], month: str, *, now: datetime) -> CostOverview:
    """The overview of a month; only the current month has a forecast."""
    known = [each for each in pipelines if any(each.days.get(name) for name in list_months(month))]
    days = [day for each in known for day in each.days.get(month, ())]
    is_current = f"{now.astimezone(UTC):%Y-%m}" == month
    rows = [
        _build_pipeline_row(each, month, now=now if is_current else None)
        for each in known
        if each.days.get(month)
    ]
    return CostOverview(
        month=month,
        total=add_up(day.sums for day in days),
        forecast=sum(row.forecast or 0.0 for row in rows) if is_current else None,
        by_day=_group(days, lambda day: day.day),
        by_week=_group(days, _name_week),
        by_month=tuple(CostRow(name, add_up(each.sum_month(name) for each in known)) for name in list_months(month)),
        pipelines=tuple(sorted(rows, key=lambda row: (-row.sums.dollars, row.dag_id))),
        by_team=_sort(
            CostRow(team or NO_TEAM, add_up(row.sums for row in rows if row.team == team))
            for team in {row.team for row in rows}
        ),
        by_tag={
            key: _sort(_group(days, partial(_name_tag, key)))
            for key in sorted({key for day in days for key in day.tags})
        },
    )  # fmt: skip


def _build_pipeline_row(costs: PipelineCosts, month: str, *, now: datetime | None) -> PipelineRow:
    sums = costs.sum_month(month)
    return PipelineRow(
        dag_id=costs.dag_id,
        team=costs.team,
        sums=sums,
        forecast=None if now is None else forecast_month(costs, month, now=now),
        savings=find_savings(sums, run_days=len({day.day for day in costs.days[month] if day.sums.runs})),
    )  # fmt: skip


def _group(days: Iterable[CostDay], get_name: Callable[[CostDay], str]) -> tuple[CostRow, ...]:
    found: dict[str, list[CostSums]] = {}
    for day in sorted(days, key=lambda day: day.day):
        found.setdefault(get_name(day), []).append(day.sums)
    return tuple(CostRow(name, add_up(sums)) for name, sums in found.items())


def _sort(rows: Iterable[CostRow]) -> tuple[CostRow, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.sums.dollars, row.name)))


def _name_tag(key: str, day: CostDay) -> str:
    return day.tags.get(key, NO_TAG)


def _name_week(day: CostDay) -> str:
    """The days of the week that are in the day's month: `23 to 29 Nov`."""
    moment = date.fromisoformat(day.day)
    first = moment - timedelta(days=moment.weekday())
    last = first + timedelta(days=6)
    of_month = [
        each for each in (first + timedelta(days=at) for at in range(7)) if each.month == moment.month
    ]
    first, last = max(first, of_month[0]), min(last, of_month[-1])
    return f"{format_range(str(first.day), str(last.day))} {last:%b}"


def find_savings(sums: CostSums, *, run_days: int) -> Savings:
    """What a better size, schedule or type would have saved; a saving that is not worth it is None.

    `run_days` is the number of days with runs.
    """
    least, published = sums.dollars * MIN_SAVING_SHARE, sums.runs - sums.unpublished_runs
    size = schedule = trial = None
    if sums.one_instance_dollars > least and published:
        delay = format_duration(sums.one_instance_delay / published)
        size = f"{format_dollars(sums.one_instance_dollars)}, a run {delay} longer"
    if run_days and published > run_days:
        saved = sums.start_dollars * (1 - run_days / published)
        if saved > least:
            schedule = f"{format_dollars(saved)}, in place of {published / run_days:.1f} runs a day"
    if sums.trial_dollars > least:
        trial = format_dollars(sums.trial_dollars)
    return Savings(size=size, schedule=schedule, trial=trial)


def forecast_month(costs: PipelineCosts, month: str, *, now: datetime) -> float:
    """What a pipeline will have cost by the end of the current month.

    What it has cost; for each run that its schedule still has, at the mean distance of its runs, the mean cost of a
    scheduled run; and for the rest of the month what other runs have cost per day until now. The runs are those of this
    month, or of the month before where this one has fewer than two.
    """
    spent = costs.sum_month(month).dollars
    first = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
    end = datetime.fromisoformat(f"{shift_month(month, forward=True)}-01").replace(tzinfo=UTC)
    scheduled = costs.scheduled.get(month, ScheduledRuns())
    elapsed = max((now - first).total_seconds(), SECONDS_PER_DAY)
    others = max(0.0, spent - scheduled.dollars) / elapsed * max(0.0, (end - now).total_seconds())
    return spent + others + _forecast_schedule(costs, month, end)


def _forecast_schedule(costs: PipelineCosts, month: str, end: datetime) -> float:
    if costs.next_run_at is None:
        return 0.0
    for name in (month, shift_month(month, forward=False)):
        runs = costs.scheduled.get(name, ScheduledRuns())
        if runs.count > 1 and runs.first_at is not None and runs.last_at is not None:
            distance = (runs.last_at - runs.first_at) / (runs.count - 1)
            left = (end - costs.next_run_at).total_seconds()
            count = int(left // distance) + 1 if left > 0 and distance > 0 else 0
            return count * runs.dollars / runs.count
    return 0.0


def render_csv(pipelines: Iterable[PipelineCosts], month: str) -> str:
    """A row for each pipeline, day and set of tags of a month. No cell begins as a formula of a spreadsheet does."""
    known = list(pipelines)
    keys = sorted({key for each in known for day in each.days.get(month, ()) for key in day.tags})
    file = io.StringIO()
    writer = csv.writer(file)
    header = [
        "day", "pipeline", "team", "runs", "runs_without_output", "jobs", "records", "dollars",
        "dollars_without_output", "instance_seconds", "instance_seconds_without_price", "measured_seconds",
        "idle_seconds", "idle_dollars",
    ]  # fmt: skip
    writer.writerow([*header, *(_to_cell(f"tag:{key}") for key in keys)])
    for each in known:
        for day in each.days.get(month, ()):
            sums = day.sums
            writer.writerow(
                [
                    day.day, _to_cell(each.dag_id), _to_cell(each.team), sums.runs, sums.unpublished_runs, sums.jobs,
                    sums.records, f"{sums.dollars:.6f}", f"{sums.unpublished_dollars:.6f}",
                    f"{sums.billed_seconds:.3f}", f"{sum(sums.unpriced_seconds.values()):.3f}",
                    f"{sums.measured_seconds:.3f}", f"{sums.idle_seconds:.3f}", f"{sums.idle_dollars:.6f}",
                    *(_to_cell(day.tags.get(key, "")) for key in keys),
                ]
            )  # fmt: skip
    return file.getvalue()


def _to_cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
